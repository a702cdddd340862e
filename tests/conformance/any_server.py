"""Checks that any server of resumable event streams must pass: a stream that ends can be cut
anywhere and resumed, and the pieces join to the whole."""

import concurrent.futures
import random

from report import Skip, expect
from wire import Reader

# Frames of a connection, not of the log: they say where a reader is, and may come again.
CONTROL_EVENTS = {"connected", "caught_up", "heartbeat", "gap", "reconnect", "ping"}
CUTS_MIN = 100
# Readers of one stream at the same time in the check that they see the same.
READERS = 4
# Connections until a stream that is cut again and again has to be at its end.
ROUNDS_MAX = 10_000


class Stream:
    """A stream that ends, at one address or several that must be the same."""

    def __init__(self, urls, headers=None, control_events=CONTROL_EVENTS):
        self.urls = urls
        self.headers = headers or {}
        self.control_events = control_events

    def open(self, last_id=None, which=0):
        """A new connection, behind this event if given."""
        return Reader(self.urls[which % len(self.urls)], self.headers, last_id)

    def logged(self, events):
        """Those that are part of the stream itself."""
        return [
            event
            for event in events
            if event.has_own_id and event.name not in self.control_events
        ]

    def whole(self, which=0):
        """All events of an undisturbed run."""
        with self.open(which=which) as reader:
            expect(reader.status == 200, f"status {reader.status}")
            return self.logged(reader.rest())


def keys(events):
    return [event.key() for event in events]


def same(found, wanted, when):
    """Fails with the first difference."""
    for index, (one, other) in enumerate(zip(found, wanted)):
        expect(one.key() == other.key(), f"{when}: event {index + 1} is {one}, not {other}")
    expect(len(found) == len(wanted), f"{when}: {len(found)} events, not {len(wanted)}")


def rest_behind(stream, last_id, which=0):
    """The events behind this id. A server may say with 204 that there are none."""
    with stream.open(last_id, which) as reader:
        if reader.status == 204:
            expect(reader.answer.rest() == b"", "204 with a body")
            return []
        expect(reader.status == 200, f"status {reader.status} behind {last_id!r}")
        return stream.logged(reader.rest())


def joined(stream, dice, cut_max_bytes, is_end=None):
    """Reads to the end over connections that are cut at random places, each resumed with the last
    id that was received whole. Returns the events and the number of cuts."""
    events, cuts, last_id, rounds, stretch = [], 0, None, 0, 1
    while True:
        rounds += 1
        reader = stream.open(last_id, rounds)
        if reader.status == 204:
            reader.answer.close()
            return events, cuts
        expect(reader.status == 200, f"status {reader.status} behind {last_id!r}")
        count = dice.randint(1, cut_max_bytes * stretch)
        ended = reader.cut_after(count, reset=dice.random() < 0.5)
        new = stream.logged(reader.events)
        events += new
        # An event that is longer than the cuts has to come through some time.
        stretch = 1 if new else stretch * 2
        last_id = reader.parser.last_id or last_id
        if ended or (is_end and events and is_end(events[-1])):
            return events, cuts
        cuts += 1
        expect(rounds < ROUNDS_MAX, "the end does not come")


def content_type(stream):
    """The answer is 200 text/event-stream."""
    with stream.open() as reader:
        kind = reader.answer.header("content-type")
        expect(reader.status == 200, f"status {reader.status}")
        expect(kind.split(";")[0].strip() == "text/event-stream", kind)
        return kind


def ids(stream):
    """Every event has an id of its own, none twice, and the stream ends."""
    events = stream.whole()
    expect(events, "no event with an id")
    found = [event.id for event in events]
    expect(len(set(found)) == len(found), "an id came twice")
    expect(all(found), "an empty id")
    return f"{len(found)} events"


def again(stream):
    """Read again, through every address, the stream is the same."""
    first = stream.whole()
    for which in range(len(stream.urls) * 2):
        same(stream.whole(which), first, f"reading {which + 2}")
    return f"{len(stream.urls)} addresses"


def together(stream):
    """Readers at the same time see the same."""
    with concurrent.futures.ThreadPoolExecutor(READERS) as pool:
        found = list(pool.map(stream.whole, range(READERS)))
    for index, events in enumerate(found[1:]):
        same(events, found[0], f"reader {index + 2}")
    return f"{READERS} readers"


def every_id(stream):
    """Resumed behind every id, what comes is what is left, through every address in turn."""
    events = stream.whole()
    for index, event in enumerate(events):
        left = rest_behind(stream, event.id, index)
        same(left, events[index + 1 :], f"behind {event.id}")
    return f"{len(events)} ids"


def every_cut(stream):
    """Cut at random bytes, in the middle of frames too, and resumed, the pieces join to the
    whole."""
    with stream.open() as reader:
        whole = stream.logged(reader.rest())
        size = len(reader.raw)
    expect(whole, "the stream is empty")
    dice, cuts, runs = random.Random(size), 0, 0
    while cuts < CUTS_MIN:
        # Coarse and fine: many cuts fall into a frame, some between two of them.
        cut_max_bytes = max(2, size // dice.choice([3, 8, 20]))
        events, more = joined(stream, dice, cut_max_bytes)
        same(events, whole, f"run {runs + 1} with {more} cuts")
        cuts, runs = cuts + more, runs + 1
    return f"{cuts} cuts in {runs} runs of {size} bytes"


def empty_header(stream):
    """An empty Last-Event-ID is none."""
    same(rest_behind(stream, ""), stream.whole(), "with an empty header")


def behind_the_end(stream):
    """Behind the last event there is nothing, and a browser is told to stop (204)."""
    last = stream.whole()[-1]
    with stream.open(last.id) as reader:
        expect(reader.status in (200, 204), f"status {reader.status}")
        if reader.status == 200:
            expect(stream.logged(reader.rest()) == [], "events behind the last one")
            raise Skip("200 and nothing: browsers will reconnect for ever")
    return "204"


CHECKS = [
    content_type,
    ids,
    again,
    together,
    every_id,
    every_cut,
    empty_header,
    behind_the_end,
]


def run(report, stream):
    """All of them."""
    for check in CHECKS:
        report.run("any server", check, stream)
