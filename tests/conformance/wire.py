"""What goes over the wire: HTTP answers read piece by piece, and server-sent events parsed as the
HTML standard says. Only the standard library, and nothing of any client under test."""

import http.client
import json
import re
import socket
import struct
import time
import urllib.parse

# Nothing that is waited for takes longer, on a busy machine too.
ANSWER_TIMEOUT_SECONDS = 60
# No answer takes longer as a whole: heartbeats alone do not keep a check waiting.
WHOLE_TIMEOUT_SECONDS = 120
READ_BYTES = 64 * 1024
LINE_END = re.compile(rb"\r\n|\r|\n")


class Answer:
    """The answer to one request. Its body is read as it comes."""

    def __init__(self, connection, own_socket, response):
        self._connection = connection
        self._socket = own_socket
        self._response = response
        self._deadline = time.monotonic() + WHOLE_TIMEOUT_SECONDS
        self.status = response.status
        self.headers = {}
        for name, value in response.getheaders():
            self.headers.setdefault(name.lower(), []).append(value)

    def header(self, name):
        """A header's value; all of them joined if it was sent more than once."""
        return ", ".join(self.headers.get(name.lower(), []))

    def some(self, at_most=READ_BYTES):
        """What has come, at least one byte; empty at the end."""
        if time.monotonic() > self._deadline:
            raise TimeoutError(f"no end after {WHOLE_TIMEOUT_SECONDS} s")
        return self._response.read1(at_most)

    def timeout(self, seconds):
        """The longest silence from now on."""
        if self._socket is not None:
            self._socket.settimeout(seconds)

    def rest(self):
        """Everything up to the end, then the connection is closed."""
        pieces = []
        while piece := self.some():
            pieces.append(piece)
        self.close()
        return b"".join(pieces)

    def json(self):
        """The whole body as JSON."""
        return json.loads(self.rest())

    def close(self):
        """An orderly end."""
        self._response.close()
        self._connection.close()

    def reset(self):
        """An end as of a network that broke: RST instead of FIN."""
        if self._socket is not None:
            linger = struct.pack("ii", 1, 0)
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            except OSError:
                pass  # The server has closed it already.
        self.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def request(url, headers=None, method="GET", body=None, timeout=ANSWER_TIMEOUT_SECONDS):
    """Sends one request on a connection of its own. Header values may be bytes."""
    parts = urllib.parse.urlsplit(url)
    kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    if parts.scheme not in kinds:
        raise ValueError(f"not an http address: {url}")
    connection = kinds[parts.scheme](parts.hostname, parts.port, timeout=timeout)
    target = parts.path or "/"
    if parts.query:
        target += "?" + parts.query
    connection.putrequest(method, target, skip_accept_encoding=True)
    for name, value in (headers or {}).items():
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    # `getresponse` takes the socket away from a connection that ends with its answer.
    own_socket = connection.sock
    return Answer(connection, own_socket, connection.getresponse())


def with_query(url, **options):
    """The address with these options added."""
    options = {name: value for name, value in options.items() if value is not None}
    if not options:
        return url
    return url + ("&" if "?" in url else "?") + urllib.parse.urlencode(options)


class Event:
    """One dispatched event."""

    def __init__(self, identity, has_own_id, name, data):
        # The last event id in force after it.
        self.id = identity
        # Whether it came with an `id` line itself.
        self.has_own_id = has_own_id
        self.name = name
        self.data = data

    def key(self):
        """What makes two events the same."""
        return (self.id, self.name, self.data)

    def json(self):
        return json.loads(self.data)

    def __repr__(self):
        data = self.data if len(self.data) < 80 else self.data[:80] + "…"
        return f"{self.name}({self.id}) {data}"


class Parser:
    """Turns bytes into events. What is cut off in the middle is no event."""

    def __init__(self, last_id=""):
        self.last_id = last_id
        # An `id` counts from the end of its block on.
        self._id = last_id
        self._waiting = b""
        self._is_first = True
        self._begin()

    def _begin(self):
        self._name, self._data, self._has_own_id = "", [], False

    def feed(self, piece):
        """The events that these bytes complete."""
        self._waiting += piece
        events = []
        at = 0
        for end in LINE_END.finditer(self._waiting):
            # The other half of a CR LF may still be on its way.
            if end.group() == b"\r" and end.end() == len(self._waiting):
                break
            event = self._line(self._waiting[at : end.start()])
            if event:
                events.append(event)
            at = end.end()
        self._waiting = self._waiting[at:]
        return events

    def _line(self, line):
        if self._is_first:
            line = line.removeprefix(b"\xef\xbb\xbf")
            self._is_first = False
        if not line:
            return self._dispatch()
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ").decode("utf-8", "replace")
        if field == b"id" and "\0" not in value:
            self._id, self._has_own_id = value, True
        elif field == b"event":
            self._name = value
        elif field == b"data":
            self._data.append(value)
        return None

    def _dispatch(self):
        self.last_id = self._id
        event = None
        if self._data:
            data = "\n".join(self._data)
            event = Event(self._id, self._has_own_id, self._name or "message", data)
        self._begin()
        return event


class Reader:
    """An open event stream."""

    def __init__(self, url, headers=None, last_id=None, timeout=ANSWER_TIMEOUT_SECONDS):
        headers = {"Accept": "text/event-stream", **(headers or {})}
        if last_id is not None:
            headers["Last-Event-ID"] = last_id
        self.answer = request(url, headers, timeout=timeout)
        self.parser = Parser(last_id or "")
        self.raw = b""
        self.events = []
        self._taken = 0

    @property
    def status(self):
        return self.answer.status

    def next(self):
        """The next event; none at the end of the stream."""
        while self._taken == len(self.events):
            piece = self.answer.some()
            if not piece:
                return None
            self.raw += piece
            self.events += self.parser.feed(piece)
        self._taken += 1
        return self.events[self._taken - 1]

    def until(self, wanted):
        """The next event with this name."""
        while event := self.next():
            if event.name == wanted:
                return event
        raise EOFError(f"the stream ended without {wanted}")

    def rest(self):
        """Everything up to the end."""
        while self.next():
            pass
        self.answer.close()
        return self.events

    def cut_after(self, count, reset):
        """Reads this many bytes, then cuts the connection. Says whether the stream ended before."""
        ended = False
        while len(self.raw) < count and not ended:
            piece = self.answer.some(min(READ_BYTES, count - len(self.raw)))
            ended = not piece
            self.raw += piece
            self.events += self.parser.feed(piece)
        if reset and not ended:
            self.answer.reset()
        else:
            self.answer.close()
        return ended

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.answer.close()
