"""`python -m hooks`: the real server, called over HTTP with the bodies that Metacontroller sends."""

import gc
import http.client
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import orjson
import pytest
from flask import Flask

from hooks.server import Server
from hooks.stages import STAGES
from tests.hooks import golden
from tests.rig.processes import free_port


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    number = free_port()
    settings = {"KUIK_LISTEN": f"127.0.0.1:{number}"}
    environment = {**os.environ, **settings, "KUIK_LOG_LEVEL": "warning"}
    process = subprocess.Popen([sys.executable, "-m", "hooks"], env=environment)
    try:
        _wait(number)
        yield number
    finally:
        process.terminate()
        assert process.wait(30) == 0, "SIGTERM is a clean end"


def _wait(port: int) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the hooks did not start")


def _post(port: int, path: str, body: bytes, *, chunked: bool = False) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    pieces = (body[at : at + 65536] for at in range(0, len(body), 65536))
    headers = {"Content-Type": "application/json"}
    connection.request("POST", path, pieces if chunked else body, headers, encode_chunked=chunked)
    response = connection.getresponse()
    answered = json.loads(response.read())
    connection.close()
    return response.status, answered


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_namespace(port: int, chunked: bool) -> None:
    pod = {"containers": [{"name": "c", "image": "nginx:1", "env": [{"name": "X", "value": "y" * 4000}]}]}
    related = [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"p{n}", "namespace": "shop"}, "spec": pod}
        for n in range(1000)
    ]
    parent = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    request = golden.request(STAGES["inventory"], parent, [], related)
    if chunked:
        request["padding"] = "x" * 1_000_000
    status, answered = _post(port, "/sync/inventory", json.dumps(request).encode(), chunked=chunked)
    attachments = answered["attachments"]
    assert status == 200
    assert isinstance(attachments, list)
    assert attachments[0]["spec"]["images"][0]["users"] == 1000


def test_a_bad_body(port: int) -> None:
    status, answered = _post(port, "/sync/inventory", b"not json")
    assert status == 400
    assert "JSON" in str(answered["error"])


class _ApiServer(http.server.BaseHTTPRequestHandler):
    """Takes Events, slowly, and has nothing else."""

    posted: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(0.3)
        if json.loads(body)["kind"] == "Event":
            self.posted.append(json.loads(body)["reason"])
        self._answer(201, body)

    def do_GET(self) -> None:
        self._answer(404, b"{}")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Keep quiet."""


def test_events_are_written_before_a_process_ends(tmp_path: Path) -> None:
    """Three workloads use an image that cannot be cached: SIGTERM comes while their Events are still queued."""
    api = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _ApiServer)
    threading.Thread(target=api.serve_forever, daemon=True).start()
    server = f"http://127.0.0.1:{api.server_address[1]}"
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        f"""\
{{apiVersion: v1, kind: Config, current-context: x, users: [{{name: x, user: {{token: x}}}}],
clusters: [{{name: x, cluster: {{server: "{server}"}}}}], contexts: [{{name: x, context: {{cluster: x, user: x}}}}]}}"""
    )
    number = free_port()
    environment = {**os.environ, "KUIK_LISTEN": f"127.0.0.1:{number}", "KUIK_KUBECONFIG": str(kubeconfig)}
    process = subprocess.Popen([sys.executable, "-m", "hooks"], env=environment)
    try:
        _wait(number)
        case = golden.read(golden.CASES / "cachedimage" / "failed" / "observed.yaml")
        case["parent"]["spec"]["usedBy"] = [f"shop/Deployment/web{at}" for at in range(3)]
        request = golden.request(STAGES["cachedimage"], case["parent"], case["children"], [])
        status, answered = _post(number, "/sync/cachedimage", json.dumps(request).encode())
        assert (status, answered["status"]["phase"]) == (200, "Failed")  # type: ignore[index]
        assert len(_ApiServer.posted) < 4, "the test is about Events that are not written yet"
        process.terminate()
        assert process.wait(30) == 0
        assert len(_ApiServer.posted) == 4, "one about the image, and one about each workload"
    finally:
        process.kill()
        process.wait(10)
        api.shutdown()


def test_the_garbage_collector_leaves_large_requests_alone() -> None:
    """As Python comes, it walks through all objects again and again while a body of 26 MB is read."""
    usual = gc.get_threshold()
    body = orjson.dumps([{"name": str(at), "labels": {"at": at}} for at in range(400_000)])
    try:
        Server(lambda: Flask("none"), {}).load()
        before = gc.get_stats()[2]["collections"]
        read = orjson.loads(body)
        assert gc.get_stats()[2]["collections"] == before
        assert len(read) == 400_000
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()
