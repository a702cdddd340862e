"""Shows a page in Chromium and prints what it tells, each entry as one JSON line, until it tells null."""

import ctypes
import http.server
import json
import os
import signal
import subprocess
import tempfile
import threading

PR_SET_PDEATHSIG = 1
# For pages: one after the other, so that entries arrive in their order.
TELL = """
let told = Promise.resolve();
function tell(entry) {
  told = told.then(() => fetch("/", { method: "POST", body: JSON.stringify(entry) }));
}
"""
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--no-first-run", "--no-proxy-server", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip


def end_with_parent():
    """Also when this program is killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def browse(page, scripts=None):
    """Serves the page, and the scripts below this directory."""
    ended = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            path = os.path.join(scripts or "", self.path.lstrip("/"))
            if self.path == "/":
                self.answer(200, page, "text/html")
            elif scripts and path.endswith(".js") and os.path.exists(path):
                with open(path, encoding="utf-8") as script:
                    self.answer(200, script.read(), "text/javascript")
            else:
                self.answer(404, "", "text/plain")

        def do_POST(self):
            entry = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if entry is not None:
                print(json.dumps(entry), flush=True)
            self.answer(204, "", "text/plain")
            if entry is None:
                ended.set()

        def answer(self, status, text, kind):
            self.send_response(status)
            if status != 204:
                self.send_header("Content-Type", f"{kind}; charset=utf-8")
                self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="rdev-chromium-", ignore_cleanup_errors=True) as profile:
        address = f"http://127.0.0.1:{server.server_port}/"
        chromium = subprocess.Popen(
            ["chromium", *FLAGS, f"--user-data-dir={profile}", address],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=end_with_parent,
            start_new_session=True,
        )
        ended.wait()
        os.killpg(chromium.pid, signal.SIGKILL)
        chromium.wait()
