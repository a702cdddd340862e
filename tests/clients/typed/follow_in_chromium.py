"""Follows an exec with the TypeScript client in Chromium, and prints each event with its bytes as a line
of JSON. The page is another site's to the gateway.

    PYTHONPATH=.. python3 follow_in_chromium.py DIRECTORY-OF-CLIENT URL SESSION EXEC
"""

import json
import sys

from chromium import TELL, browse

PAGE = """<!doctype html>
<title>events</title>
<script type="module">
import { Rdev } from "/src/index.js";
%s
const [url, session, id] = %s;
for await (const event of new Rdev({ url, project: "demo" }).session(session).attach(id).follow()) {
  if (event.type === "caught_up" || event.type === "queued") continue;
  const data = btoa(String.fromCharCode(...(event.bytes ?? [])));
  tell([event.id, event.stream ?? "", data, event.complete ?? null]);
}
tell(null);
</script>
"""

browse(PAGE % (TELL, json.dumps(sys.argv[2:])), scripts=sys.argv[1])
