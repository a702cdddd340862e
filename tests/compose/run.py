#!/usr/bin/env python3
"""Tests docker-compose.yml and the Dockerfile with a Docker of its own, without any download.

    tests/compose/run.py                    builds the services, starts everything, runs a command
    tests/compose/run.py --infrastructure   only NATS, its users, and PostgreSQL
    tests/compose/run.py --binaries DIR     takes the services' binaries from there, builds nothing
    tests/compose/run.py --build-inside     builds in the Dockerfile's own stage (takes minutes)

It needs Linux, root, and dockerd, docker and docker compose of any version since 20.10 and 1.29
(Debian: docker.io and docker-compose), busybox and setpriv. Where one is missing it says so and
ends with 77, which test runners read as "skipped"; with --require it is a failure.

The official images that docker-compose.yml names cannot be pulled here. Stand-ins under their names
are made of what this machine has: the nats-server and PostgreSQL that `rdev dev` runs, and a small
root of this system's shell and git in place of Debian's. They keep to the official images'
interface: entry points, variables, directories and users. So the test judges our files and our
images, not the official ones.

Dockerd runs in mount, network and process namespaces of its own, with its data in a temporary
directory: nothing of the machine is touched, no port is taken, and the end of this script is the
end of all of it.
"""

import argparse
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from machine import PATH, compose_command, find, run, say, wait_until
from stand_ins import stand_ins

ROOT = Path(__file__).resolve().parent.parent.parent
SERVICES = ["rdev-gateway", "rdev-executor", "rdev-projector"]
# Images, and the program in each.
CLI_IMAGE = "rdev-cli"
IMAGES = {**{name: name for name in SERVICES}, CLI_IMAGE: "rdev"}
# The service that ends when it is done.
ONCE = "rdev"
SKIPPED = 77
# Set for the copy of this script that runs inside the namespaces.
INSIDE = "RDEV_COMPOSE_TEST_INSIDE"
# Everything that an image of ours may add to its base.
ADDED_BYTES_MAX = 64 * 1024 * 1024
# What every request brings, once the gateway has printed it.
KEY = {}


