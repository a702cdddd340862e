"""Follows an exec with Chromium's own EventSource and prints each event as one JSON line. The page
comes from a server of its own, so that the events are another site's to it. It ends when Chromium
itself gives up reconnecting, which it does after a 204."""

import json
import sys

from chromium import TELL, browse

PAGE = """<!doctype html>
<title>events</title>
<script>
%s
const source = new EventSource(%s);
const names = ["connected", "caught_up", "output", "claude_event", "codex_event", "complete", "gap", "reconnect",
  "heartbeat", "message"];
for (const name of names) {
  source.addEventListener(name, (event) => tell([event.lastEventId, event.type, event.data]));
}
source.onerror = (event) => {
  if (event instanceof MessageEvent) tell([event.lastEventId, event.type, event.data]);
  else if (source.readyState === EventSource.CLOSED) tell(null);
};
</script>
"""

browse(PAGE % (TELL, json.dumps(sys.argv[1])))
