"""The client against an API server's double that keeps what it is sent."""

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from kubernetes import client

from kube.client import Api, Jobs, KubernetesError


class _Server(http.server.BaseHTTPRequestHandler):
    seen: ClassVar[list[tuple[str, str, Any]]] = []

    def do_PATCH(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append((self.path, self.headers["Content-Type"], body))
        refused = "/gone" in self.path
        answered: dict[str, Any] = {"kind": "Job", "metadata": {"name": "x"}}
        if refused:
            answered = {"kind": "Status", "message": 'jobs.batch "gone" not found', "code": 404}
        raw = json.dumps(answered).encode()
        self._answer(404 if refused else 200, raw)

    def do_GET(self) -> None:
        status = int(self.path.rpartition("/")[2])
        self._answer(status, json.dumps({"kind": "Status", "code": status}).encode())

    def _answer(self, status: int, raw: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_arguments: object) -> None:
        """Keep quiet."""


@pytest.fixture
def port() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture
def jobs(port: int) -> Jobs:
    return jobs_at(port)


def jobs_at(port: int) -> Jobs:
    return Jobs(api_at(port))


def api_at(port: int) -> Api:
    settings = client.Configuration()
    settings.host = f"http://127.0.0.1:{port}"
    settings.retries = False
    return Api(client.ApiClient(settings))


def test_an_annotation_is_merged_into_the_job(jobs: Jobs) -> None:
    jobs.annotate("kuik-system", "copy-x-1", {"kuik.dev/result": "{}"})
    path, kind, body = _Server.seen[-1]
    assert path == "/apis/batch/v1/namespaces/kuik-system/jobs/copy-x-1"
    assert "patch+json" in kind
    assert body == {"metadata": {"annotations": {"kuik.dev/result": "{}"}}}


def test_a_refusal_says_what_the_server_said(jobs: Jobs) -> None:
    with pytest.raises(KubernetesError, match="not found") as caught:
        jobs.annotate("kuik-system", "gone", {})
    assert caught.value.status == 404


def test_what_may_be_absent_is_found_or_not_and_a_refusal_is_neither(port: int) -> None:
    api = api_at(port)
    assert api.find("api/v1/namespaces/200") == {"kind": "Status", "code": 200}
    assert api.find("api/v1/namespaces/404") is None
    for status in (403, 500):
        with pytest.raises(KubernetesError) as caught:
            api.find(f"api/v1/namespaces/{status}")
        assert caught.value.status == status


def test_no_answer_is_the_same_kind_of_error() -> None:
    with pytest.raises(KubernetesError, match="did not answer") as caught:
        jobs_at(1).annotate("kuik-system", "x", {})
    assert caught.value.status == 0


def test_outside_of_a_pod_it_says_so() -> None:
    with pytest.raises(KubernetesError, match="service account"):
        Jobs.in_cluster()
