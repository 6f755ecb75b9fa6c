"""Between Metacontroller and the hooks' process: passes every call on, and counts for which parents it was made."""

import http.client
import http.server
import json
import threading
from collections import Counter
from typing import Self

from hooks.stages import STAGES


class Counted:
    """`calls` has a parent's stage and name, and how often it was synced."""

    def __init__(self, port: int) -> None:
        self.calls: Counter[tuple[str, str]] = Counter()
        self._port = port
        handler = type("Handler", (_Handler,), {"counted": self})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def passed_on(self, path: str, body: bytes) -> tuple[int, bytes]:
        """What the hooks answer; a sync is counted once it was."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            said = answer.status, answer.read()
        finally:
            connection.close()
        _, verb, stage = path.split("/")
        if verb == "sync" and said[0] == http.HTTPStatus.OK:
            asked = json.loads(body)
            self.calls[stage, asked["object" if "object" in asked else "parent"]["metadata"]["name"]] += 1
        return said


class _Handler(http.server.BaseHTTPRequestHandler):
    counted: Counted

    def do_POST(self) -> None:
        status, said = self.counted.passed_on(self.path, self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(status)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_arguments: object) -> None:
        """Keep quiet."""


PARENTS = {stage: found.parent for stage, found in STAGES.items()}
"""The kind of each stage's parents."""
