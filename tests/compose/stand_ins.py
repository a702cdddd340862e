"""Images under the official names, made of what this machine has.

They keep to the official images' interface: entry points, variables, directories and users.
"""

import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

from machine import find, run, say

# Of the shell and the tools that commands and Dockerfile lines use.
TOOLS = """
    awk bash cat chmod chown cp cut date dd du echo env expr false find git grep head id kill ln ls
    mkdir mv ps pwd rm rmdir sed seq setsid sh sha256sum sleep sort stat tail tee test touch tr true
    uname wc yes
""".split()
# Parts of the C library that programs are linked with, statically too.
C_LIBRARIES = "c c_nonshared m mvec pthread dl rt util resolv gcc_s".split()


class Image:
    """A root directory that becomes an image."""

    def __init__(self, directory):
        self.root = directory
        for name in ["etc", "proc", "sys", "dev", "usr/local/bin", "var/lib"]:
            (directory / name).mkdir(parents=True)
        # As in Debian: one place under two names.
        for name in ["bin", "sbin", "lib", "lib64"]:
            (directory / "usr" / name).mkdir()
            (directory / name).symlink_to(f"usr/{name}")
        for name in ["tmp", "var/tmp", "run"]:
            (directory / name).mkdir()
            (directory / name).chmod(0o1777)
        users = (
            "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"
        )
        (directory / "etc/passwd").write_text(users)
        (directory / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
        (directory / "etc/nsswitch.conf").write_text("hosts: files dns\n")
        # Nothing here speaks TLS; without the file the Dockerfile would fetch it.
        (directory / "etc/ssl/certs").mkdir(parents=True)
        (directory / "etc/ssl/certs/ca-certificates.crt").write_text("")

    def path(self, absolute):
        path = self.root / str(absolute).lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def add(self, source, target=None):
        """Adds a file with the libraries that it needs, all at their own places."""
        copied = self.path(target or source)
        if not copied.exists():
            shutil.copy2(source, copied)
        for library in libraries(source):
            copied = self.path(library)
            if not copied.exists():
                shutil.copy2(library, copied)

    def add_tree(self, source, archives=False):
        for directory, _, files in os.walk(source):
            for name in files:
                path = Path(directory, name)
                if path.suffix == ".so" or os.access(path, os.X_OK):
                    self.add(path)
                elif archives or path.suffix != ".a":
                    shutil.copy2(path, self.path(path))

    def script(self, target, text):
        path = self.path(target)
        path.write_text(text)
        path.chmod(0o755)

    def make(self, docker, name, **changes):
        archive = self.root.with_suffix(".tar")
        with tarfile.open(archive, "w") as tar:
            tar.add(self.root, arcname=".")
        words = [
            word
            for instruction, value in changes.items()
            for word in ("--change", f"{instruction} {value}")
        ]
        docker("import", *words, str(archive), name)
        archive.unlink()
        say(f"{name} is made")


def libraries(program):
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return re.findall(r"(/\S+) \(0x", listed)


def stand_ins(docker, directory, vendored=None):
    if vendored:
        rust_stand_in(Image(directory / "rust"), vendored).make(
            docker, "rust:1.95-slim-bookworm",
            CMD='["bash"]',
            ENV="CARGO_HOME=/usr/local/cargo"
            " PATH=/usr/local/cargo/bin:/usr/local/bin:/usr/bin:/bin",
        )  # fmt: skip
    servers = dict(
        line.split("=", 1) for line in os.environ["RDEV_COMPOSE_TEST_SERVERS"].splitlines()
    )
    nats_stand_in(Image(directory / "nats"), servers["nats-server"]).make(
        docker, "nats:2.14-alpine",
        ENTRYPOINT='["docker-entrypoint.sh"]',
        CMD='["nats-server", "--config", "/etc/nats/nats-server.conf"]',
        ENV="PATH=/usr/local/bin:/usr/bin:/bin",
    )  # fmt: skip
    postgres_stand_in(Image(directory / "postgres"), Path(servers["initdb"]).parent).make(
        docker, "postgres:18",
        ENTRYPOINT='["docker-entrypoint.sh"]',
        CMD='["postgres"]',
        ENV=f"PATH={Path(servers['initdb']).parent}:/usr/local/bin:/usr/bin:/bin"
        " PGDATA=/var/lib/postgresql/18/docker LC_ALL=C",
        VOLUME='["/var/lib/postgresql"]',
    )  # fmt: skip
    debian_stand_in(Image(directory / "debian")).make(
        docker, "debian:bookworm-slim",
        CMD='["bash"]',
        ENV="PATH=/usr/local/bin:/usr/bin:/bin",
    )  # fmt: skip


def nats_stand_in(image, server):
    image.add(server, "/usr/local/bin/nats-server")
    image.add(find("busybox"), "/bin/busybox")
    for name in ["sh", "wget"]:
        image.path(f"/bin/{name}").symlink_to("busybox")
    image.script(
        "/usr/local/bin/docker-entrypoint.sh",
        '#!/bin/sh\ncase "$1" in -*) set -- nats-server "$@" ;; esac\nexec "$@"\n',
    )
    return image


def postgres_stand_in(image, programs):
    for name in ["pkglibdir", "sharedir"]:
        image.add_tree(run([str(programs / "pg_config"), f"--{name}"]).strip())
    for name in ["postgres", "initdb", "pg_isready", "psql"]:
        image.add(programs / name)
    if Path("/usr/share/zoneinfo").is_dir():
        image.add_tree("/usr/share/zoneinfo")
    for name in ["bash", "mkdir", "chown", "id", "cat", "setpriv"]:
        image.add(find(name), f"/bin/{name}")
    image.path("/bin/sh").symlink_to("bash")
    with open(image.path("/etc/passwd"), "a", encoding="utf-8") as users:
        users.write("postgres:x:999:999::/var/lib/postgresql:/bin/sh\n")
    image.script("/usr/local/bin/docker-entrypoint.sh", POSTGRES_ENTRYPOINT)
    return image


POSTGRES_ENTRYPOINT = """#!/bin/bash
set -eu
if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA"
    chown -R 999:999 /var/lib/postgresql
    exec setpriv --reuid=999 --regid=999 --clear-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    : "${POSTGRES_PASSWORD:?}"
    echo "$POSTGRES_PASSWORD" > /tmp/password
    initdb --pgdata "$PGDATA" --username "$POSTGRES_USER" --pwfile /tmp/password \\
        --auth scram-sha-256 --encoding UTF8
    echo "CREATE DATABASE \\"$POSTGRES_DB\\"" | postgres --single -D "$PGDATA" postgres
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    echo "listen_addresses = '*'" >> "$PGDATA/postgresql.conf"
    echo "unix_socket_directories = '/tmp'" >> "$PGDATA/postgresql.conf"
fi
exec "$@"
"""


def rust_stand_in(image, vendored):
    """This machine's Rust and C compiler, and every dependency's source, for a build offline."""
    debian_stand_in(image)
    host = re.search(r"^host: (.*)$", run(["rustc", "-vV"]), re.MULTILINE).group(1)
    sysroot = Path(run(["rustc", "--print", "sysroot"]).strip())
    for name in ["cargo", "rustc"]:
        image.add(sysroot / "bin" / name)
        image.path(f"/usr/local/cargo/bin/{name}").symlink_to(sysroot / "bin" / name)
    for library in (sysroot / "lib").glob("*.so"):
        image.add(library)
    image.add_tree(sysroot / "lib/rustlib" / host, archives=True)

    for name in ["gcc", "cc", "as", "ld", "ar"]:
        image.add(Path(find(name)).resolve(), f"/usr/bin/{name}")
    image.add_tree(Path(gcc("-print-libgcc-file-name")).parent, archives=True)
    image.add(gcc("-print-prog-name=cc1"))
    image.add_tree("/usr/include")
    development = Path(gcc("-print-file-name=crt1.o")).resolve().parent
    for pattern in ["*.o", *(f"lib{name}[.-]*" for name in C_LIBRARIES)]:
        for file in development.glob(pattern):
            shutil.copy2(file, image.path(file))

    shutil.copytree(vendored, image.root / "vendor", symlinks=True)
    image.path("/usr/local/cargo/config.toml").write_text(
        '[source.crates-io]\nreplace-with = "vendored"\n'
        '[source.vendored]\ndirectory = "/vendor"\n[net]\noffline = true\n'
    )
    return image


def gcc(option):
    return run(["gcc", option]).strip()


def debian_stand_in(image):
    for name in TOOLS:
        program = find(name)
        if program and name != "sh":
            image.add(Path(program).resolve(), f"/usr/bin/{name}")
    image.add(Path(find("sh")).resolve(), "/bin/sh")
    # git looks for its parts beside each other; the program itself is most of them.
    parts = Path(run(["git", "--exec-path"]).strip())
    for name in ["git", "git-upload-pack", "git-receive-pack"]:
        image.path(parts / name).symlink_to("/usr/bin/git")
    # What every Debian has and no tool above needs.
    for name in ["libgcc_s.so.1", "libm.so.6", "libnss_dns.so.2", "libnss_files.so.2"]:
        found = run(["ldconfig", "--print-cache"])
        for library in re.findall(rf"^\s*{re.escape(name)} .*=> (\S+)$", found, re.MULTILINE)[:1]:
            image.add(library)
    return image
