"""A server process in place of vLLM's, for tests: it answers with what it sees, or dies as asked.

STUB_REPLICA is JSON: `wait` seconds before it is ready; `fail`: GPUs whose server does not start;
`stubborn`: it ignores the request to end.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GPU = os.environ.get("CUDA_VISIBLE_DEVICES", "")
SETTINGS = json.loads(os.environ.get("STUB_REPLICA", "{}"))
READY_AT = time.monotonic() + SETTINGS.get("wait", 0)
parser = argparse.ArgumentParser()
parser.add_argument("--host", required=True)
parser.add_argument("--port", type=int, required=True)
OPTIONS, FLAGS = parser.parse_known_args()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.reply({}, 200 if time.monotonic() > READY_AT else 503)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if body["messages"][-1]["content"] in ("die", f"die {GPU}"):
            die("the GPU fell off the bus")
        facts = {"gpu": GPU, "flags": FLAGS, "model": body["model"]}
        message = {"content": json.dumps(facts)}
        usage = {"prompt_tokens": 1, "completion_tokens": 1}
        self.reply({"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage})

    def reply(self, payload, status=200):
        raw = json.dumps(payload).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_):
        pass


def die(words):
    print(f"ERROR\nRuntimeError: {words}", file=sys.stderr, flush=True)
    os._exit(3)


if SETTINGS.get("stubborn"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
# An engine of its own, as vLLM has one: it must not outlive the server.
child = subprocess.Popen(["sleep", "600"])
print(f"engine {child.pid}", flush=True)
if GPU in SETTINGS.get("fail", []):
    child.kill()
    die("no kernel image is available")
server = ThreadingHTTPServer((OPTIONS.host, OPTIONS.port), Handler)
threading.Thread(target=server.serve_forever).start()
