"""Programs of this machine: where they are, how they are run, what is waited for."""

import os
import shutil
import subprocess
import threading
import time

# Debian's own docker comes first: another client on PATH may lack BuildKit's plugin.
PATH = "/usr/sbin:/usr/bin:/sbin:/bin:" + os.environ.get("PATH", "")
# Everything is local; what takes longer than this hangs.
TIMEOUT_SECONDS = 180


def find(program):
    return shutil.which(program, path=PATH)


def compose_command():
    docker = find("docker")
    if docker and run([docker, "compose", "version"], check=False, quiet=True):
        return [docker, "compose"]
    program = find("docker-compose")
    return [program] if program else None


def run(command, capture=True, check=True, quiet=False, **options):
    """Runs a command and returns what it printed; an error shows all of it."""
    try:
        done = subprocess.run(
            command, text=True, check=False, timeout=None if not capture else TIMEOUT_SECONDS,
            stdin=subprocess.DEVNULL, capture_output=capture, **options,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise SystemExit(f"{command} hangs: {error.stderr}") from error
    if done.returncode == 0:
        return done.stdout
    if check:
        raise SystemExit(f"{command} failed:\n{done.stdout}\n{done.stderr}")
    return None if quiet else done.stdout


def wait_until(what, condition):
    deadline = time.monotonic() + TIMEOUT_SECONDS
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited in vain until {what}")
        pause.wait(0.2)


def say(text):
    print(f"compose: {text}", flush=True)
