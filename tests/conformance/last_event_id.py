#!/usr/bin/env python3
"""Does a server keep the promise of Last-Event-ID? Black box: needs an address and Python 3.

    last_event_id.py --base-url http://127.0.0.1:8080
        checks rdev; makes a session and runs a few commands in it
    last_event_id.py --stream-url http://127.0.0.1:9000/some/stream
        checks any server with a stream that ends

Prints one line a check and ends with 1 if one failed, or none could be made.
"""

import argparse
import sys

import any_server
import rdev_forms
import rdev_streams
from rdev_server import COMMAND, SECRET, Server
from report import Report


class World:
    """What the checks of rdev share."""

    def __init__(self, arguments, server):
        self.server = server
        self.through_proxy = arguments.through_proxy
        self.heartbeat_wait_seconds = arguments.heartbeat_wait
        self.claude_prompt = arguments.claude_prompt
        self.expired_url = arguments.expired_url
        self.feed = None

    def prepare(self):
        """An exec runs to its end, with a reader from the start, and another with a secret."""
        self.session = self.server.session()
        self.main = self.server.start(self.session, COMMAND)
        with self.main.open(which=1) as reader:
            self.live_events = reader.rest()
            self.live_raw = reader.raw
        self.seen_live = [event.name for event in self.live_events]
        self.main.read()
        self.other = self.server.start(self.session, f"echo {SECRET}").read()
        return f"{len(self.main.events)} events, {len(self.main.raw)} bytes"


def check_rdev(arguments, report):
    """Everything about one rdev."""
    pod = {"pod": arguments.pod, "namespace": arguments.namespace, "container": arguments.container}
    pod = {name: value for name, value in pod.items() if value}
    bases = [arguments.base_url, arguments.second_base_url or arguments.base_url]
    server = Server(bases, arguments.project, dict(arguments.header), pod)
    world = World(arguments, server)

    def prepare():
        """A session can be made and commands run in it."""
        return world.prepare()

    report.run("rdev", prepare)
    if report.failed():
        return
    any_server.run(report, world.main.stream())
    for check in rdev_streams.CHECKS:
        report.run("rdev", check, world)
    for group, checks in rdev_forms.GROUPS.items():
        for check in checks:
            report.run(group, check, world)


def header(text):
    """`Name: value`."""
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise argparse.ArgumentTypeError("a header is given as 'Name: value'")
    return name.strip(), value.strip()


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--base-url", help="address of an rdev gateway")
    target.add_argument("--stream-url", help="a stream that ends, on any server")
    parser.add_argument("--second-base-url", help="another gateway of the same rdev")
    parser.add_argument(
        "--control-event", action="append", default=[], metavar="NAME",
        help="with --stream-url: events of the connection, not of the stream",
    )  # fmt: skip
    parser.add_argument(
        "--header", action="append", type=header, default=[], metavar="'NAME: VALUE'",
        help="sent with every request, such as 'Authorization: Bearer …'",
    )  # fmt: skip
    parser.add_argument("--project", default="demo", help="project of the session (%(default)s)")
    parser.add_argument("--pod", default="conformance", help="pod of the session (%(default)s)")
    parser.add_argument("--namespace", help="namespace of the pod")
    parser.add_argument("--container", help="container in the pod")
    parser.add_argument("--claude-prompt", help="a prompt at which claude writes to stderr")
    parser.add_argument("--expired-url", help="events of an exec whose first events are gone")
    parser.add_argument(
        "--through-proxy", action="store_true", help="a proxy is between; it may take headers"
    )
    parser.add_argument(
        "--heartbeat-wait", type=float, default=20, metavar="SECONDS",
        help="how long to wait for a heartbeat (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--skip", action="append", default=[], metavar="GROUP",
        help="leave a group of checks out: " + ", ".join(["any server", *rdev_forms.GROUPS]),
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print a report as JSON")
    return parser.parse_args()


def main():
    arguments = parse()
    report = Report(arguments.skip, as_json=arguments.json)
    if arguments.stream_url:
        control = any_server.CONTROL_EVENTS | set(arguments.control_event)
        urls = [arguments.stream_url]
        any_server.run(report, any_server.Stream(urls, dict(arguments.header), control))
    else:
        check_rdev(arguments, report)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
