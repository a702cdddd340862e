"""Checks of the other forms of the same events: NDJSON, long polling, the last N, the feed of a
whole session; and of what is told when retention has removed events."""

import json

from any_server import same
from rdev_server import NUMBERED, expect_problem, number, numbered
from report import Skip, expect
from wire import Event, Reader, request, with_query

NDJSON = "application/x-ndjson"
JSON = "application/json"
# Longer than the events of a gated command need; the answer comes at once when there are some.
WAIT_SECONDS = 20
FEED_LINES = 30


def told(entries, when):
    """Events that came as JSON objects; their data is the event's JSON, not a text of it."""
    for entry in entries:
        members = {"id", "event", "data"}
        expect(isinstance(entry, dict) and members <= set(entry), f"{when}: {entry}")
        expect(not isinstance(entry["data"], str), f"{when}: data is a text: {entry}")
    return [Event(entry["id"], True, entry["event"], entry["data"]) for entry in entries]


def same_values(found, wanted, when):
    """Events told as JSON against events of the stream."""
    values = [Event(event.id, True, event.name, event.json()) for event in wanted]
    same([event for event in found if event.name in NUMBERED], values, when)


def lines(answer, when):
    """The events of an NDJSON answer."""
    expect(answer.status == 200, f"{when}: status {answer.status}")
    kind = answer.header("content-type").split(";")[0]
    expect(kind == NDJSON, f"{when}: content type {kind}")
    text = answer.rest()
    expect(not text or text.endswith(b"\n"), f"{when}: the last line has no end")
    entries = [json.loads(line) for line in text.split(b"\n")[:-1]]
    return told(entries, when)


def ndjson_path(exec_):
    return exec_.server.url(f"/sessions/{exec_.session}/execs/{exec_.id}/events")


def ndjson_whole(world):
    """NDJSON has one object a line, the same ids, names and data, at both paths."""
    headers = {**world.server.headers, "Accept": NDJSON}
    for url in (ndjson_path(world.main), world.main.url()):
        with request(url, headers) as answer:
            same_values(lines(answer, url), world.main.events, url)