def main():
    options = parse()
    missing = what_is_missing()
    if missing:
        print(f"skipped: {missing}")
        sys.exit(1 if options.require else SKIPPED)
    if INSIDE not in os.environ:
        sys.exit(run_inside(options))
    with tempfile.TemporaryDirectory(prefix="rdev-compose-") as directory:
        test(options, Path(directory))


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--infrastructure", action="store_true", help="only NATS, its users and PostgreSQL")
    parser.add_argument("--binaries", type=Path, help="directory with the services' binaries")
    parser.add_argument(
        "--build-inside", action="store_true", help="build in the Dockerfile's stage"
    )
    parser.add_argument("--vendored", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--require", action="store_true", help="fail instead of skipping")
    return parser.parse_args()


def what_is_missing():
    if sys.platform != "linux" or os.geteuid() != 0:
        return "Linux and root are needed"
    for program in ["dockerd", "docker", "unshare", "ip", "busybox", "setpriv", "ldd"]:
        if not find(program):
            return f"{program} is not here"
    if not compose_command():
        return "docker compose is not here"
    return None


def run_inside(options):
    """Builds what needs the network and the toolchain, then starts this script in namespaces."""
    environment = {**os.environ, INSIDE: "1"}
    located = run(
        ["cargo", "run", "--quiet", "--package", "rdev-embedded", "--example", "locate"],
        cwd=ROOT,
    )
    environment["RDEV_COMPOSE_TEST_SERVERS"] = located
    arguments = sys.argv[1:]
    if options.build_inside:
        vendored = tempfile.TemporaryDirectory(prefix="rdev-vendored-")
        run(["cargo", "vendor", "--locked", vendored.name], cwd=ROOT)
        arguments += ["--vendored", vendored.name]
    elif not options.binaries:
        arguments += ["--binaries", str(build(wanted(options)))]
    namespaces = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command = ["unshare", *namespaces, sys.executable, __file__, *arguments]
    return subprocess.run(command, env=environment, check=False).returncode


def wanted(options):
    """The images, and the program in each."""
    return {CLI_IMAGE: IMAGES[CLI_IMAGE]} if options.infrastructure else IMAGES


def build(images):
    """Builds the binaries as the Dockerfile's stage `build` does, and gathers them."""
    packages = [word for image in images for word in ("--package", image)]
    run(["cargo", "build", "--profile", "dist", "--locked", *packages], cwd=ROOT, capture=False)
    host = re.search(r"^host: (.*)$", run(["rustc", "-vV"]), re.MULTILINE).group(1)
    static = {**os.environ, "RUSTFLAGS": "-C target-feature=+crt-static"}
    shim = ["cargo", "build", "--profile", "dist", "--locked", "--package", "rdev-shim"]
    run([*shim, "--target", host], cwd=ROOT, env=static, capture=False)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    gathered = target / "compose-test-binaries"
    gathered.mkdir(exist_ok=True)
    for source in [target / "dist" / name for name in images.values()] + [
        target / host / "dist" / "rdev-shim"
    ]:
        shutil.copy2(source, gathered / source.name)
    return gathered


# --- inside the namespaces ------------------------------------------------------------------------


def test(options, directory):
    run(["ip", "link", "set", "lo", "up"])
    run(["mount", "-t", "tmpfs", "none", "/run"])
    docker = Docker(directory, options)
    try:
        stand_ins(docker, directory, options.vendored)
        project = copy_project(directory, options)
        names = ["nats", "postgres"] if options.infrastructure else []
        compose = Compose(docker, project)
        compose("config", "--quiet")
        try:
            compose("build", *([ONCE] if options.infrastructure else []), capture=False)
            if not options.infrastructure:
                check_images(docker)
            compose("up", "--detach", *names)
            wait_until_healthy(docker, compose, 2 if names else 5)
            check_infrastructure(compose)
            check_nats_users(compose)
            if not options.infrastructure:
                check_services(docker, compose)
                check_restart(docker, compose)
        except BaseException:
            print(compose("logs", "--tail", "40", check=False), file=sys.stderr)
            raise
        finally:
            compose("down", "--volumes", "--timeout", "5", check=False)
    finally:
        docker.stop()
    print("ok")


class Docker:
    """A daemon of our own, and its client."""

    def __init__(self, directory, options):
        self.environment = {
            **os.environ,
            "PATH": PATH,
            "DOCKER_HOST": f"unix://{directory}/docker.sock",
            "DOCKER_CONFIG": str(directory / "client"),
            "DOCKER_BUILDKIT": "1",
            "COMPOSE_DOCKER_CLI_BUILD": "1",
            "BUILDKIT_PROGRESS": "plain",
            "RDEV_BINARIES": "build" if options.build_inside else "prebuilt",
            "RDEV_PORT": "8080",
        }
        self.directory = directory
        self.log = directory / "dockerd.log"
        arguments = [
            "--data-root", directory / "data",
            "--exec-root", "/run/docker",
            "--pidfile", "/run/docker.pid",
            "--host", self.environment["DOCKER_HOST"],
        ]  # fmt: skip
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [find("dockerd"), *map(str, arguments)],
                env=self.environment, stdout=log, stderr=log,
            )  # fmt: skip
        wait_until("dockerd answers", self.answers)
        say("dockerd runs")

    def answers(self):
        if self.process.poll() is not None:
            raise SystemExit("dockerd ended:\n" + self.log.read_text()[-3000:])
        return (
            subprocess.run(
                [find("docker"), "info"], env=self.environment, capture_output=True, check=False
            ).returncode
            == 0
        )

    def __call__(self, *arguments, **options):
        return run([find("docker"), *arguments], env=self.environment, **options)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Compose:
    """docker compose in a copy of the project."""

    def __init__(self, docker, project):
        self.docker, self.project = docker, project

    def __call__(self, *arguments, **options):
        command = [*compose_command(), "--project-name", "rdev", *arguments]
        return run(command, cwd=self.project, env=self.docker.environment, **options)

    def execute(self, service, *command, **options):
        return self("exec", "-T", service, *command, **options)


def copy_project(directory, options):
    """What an image build and compose look at, and the binaries where they are expected."""
    project = directory / "project"
    project.mkdir()
    names = ["docker-compose.yml", "Dockerfile", ".dockerignore", "deploy"]
    if options.build_inside:
        names += ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml"]
        names += ["services", "shared", "migrations", "tests"]
    for name in names:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, project / name)
    image = project / "target" / "image"
    image.mkdir(parents=True)
    if options.binaries:
        for name in [*wanted(options).values(), "rdev-shim"]:
            shutil.copy2(options.binaries / name, image / name)
            # As the Dockerfile has it done.
            if find("strip"):
                run([find("strip"), "--strip-debug", str(image / name)], check=False)
    return project


# --- checks ---------------------------------------------------------------------------------------


def wait_until_healthy(docker, compose, count):
    def healthy():
        identities = compose("ps", "--quiet").split()
        found = [json.loads(docker("inspect", one))[0] for one in identities]
        service = "com.docker.compose.service"
        states = [one["State"] for one in found if one["Config"]["Labels"][service] != ONCE]
        for state in states:
            if state["Status"] not in ("running", "created"):
                raise SystemExit(f"a container ended: {state}")
        return [state.get("Health", {}).get("Status") for state in states] == ["healthy"] * count

    wait_until(f"all {count} services are healthy", healthy)
    say(f"{count} services are healthy")


