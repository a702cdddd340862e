"""rdev's own API, as far as the checks need it: sessions, execs, and where their events are."""

import json
import re
import uuid

from any_server import Stream, same
from report import expect
from wire import Reader, request, with_query

# Prints one of everything that could break a frame, fast and slowly, and fails at the end.
COMMAND = r"""
printf '%s\n' 'grüße, 世界' '' 'data: injected' '' 'event: complete' 'id: 1-1-00000000' ': comment'
printf 'a\rb\r\n'; printf '\377\376\n'; printf '\000nul\n'; echo complaint >&2
i=0; while [ $i -lt 120 ]; do
  echo "line $i"; [ $((i % 8)) = 0 ] && sleep 0.03; i=$((i + 1))
done
head -c 20000 /dev/zero | tr '\0' x; echo
printf 'no end of line'; exit 3
"""
# Stands in the output of an exec that no other may show.
SECRET = "secret-" + uuid.uuid4().hex
NUMBERED = ("output", "error", "claude_event", "codex_event", "complete")
BLOCK = re.compile(
    rb"id: (\d+)-(\d+)-([0-9a-f]{8})\nevent: ([a-z_]+)\n(retry: \d+\n)?data: ([^\r\n]*)"
)


class Exec:
    """One exec, and what an undisturbed reader saw of it once it was complete."""

    def __init__(self, server, session, stream):
        self.server, self.session, self.id = server, session, stream
        self.events = []
        self.raw = b""

    def url(self, which=0, **options):
        """Its events, at one of the replicas."""
        path = f"/sessions/{self.session}/events"
        return with_query(self.server.url(path, which), stream_id=self.id, **options)

    def open(self, last_id=None, which=0, **options):
        """A new connection to its events."""
        return Reader(self.url(which, **options), self.server.headers, last_id)

    def get(self, last_id=None, accept="text/event-stream", method="GET", **options):
        """The answer to any request for its events."""
        headers = {**self.server.headers, "Accept": accept}
        if last_id is not None:
            headers["Last-Event-ID"] = last_id
        return request(self.url(**options), headers, method)

    def stream(self):
        """The same for the checks of any server."""
        return Stream([self.url(which) for which in range(self.server.replicas)], self.server.headers)

    def read(self):
        """Reads it to the end and keeps what came."""
        with self.open() as reader:
            expect(reader.status == 200, f"status {reader.status}")
            reader.rest()
        self.events, self.raw = numbered(reader.events), reader.raw
        return self

    def tag(self):
        return self.events[0].id.split("-")[2]

    def expect_left(self, reader, behind, when):
        """Reads to the end: it must be what is behind so many events."""
        expect(reader.status == 200, f"{when}: status {reader.status}")
        same(numbered(reader.rest()), self.events[behind:], when)


class Server:
    """One rdev, through one gateway or two."""

    def __init__(self, bases, project, headers, pod):
        self.bases = [base.rstrip("/") for base in bases]
        self.project, self.headers, self.pod = project, headers, pod

    @property
    def replicas(self):
        return len(self.bases)

    def url(self, path, which=0):
        return f"{self.bases[which % len(self.bases)]}/projects/{self.project}{path}"

    def post(self, path, body):
        """Posts JSON; the answer has to be 200 or 201."""
        headers = {**self.headers, "Content-Type": "application/json"}
        body = json.dumps(body).encode()
        with request(self.url(path), headers, "POST", body) as answer:
            status, text = answer.status, answer.rest().decode()
        expect(status in (200, 201), f"POST {path}: {status} {text}")
        return json.loads(text)

    def session(self):
        """A new session for the pod."""
        return self.post("/sessions", self.pod)["id"]

    def start(self, session, command, **more):
        """Posts a shell command, or another exec."""
        body = {"type": "shell", "command": command, **more}
        answer = self.post(f"/sessions/{session}/exec", body)
        return Exec(self, session, answer["id"])

    def gated(self, session, before, after, **more):
        """A command that waits in the middle until `open_gate`."""
        gate = "${TMPDIR:-/tmp}/rdev-conformance-" + uuid.uuid4().hex
        wait = f"while ! [ -e {gate} ]; do sleep 0.05; done; rm -f {gate}"
        started = self.start(session, f"{before}\n{wait}\n{after}", **more)
        # Another command of the same pod.
        started.open_gate = lambda: self.start(session, f"touch {gate}")
        return started


def numbered(events):
    """The events of the log."""
    return [event for event in events if event.name in NUMBERED]


def number(event):
    """Its place among its exec's events."""
    return int(event.id.split("-")[1])


def expect_problem(answer, status, when):
    """An error as RFC 9457 has it, with a code, that shows nothing of an exec."""
    text = answer.rest().decode("utf-8", "replace")
    expect(answer.status == status, f"{when}: {answer.status} {text[:200]}")
    expect(SECRET not in text, f"{when}: shows another exec: {text[:200]}")
    kind = answer.header("content-type").split(";")[0]
    expect(kind == "application/problem+json", f"{when}: content type {kind}")
    problem = json.loads(text)
    code = problem.get("code")
    expect(isinstance(code, str) and code, f"{when}: no code in {text}")
    expect(problem.get("status", status) == status, f"{when}: tells another status: {text}")
    return problem
