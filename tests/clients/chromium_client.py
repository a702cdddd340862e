"""Follows an exec with Chromium's own EventSource and prints each event as one JSON line. The page
comes from a server of its own, so that the events are another site's to it. It ends when Chromium
itself gives up reconnecting, which it does after a 204."""

import ctypes
import http.server
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading

PR_SET_PDEATHSIG = 1
PAGE = """<!doctype html>
<title>events</title>
<script>
// One after the other, so that they arrive in their order.
let told = Promise.resolve();
function tell(entry) {
  told = told.then(() => fetch("/", { method: "POST", body: JSON.stringify(entry) }));
}
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
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--no-first-run", "--no-proxy-server", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip
ended = threading.Event()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves the page and takes what it tells."""

    def do_GET(self):
        found = self.path == "/"
        self.answer(200 if found else 404, PAGE % json.dumps(sys.argv[1]) if found else "")

    def do_POST(self):
        entry = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if entry is not None:
            print(json.dumps(entry), flush=True)
        self.answer(204, "")
        if entry is None:
            ended.set()

    def answer(self, status, text):
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


def end_with_parent():
    """Also when this program is killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
with tempfile.TemporaryDirectory(prefix="rdev-chromium-", ignore_cleanup_errors=True) as profile:
    chromium = subprocess.Popen(
        ["chromium", *FLAGS, f"--user-data-dir={profile}", f"http://127.0.0.1:{server.server_port}/"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=end_with_parent,
        start_new_session=True,
    )
    ended.wait()
    os.killpg(chromium.pid, signal.SIGKILL)
    chromium.wait()
