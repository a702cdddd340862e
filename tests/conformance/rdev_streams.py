"""Checks of rdev's event streams: frames, resuming, and what is answered instead."""

import random
import re
import uuid

from any_server import joined, same
from rdev_server import BLOCK, NUMBERED, SECRET, expect_problem, number, numbered
from report import Skip, expect
from wire import Reader, request, with_query

BROWSER = {"Origin": "https://example.org"}


def answer_headers(world):
    """The headers keep caches and proxies from holding the stream back, and let browsers read."""
    with world.main.get() as answer:
        kind = answer.header("content-type").split(";")[0]
        expect(kind == "text/event-stream", kind)
        wanted = {"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}
        if world.through_proxy:
            del wanted["x-accel-buffering"]  # Taken by the proxy that it is for.
        for name, value in wanted.items():
            expect(answer.header(name) == value, f"{name}: {answer.header(name)}")
    headers = {**world.server.headers, **BROWSER}
    with request(world.main.url(), headers) as answer:
        origin = answer.header("access-control-allow-origin")
        credentials = answer.header("access-control-allow-credentials")
        expect(not (origin == "*" and credentials), "any site, with credentials")
    return f"allowed origin {origin or 'none'}"


def preflight(world):
    """A page of another site may send Last-Event-ID."""
    asked = {
        **BROWSER,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "last-event-id",
    }
    with request(world.main.url(), asked, "OPTIONS") as answer:
        allowed = answer.header("access-control-allow-headers").lower()
        if not answer.header("access-control-allow-origin"):
            raise Skip("this server is not for other sites")
        expect(answer.status in (200, 204), f"status {answer.status}")
        expect("last-event-id" in allowed, f"allowed: {allowed}")


def frames(world):
    """Every frame is id, event, at most a retry, one line of data, all ended by LF, in UTF-8."""
    raw = world.main.raw
    expect(raw.endswith(b"\n\n"), "the end is cut")
    expect(b"\r" not in raw, "a carriage return in a frame")
    raw.decode("utf-8")
    blocks = raw[:-2].split(b"\n\n")
    for index, block in enumerate(blocks):
        match = BLOCK.fullmatch(block)
        expect(match, f"block {index + 1} is {block[:200]!r}")
        expect(match.group(3).decode() == world.main.tag(), f"another tag: {block[:100]!r}")
    return f"{len(blocks)} frames"


def beginning(world):
    """The first frame is `connected` with the id 0-0-TAG and a retry, and says whose it is."""
    block = world.main.raw.split(b"\n\n")[0].decode()
    wanted = rf"id: 0-0-{world.main.tag()}\nevent: connected\nretry: \d+\ndata: .*"
    expect(re.fullmatch(wanted, block), block)
    with world.main.open() as reader:
        data = reader.next().json()
    expect(data["session_id"] == world.main.session, data)
    expect(data["stream_id"] == world.main.id and data["reconnecting"] is False, data)


def numbers(world):
    """The events are numbered 1, 2, 3 and so on; the last is the only `complete`."""
    events = world.main.events
    found = [number(event) for event in events]
    expect(found == list(range(1, len(events) + 1)), found)
    sequences = [int(event.id.split("-")[0]) for event in events]
    expect(sequences == sorted(sequences), "sequences go back")
    ends = [event for event in events if event.name == "complete"]
    expect(len(ends) == 1 and events[-1] is ends[0], f"{len(ends)} ends")
    for event in events:
        expect(isinstance(event.json(), dict), event)
    expect(ends[0].json()["exit_code"] == 3, ends[0])
    expect(world.seen_live.count("caught_up") <= 1, world.seen_live)
    others = set(world.seen_live) - set(NUMBERED) - {"connected", "caught_up", "heartbeat"}
    expect(not others, f"other events: {others}")
    return f"{len(events)} events"


def live_and_late(world):
    """Who was there from before the start saw the same as who came after the end."""
    same(numbered(world.live_events), world.main.events, "live")


def same_bytes(world):
    """The bytes of the events are the same for every reader, on every replica."""
    def logged(raw):
        blocks = raw.split(b"\n\n")
        name = lambda block: BLOCK.fullmatch(block).group(4).decode()
        return [block for block in blocks if block and name(block) in NUMBERED]

    wanted = logged(world.main.raw)
    expect(logged(world.live_raw) == wanted, "a live reader got other bytes")
    for which in range(world.server.replicas):
        with world.main.open(which=which) as reader:
            reader.rest()
        expect(logged(reader.raw) == wanted, f"replica {which + 1} sends other bytes")
    return f"{world.server.replicas} replicas"


def resumed_hello(world):
    """A resumed stream begins with `connected` at the id it was asked for."""
    for event in (world.main.events[0], world.main.events[-2]):
        with world.main.open(event.id) as reader:
            hello = reader.next()
        expect(hello.name == "connected" and hello.id == event.id, hello)
        expect(hello.json()["reconnecting"] is True, hello)


def resume_live(world):
    """Cut at random bytes while the command runs, over all replicas, nothing is lost or twice."""
    dice, cuts, runs = random.Random(7), 0, 0
    while cuts < 20:
        command = "i=0; while [ $i -lt 60 ]; do echo $i; sleep 0.02; i=$((i + 1)); done"
        running = world.server.start(world.session, command)
        is_end = lambda event: event.name == "complete"
        events, more = joined(running.stream(), dice, 1500, is_end)
        same(events, running.read().events, f"run {runs + 1} with {more} cuts")
        cuts, runs = cuts + more, runs + 1
    return f"{cuts} cuts in {runs} runs"


def at_once(world):
    """An event is sent when it happens, not when there are more."""
    running = world.server.gated(world.session, "echo first", "echo last")
    with running.open() as reader:
        first = reader.until("output")
        expect(first.json()["line"] == "first", first)
        running.open_gate()
        names = [event.name for event in reader.rest() if event.name != "heartbeat"]
    # Where it is depends on who was first; that it is, and once, does not.
    expect(names.count("caught_up") == 1, names)
    names.remove("caught_up")
    expect(names == ["connected", "output", "output", "complete"], names)


def header_wins(world):
    """The header wins over `?last_event_id=`; without a header the option counts."""
    events = world.main.events
    early, late = events[2].id, events[9].id
    for header, option, behind in ((late, early, 10), (None, early, 3), ("", early, 3)):
        with world.main.open(header, last_event_id=option) as reader:
            world.main.expect_left(reader, behind, f"header {header!r}, option {option!r}")
    with world.main.open(late, last_event_id="nonsense") as reader:
        world.main.expect_left(reader, 10, "header, nonsense in the option")
    with world.main.open(None, last_event_id="") as reader:
        world.main.expect_left(reader, 0, "empty option")


def own_ids(world):
    """The ids of `connected` and `caught_up` can be resumed too."""
    with world.main.open(f"0-0-{world.main.tag()}") as reader:
        world.main.expect_left(reader, 0, "the id of connected")
    running = world.server.gated(world.session, "echo one", "echo two")
    with running.open() as reader:
        caught_up = reader.until("caught_up")
    running.open_gate()
    running.read()
    with running.open(caught_up.id) as reader:
        running.expect_left(reader, number(caught_up), "the id of caught_up")


def finished(world):
    """Behind `complete` the answer is 204, without a body, which stops a browser."""
    last = world.main.events[-1].id
    for method in ("GET", "HEAD"):
        with world.main.get(last, method=method) as answer:
            expect(answer.status == 204, f"{method}: {answer.status}")
            expect(answer.rest() == b"", "a body")
    with world.main.get(last_event_id=last) as answer:
        expect(answer.status == 204, f"as an option: {answer.status}")


def wrong_cursors(world):
    """What is not a place of this exec is refused with a problem, and shows nothing of another."""
    tag, other = world.main.tag(), world.other
    last = world.main.events[-1]
    sequence, count = int(last.id.split("-")[0]), number(last)
    limit = 2**64
    cursors = [
        "-1", "0", "1", "1-1", "abc", "1-1-1-" + tag, f"1-1-{tag}-", f"-1-1-{tag}", f"1--1-{tag}",
        f"+1-1-{tag}", f"01-1-{tag}", f"1-01-{tag}", f"1 -1-{tag}", f"0x1-1-{tag}", f"1.0-1-{tag}",
        f"1-1-{tag[:7]}", f"1-1-{tag}0", f"1-1-{tag.upper()}" if tag != tag.upper() else "1-1-X",
        f"{limit}-1-{tag}", f"1-{limit}-{tag}", f"{limit - 1}-1-{tag}", f"1-{limit - 1}-{tag}",
        f"{sequence + 1_000_000}-{count}-{tag}", f"{sequence}-{count + 1}-{tag}",
        f"{sequence + 1_000_000}-0-{tag}", "1-1-00000000" if tag != "00000000" else "1-1-11111111",
        other.events[0].id, other.events[-1].id, f"{other.events[0].id.rsplit('-', 1)[0]}-{tag}x",
        "*", "null", "undefined", "[object Object]", "1-1-\xff\xfe", "٣-1-" + tag,
    ]  # fmt: skip
    codes = set()
    for cursor in cursors:
        value = cursor.encode("utf-8" if "٣" in cursor else "latin-1")
        with world.main.get(value) as answer:
            codes.add(expect_problem(answer, 400, f"Last-Event-ID {cursor!r}")["code"])
    return f"{len(cursors)} cursors, codes {', '.join(sorted(codes))}"


def wrong_options(world):
    """The same in `?last_event_id=`, line ends and NUL too."""
    tag = world.main.tag()
    cursors = [
        "-1", f"01-1-{tag}", f"1-1-{tag}\r\nevent: complete", f"1-1-{tag}\n\n", f"1-1-{tag}\0",
        "\0", " ", "9" * 64, "é", world.other.events[0].id,
    ]  # fmt: skip
    for cursor in cursors:
        with world.main.get(last_event_id=cursor) as answer:
            expect_problem(answer, 400, f"last_event_id {cursor[:40]!r}")
    return f"{len(cursors)} cursors"


def long_cursor(world):
    """A cursor of 8 KiB is refused, in the header and in the option."""
    for cursor in ("1" * 8192, "1-1-" + "0" * 8188):
        for answer in (world.main.get(cursor), world.main.get(last_event_id=cursor)):
            if world.through_proxy:
                # The proxy may find it too long before the server does.
                expect(answer.status in (400, 414, 431), f"status {answer.status}")
                answer.close()
            else:
                expect_problem(answer, 400, "8 KiB")


def not_another_exec(world):
    """A stream never shows what is not its own: not even with the sequence of another exec."""
    sequence = world.other.events[0].id.split("-")[0]
    with world.main.get(f"{sequence}-1-{world.main.tag()}") as answer:
        text = answer.rest().decode()
        expect(SECRET not in text, "shows another exec")
        expect(answer.status in (200, 400), f"status {answer.status}")
        return f"status {answer.status}"


def unknown(world):
    """An unknown session is 404; an id that can name nothing is 404 or 400."""
    server = world.server
    for session in (str(uuid.uuid4()), "nonsense", "..%2f..", "*"):
        url = with_query(server.url(f"/sessions/{session}/events"), stream_id=world.main.id)
        with request(url, server.headers) as answer:
            expect_problem(answer, 404, f"session {session}")
    for stream in ("a.b", "*", ">", "a/b", "a b", "x" * 65, "é", "a\r\nb"):
        url = with_query(server.url(f"/sessions/{world.session}/events"), stream_id=stream)
        with request(url, server.headers) as answer:
            expect_problem(answer, 400, f"stream_id {stream!r}")


def waits(world):
    """An exec that nobody has posted yet is waited for: the reader who was first misses nothing."""
    stream = "early-" + uuid.uuid4().hex[:12]
    url = with_query(world.server.url(f"/sessions/{world.session}/events", 1), stream_id=stream)
    with Reader(url, world.server.headers) as reader:
        expect(reader.status == 200, f"status {reader.status}")
        hello = reader.next()
        expect(hello.name == "connected" and hello.id.startswith("0-0-"), hello)
        reader.until("caught_up")
        running = world.server.start(world.session, "echo early", stream_id=stream)
        events = numbered(reader.rest())
    same(events, running.read().events, "early")
    return f"{len(events)} events"


def head(world):
    """HEAD says what GET would, without a body."""
    with world.main.get(method="HEAD") as answer:
        expect(answer.status == 200, f"status {answer.status}")
        kind = answer.header("content-type").split(";")[0]
        expect(kind == "text/event-stream", kind)
        expect(answer.rest() == b"", "a body")
    with world.main.get("nonsense", method="HEAD") as answer:
        expect(answer.status == 400, f"a wrong cursor: {answer.status}")


def heartbeats(world):
    """While nothing happens there are heartbeats, with the id in force; they can be resumed."""
    running = world.server.gated(world.session, "echo first", "echo last")
    with running.open() as reader:
        first = reader.until("output")
        try:
            reader.answer.timeout(world.heartbeat_wait_seconds)
            beat = reader.until("heartbeat")
        except TimeoutError:
            running.open_gate()
            raise Skip(f"none in {world.heartbeat_wait_seconds} s") from None
    expect(beat.id == first.id, f"{beat}, behind {first}")
    expect(isinstance(beat.json()["timestamp"], str), beat)
    running.open_gate()
    running.read()
    with running.open(beat.id) as reader:
        running.expect_left(reader, 1, "the id of a heartbeat")


def stderr_name(world):
    """`?stderr=output` shows the standard error of claude as `output`; else it is `error`."""
    with world.main.open(stderr="output") as reader:
        world.main.expect_left(reader, 0, "a shell command")
    with world.main.get(stderr="nonsense") as answer:
        expect_problem(answer, 400, "stderr=nonsense")
    if not world.claude_prompt:
        raise Skip("shell and an unknown name are right; --claude-prompt tries claude too")
    body = {"type": "claude", "prompt": world.claude_prompt}
    exec_ = world.server.start(world.server.session(), "", **body).read()
    complaints = [event for event in exec_.events if event.name == "error"]
    expect(complaints, "claude wrote nothing to standard error")
    with exec_.open(stderr="output") as reader:
        renamed = numbered(reader.rest())
    expect([event.id for event in renamed] == [event.id for event in exec_.events], "other ids")
    for one, other in zip(renamed, exec_.events):
        expect(one.name == {"error": "output"}.get(other.name, other.name), one)
        expect(one.data == other.data, one)
    return f"{len(complaints)} lines"


def strict(world):
    """`?strict=true` changes nothing where nothing is missing."""
    for cursor, behind in ((None, 0), (world.main.events[4].id, 5)):
        with world.main.open(cursor, strict="true") as reader:
            world.main.expect_left(reader, behind, "strict")
    with world.main.get(strict="nonsense") as answer:
        expect_problem(answer, 400, "strict=nonsense")


CHECKS = [
    answer_headers, preflight, frames, beginning, numbers, live_and_late, same_bytes,
    resumed_hello, resume_live, at_once, header_wins, own_ids, finished, wrong_cursors,
    wrong_options, long_cursor, not_another_exec, unknown, waits, head, heartbeats, stderr_name,
    strict,
]  # fmt: skip
