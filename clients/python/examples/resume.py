"""Writes what an exec prints into a file. Kill it whenever you like and start it again: the file has
every byte once, because the place in the file and the place in the events are kept together.

    python3 resume.py http://127.0.0.1:8080 demo SESSION EXEC output.txt
"""

import json
import os
import sys
from pathlib import Path
from typing import Optional

from rdev_client import Client, Completed, Gap, Output


def main(url: str, project: str, session: str, exec_id: str, file: str) -> None:
    kept_in = Path(f"{file}.cursor")
    after: Optional[str] = None
    length = 0
    if kept_in.exists():
        after, length = json.loads(kept_in.read_text())

    with Client(url, project, key=os.environ.get("RDEV_API_KEY")) as rdev, open(file, "ab") as output:
        # What was written behind the place that was kept is written again.
        output.truncate(length)
        for event in rdev.session(session).attach(exec_id).follow(after=after):
            if isinstance(event, Gap):
                sys.exit(f"events have expired: {event.gap}")
            if isinstance(event, Output):
                output.write(event.data)
                output.flush()
                length += len(event.data)
            # Whole or not at all: a file appears under its name by a rename.
            Path(f"{file}.cursor.new").write_text(json.dumps([event.id, length]))
            os.replace(f"{file}.cursor.new", kept_in)
            if isinstance(event, Completed):
                print(event.complete["outcome"], event.complete["exit_code"])


if __name__ == "__main__":
    main(*sys.argv[1:])
