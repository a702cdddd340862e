"""Draws what came out of a terminal with pyte, an emulator that we did not write.

Standard input: a JSON list of {"cols", "rows"} (a size; the first comes first) and {"base64"} (output).
Standard output: a JSON list of the screens after each of them, as lists of rows.
"""

import base64
import json
import sys

import pyte

screen = pyte.Screen(1, 1)
stream = pyte.ByteStream(screen)
screens = []
for item in json.load(sys.stdin):
    if "base64" in item:
        stream.feed(base64.b64decode(item["base64"]))
    else:
        screen.resize(item["rows"], item["cols"])
    screens.append([row.rstrip(" ") for row in screen.display])
json.dump(screens, sys.stdout)