def ndjson_resume(world):
    """NDJSON takes the same cursors, and refuses the same."""
    events = world.main.events
    for event in events[:: max(1, len(events) // 20)]:
        with world.main.get(event.id, NDJSON) as answer:
            same_values(lines(answer, event.id), events[number(event) :], f"behind {event.id}")
    with world.main.get(events[-1].id, NDJSON) as answer:
        expect(answer.status in (200, 204), f"behind the end: {answer.status}")
        expect(answer.rest() == b"", "events behind the end")
    for cursor in ("nonsense", world.other.events[0].id):
        with world.main.get(cursor, NDJSON) as answer:
            expect_problem(answer, 400, cursor)


def ndjson_ends(world):
    """NDJSON of a running exec ends at the present."""
    running = world.server.gated(world.session, "echo one", "echo two")
    with running.open() as reader:
        first = reader.until("output")
        with running.get(accept=NDJSON) as answer:
            found = lines(answer, "running")
        running.open_gate()
        reader.rest()
    same_values(found, [first], "running")
    with running.get(first.id, NDJSON) as answer:
        same_values(lines(answer, "later"), running.read().events[1:], "later")


def poll(exec_, cursor, when, wait=None):
    """One long poll; none when the exec is finished."""
    with exec_.get(cursor, JSON, wait=wait) as answer:
        if answer.status == 204:
            return None
        expect(answer.status == 200, f"{when}: status {answer.status}")
        kind = answer.header("content-type").split(";")[0]
        expect(kind == JSON, f"{when}: content type {kind}")
        page = answer.json()
    members = {"events": list, "next": str, "caught_up": bool, "complete": bool}
    for name, kind in members.items():
        expect(isinstance(page.get(name), kind), f"{when}: {name} in {str(page)[:200]}")
    page["events"] = told(page["events"], when)
    return page


def poll_whole(world):
    """Long polls, each with the `next` of the one before, join to the whole, then there is 204."""
    found, cursor, polls = [], None, 0
    while True:
        page = poll(world.main, cursor, f"poll {polls + 1}", WAIT_SECONDS)
        expect(page, f"204 before `complete` was told, behind {cursor}")
        polls += 1
        found += page["events"]
        cursor = page["next"]
        if page["complete"]:
            break
        expect(polls < 1000, "the end does not come")
    same_values(found, world.main.events, "joined")
    expect(cursor == world.main.events[-1].id, f"next is {cursor}")
    expect(poll(world.main, cursor, "the end", WAIT_SECONDS) is None, "no 204 behind the end")
    return f"{polls} polls"


def poll_cursors(world):
    """Long polling takes any event's id, and refuses what a stream refuses."""
    events = world.main.events
    for event in (events[0], events[len(events) // 2], events[-2]):
        page = poll(world.main, event.id, event.id)
        wanted = events[number(event) :][: len(page["events"])]
        expect(wanted, f"nothing behind {event.id}")
        same_values(page["events"], wanted, f"behind {event.id}")
    for cursor in ("nonsense", world.other.events[0].id):
        with world.main.get(cursor, JSON, wait=1) as answer:
            expect_problem(answer, 400, cursor)
    with world.main.get(accept=JSON, wait="nonsense") as answer:
        expect_problem(answer, 400, "wait=nonsense")


def poll_live(world):
    """A long poll with nothing to tell keeps its cursor; one that waits is answered when
    something happens."""
    running = world.server.gated(world.session, "echo one", "echo two")
    with running.open() as reader:
        first = reader.until("output")
    page = poll(running, None, "first", WAIT_SECONDS)
    same_values(page["events"], [first], "first")
    expect(page["next"] == first.id and not page["complete"], page)
    for wait in (None, 0, 1):
        page = poll(running, first.id, f"wait={wait}", wait)
        expect(page["events"] == [] and page["next"] == first.id, page)
        expect(page["caught_up"] and not page["complete"], page)
    running.open_gate()
    found, cursor = [], first.id
    for _ in range(10):
        page = poll(running, cursor, "waiting", WAIT_SECONDS)
        found, cursor = found + page["events"], page["next"]
        if page["complete"]:
            break
    same_values(found, running.read().events[1:], "waited for")


def tail_last(world):
    """`?tail=N` shows the last N events, all if there are fewer."""
    events = world.main.events
    for count in (1, 3, len(events), len(events) + 100):
        with world.main.open(tail=count) as reader:
            expect(reader.status == 200, f"tail={count}: status {reader.status}")
            found = reader.rest()
        names = [event.name for event in found]
        expect("gap" not in names, f"tail={count}: a gap")
        expect(names[0] == "connected", f"tail={count}: {names[0]} first")
        same(numbered(found), events[-count:], f"tail={count}")
    for wrong in ("nonsense", "-1", "1.5", str(2**64)):
        with world.main.get(tail=wrong) as answer:
            expect_problem(answer, 400, f"tail={wrong}")


def tail_live(world):
    """Behind the last N of a running exec comes what happens then, and it can be resumed."""
    running = world.server.gated(world.session, "echo 1; echo 2; echo 3", "echo 4")
    with running.open() as reader:
        for _ in range(3):
            reader.until("output")
    with running.open(tail=2) as reader:
        reader.until("output")
        second = reader.until("output")
        running.open_gate()
        found = numbered(reader.rest())
    running.read()
    same(found, running.events[1:], "tail=2")
    expect(number(second) == 3, second)
    with running.open(second.id, tail=1) as reader:
        running.expect_left(reader, 3, "a cursor and tail=1: the cursor wins")
    with running.open(running.events[0].id, tail=1) as reader:
        running.expect_left(reader, 1, "an early cursor and tail=1: the cursor wins")


def feed(world):
    """Execs that run side by side in a session of their own."""
    if world.feed is None:
        session = world.server.session()
        command = f"i=0; while [ $i -lt {FEED_LINES} ]; do echo $i; sleep 0.02; i=$((i + 1)); done"
        execs = [world.server.start(session, command) for _ in range(3)]
        world.feed = [exec_.read() for exec_ in execs]
    return world.feed


def feed_reader(world, last_id=None, which=0):
    path = f"/sessions/{feed(world)[0].session}/events"
    return Reader(world.server.url(path, which), world.server.headers, last_id)


def feed_events(world, count, last_id=None, which=0):
    """So many events of the log from the feed."""
    with feed_reader(world, last_id, which) as reader:
        expect(reader.status == 200, f"status {reader.status} behind {last_id}")
        found = []
        while len(found) < count:
            event = reader.next()
            expect(event, f"the feed ended after {len(found)} events")
            found += numbered([event])
        return found


def feed_whole(world):
    """Without a stream_id there are the events of all execs in one order, with the same ids, and
    with `stream_id` as an additional first member."""
    wanted = {event.id: (exec_, event) for exec_ in feed(world) for event in exec_.events}
    found = feed_events(world, len(wanted))
    shown = [event.id for event in found]
    expect(len(set(shown)) == len(shown) and set(shown) == set(wanted), "other ids")
    places = [tuple(int(part) for part in one.split("-")[:2]) for one in shown]
    expect(places == sorted(places), "not in the order of the log")
    for event in found:
        exec_, own = wanted[event.id]
        member = '{"stream_id":' + json.dumps(exec_.id)
        data = member + ("," if len(own.data) > 2 else "") + own.data[1:]
        expect(event.name == own.name and event.data == data, f"{event}, not {data[:100]}")
    with feed_reader(world) as reader:
        hello = reader.next()
        expect(hello.name == "connected" and hello.json()["stream_id"] == "", hello)
        reader.until("caught_up")
    return f"{len(found)} events of {len(feed(world))} execs"


def feed_resume(world):
    """The feed goes on behind the id of any event of any of its execs."""
    total = sum(len(exec_.events) for exec_ in feed(world))
    whole = feed_events(world, total)
    for index in range(0, total - 1, 5):
        left = total - index - 1
        same(feed_events(world, left, whole[index].id, index), whole[index + 1 :], whole[index].id)
    with feed_reader(world, world.main.events[0].id) as reader:
        expect(reader.status == 400, f"an id of another session: {reader.status}")
    return f"{total // 5} ids"


def feed_live(world):
    """The feed shows an exec that is posted later."""
    session = world.server.session()
    with Reader(world.server.url(f"/sessions/{session}/events"), world.server.headers) as reader:
        expect(reader.status == 200, f"status {reader.status}")
        reader.until("caught_up")
        later = world.server.start(session, "echo later")
        line = reader.until("output").json()
        expect(line["stream_id"] == later.id and line["line"] == "later", line)
        reader.until("complete")


def expired(world):
    if not world.expired_url:
        raise Skip("--expired-url gives the events of an exec whose first ones are gone")
    return world.expired_url


def gap_first(world):
    """What retention removed is told by one `gap` before what is left."""
    with Reader(expired(world), world.server.headers) as reader:
        expect(reader.status == 200, f"status {reader.status}")
        events = reader.rest()
    names = [event.name for event in events if event.name != "heartbeat"]
    expect(names[:2] == ["connected", "gap"] and names.count("gap") == 1, names[:5])
    gap = next(event for event in events if event.name == "gap")
    left = numbered(events)
    data = gap.json()
    expect(data["requested"] == 1 and data["reason"], data)
    expect(left and number(left[0]) > 1, "nothing is missing")
    expect(data["first_available"] == number(left[0]), data)
    count = number(left[-1]) - number(left[0]) + 1
    expect([number(event) for event in left] == [number(left[0]) + n for n in range(count)], left)
    with Reader(world.expired_url, world.server.headers, gap.id) as reader:
        again = reader.rest()
    expect("gap" not in [event.name for event in again], "the gap is told again behind its id")
    same(numbered(again), left, "behind the gap")
    return f"{data['first_available'] - 1} events are gone"


def gap_refused(world):
    """Who asks strictly, or for JSON, gets 410 instead, and the id that goes on with what is left."""
    url = with_query(expired(world), strict="true")
    with request(url, world.server.headers) as answer:
        problem = expect_problem(answer, 410, "strict")
    with request(expired(world), {**world.server.headers, "Accept": JSON}) as answer:
        expect_problem(answer, 410, "JSON")
    with Reader(url, world.server.headers, problem["resume_from"]) as reader:
        expect(reader.status == 200, f"behind resume_from: {reader.status}")
        left = numbered(reader.rest())
    expect(left and number(left[0]) == problem["first_available"], left[:1])
    return problem["code"]


def gap_ndjson(world):
    """NDJSON never passes over it silently: a `gap` line or 410."""
    with request(expired(world), {**world.server.headers, "Accept": NDJSON}) as answer:
        if answer.status == 410:
            return expect_problem(answer, 410, "NDJSON")["code"]
        found = lines(answer, "NDJSON")
    expect(found and found[0].name == "gap", found[:1])
    return "a gap line"


GROUPS = {
    "ndjson": [ndjson_whole, ndjson_resume, ndjson_ends],
    "long-poll": [poll_whole, poll_cursors, poll_live],
    "tail": [tail_last, tail_live],
    "feed": [feed_whole, feed_resume, feed_live],
    "gap": [gap_first, gap_refused, gap_ndjson],
}
