"""One line a check, and what came of it."""

import json
import sys
import time
import traceback


class Wrong(Exception):
    """The server does not do what it must."""


class Skip(Exception):
    """The check cannot be made here."""


def expect(condition, seen):
    """Fails the check with what was seen instead."""
    if not condition:
        raise Wrong(seen() if callable(seen) else seen)


class Report:
    """Runs checks and keeps their results."""

    def __init__(self, skipped_groups=(), out=sys.stdout, as_json=False):
        self.results = []
        self._skipped_groups = set(skipped_groups)
        self._out = out
        self._as_json = as_json

    def run(self, group, check, *arguments):
        """Runs one check: a function whose documentation says what must be, and whose result
        says what was seen."""
        what = " ".join((check.__doc__ or check.__name__).split()).rstrip(".")
        began = time.monotonic()
        try:
            if group in self._skipped_groups:
                raise Skip("left out as asked")
            seen, result = check(*arguments) or "", "ok"
        except Skip as reason:
            seen, result = str(reason), "skip"
        except Wrong as reason:
            seen, result = str(reason), "FAIL"
        except Exception as error:  # A server can break anything; the other checks go on.
            where = traceback.extract_tb(error.__traceback__)[-1]
            seen = f"{type(error).__name__}: {error} ({where.name}, line {where.lineno})"
            result = "FAIL"
        seconds = round(time.monotonic() - began, 3)
        self.results.append(
            {"result": result, "group": group, "check": what, "seen": seen, "seconds": seconds}
        )
        if not self._as_json:
            line = f"{result:4} {group}: {what}" + (f" [{seen}]" if seen else "")
            print(line, file=self._out, flush=True)

    def failed(self):
        """How many checks failed."""
        return self._count("FAIL")

    def _count(self, result):
        return sum(1 for entry in self.results if entry["result"] == result)

    def end(self):
        """Prints the sum, or everything as JSON; returns the exit code."""
        counts = {name: self._count(name) for name in ("ok", "FAIL", "skip")}
        if self._as_json:
            print(json.dumps({"counts": counts, "checks": self.results}, indent=2), file=self._out)
        else:
            print("{ok} ok, {FAIL} failed, {skip} skipped".format(**counts), file=self._out)
        # Nothing tried is nothing shown.
        return 0 if counts["FAIL"] == 0 and counts["ok"] > 0 else 1