def check_infrastructure(compose):
    pages = "http://127.0.0.1:8222"
    account = json.loads(compose.execute("nats", "wget", "-q", "-O", "-", f"{pages}/jsz"))
    assert account["config"]["sync_always"], account
    assert account["config"]["store_dir"].startswith("/data"), account
    url = "postgres://rdev:rdev@127.0.0.1/rdev"
    assert compose.execute("postgres", "psql", "-Atc", "select 6 * 7", url).strip() == "42"
    say("NATS syncs always, PostgreSQL answers")


def check_nats_users(compose):
    """Nobody gets in without a key."""
    connect = 'printf \'CONNECT {}\\r\\nPING\\r\\n\' | busybox timeout 2 busybox nc 127.0.0.1 4222'
    answer = compose.execute("nats", "sh", "-c", connect, check=False)
    assert "Authorization Violation" in answer, answer
    say("NATS lets nobody in without a key")


def check_images(docker):
    base = image_bytes(docker, "debian:bookworm-slim")
    for name in IMAGES:
        described = json.loads(docker("image", "inspect", name))[0]
        assert described["Config"]["User"] == "10001:10001", described["Config"]
        added = image_bytes(docker, name) - base
        assert 0 < added < ADDED_BYTES_MAX, f"{name} adds {added} bytes"
        say(f"{name} adds {added / 1e6:.1f} MB to its base")
    shim = "/usr/local/bin/rdev-shim"
    show = ["run", "--rm", "--entrypoint", "sh", "rdev-executor", "-c"]
    assert docker(*show, "echo $RDEV_SHIM_PATH; id -u").split() == [shim, "10001"]
    copied = docker.directory / "shim"
    container = docker("create", "rdev-executor").strip()
    docker("cp", f"{container}:{shim}", str(copied))
    assert os.access(copied, os.X_OK) and is_static(copied.read_bytes()), "the shim must be static"


def is_static(program):
    """Whether a 64-bit ELF file names no interpreter: it runs in whatever image."""
    (offset,) = struct.unpack_from("<Q", program, 32)
    size, count = struct.unpack_from("<HH", program, 54)
    kinds = [struct.unpack_from("<I", program, offset + size * index)[0] for index in range(count)]
    interpreter = 3
    return program[:5] == b"\x7fELF\x02" and interpreter not in kinds


def image_bytes(docker, name):
    return json.loads(docker("image", "inspect", name))[0]["Size"]


def check_services(docker, compose):
    check_keys(compose)
    session = call("POST", "/projects/demo/sessions", {"pod": "demo"})
    answer = run_command(session["id"], "id -u; git --version; echo $((6 * 7))")
    assert answer.splitlines()[0] == "10001", answer
    assert "git version" in answer and answer.endswith("42\n"), answer
    say("a command ran in the executor's container and its output came back")
    listed = "/projects/demo/sessions"
    wait_until(
        "the projector has written the session to PostgreSQL",
        lambda: session["id"] in [one["id"] for one in call("GET", listed)["items"]],
    )


def check_keys(compose):
    """Nobody is let in but with the key that the gateway made and printed."""
    try:
        call("GET", "/projects/demo/sessions")
        raise SystemExit("a request without a key was answered")
    except AssertionError as error:
        assert "unauthenticated" in str(error), error
    found = re.search(r"key: (rdev_[0-9a-f]{16}_[0-9a-f]{64})", compose("logs", "gateway"))
    assert found, "no key was printed"
    KEY["authorization"] = f"Bearer {found.group(1)}"
    say("only the first key is let in")


def check_restart(docker, compose):
    """What was logged and what a session is survives new containers."""
    session = call("POST", "/projects/demo/sessions", {"pod": "demo"})
    compose("down", "--timeout", "10")
    compose("up", "--detach")
    wait_until_healthy(docker, compose, 5)
    assert run_command(session["id"], "echo still here") == "still here\n"
    say("the session is still there after down and up")


def run_command(session, command):
    """Runs a shell command and returns its output, joined from the events."""
    path = f"/projects/demo/sessions/{session}"
    started = call("POST", f"{path}/exec", {"type": "shell", "command": command})
    request = urllib.request.Request(address() + started["stream_url"], headers=KEY)
    text, event = "", None
    with urllib.request.urlopen(request, timeout=30) as response:
        for line in response:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name == "event":
                event = value
            elif name == "data" and event == "output":
                data = json.loads(value)
                text += data["line"] + ("" if data.get("partial") else "\n")
            elif name == "data" and event == "complete":
                assert json.loads(value)["exit_code"] == 0, value
                return text
    raise AssertionError(f"the stream ended without complete, after {text!r}")


def call(method, path, body=None):
    headers = {"Content-Type": "application/json", **KEY} if body else KEY
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(address() + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{method} {path}: {error} {error.read().decode()}") from error


def address():
    """Port 8080 of the namespace, whatever the machine has there."""
    return "http://127.0.0.1:8080"


if __name__ == "__main__":
    main()
