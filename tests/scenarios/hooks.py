"""The hooks in this process, with a clock of their own; they can be told to fail."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from io import BytesIO
from typing import Any

import orjson
from werkzeug.serving import make_server
from werkzeug.test import Client

from hooks.app import create_app
from hooks.facts import Context, Known, Questions, Settings
from hooks.observe import Observer
from kube.types import Object
from kuik.driver.troubles import HookFailed
from registry.reference import InvalidReference, Reference
from tests.rig.processes import free_port

Fault = Callable[[bytes], bytes | tuple[int, bytes]]
"""Gets a request's body; gives another one, or the answer at once."""


class Clock:
    """Some clock, and what `advance` has added to it."""

    def __init__(self, base: Callable[[], datetime]) -> None:
        self._base = base
        self.ahead = timedelta()

    def now(self) -> datetime:
        return self._base() + self.ahead


class _Edge(Observer):
    """The hooks' edge with another clock, which sees the pods that a test's cluster has."""

    def __init__(self, clock: Clock, pods: Callable[[], Iterable[Object]]) -> None:
        super().__init__(Settings())
        self._clock = clock
        self._pods = pods

    def context(self, references: Iterable[Reference] = ()) -> Context:
        return replace(super().context(references), now=self._clock.now())

    def gather(self, questions: Questions, context: Context) -> Context:
        context = super().gather(questions, context)
        return replace(context, in_use=Known(_in_use(self._pods()))) if questions.pods else context


class Hooks:
    """The application, in this process or on a loopback port, with the `fault` that its callers meet."""

    def __init__(self, clock: Clock, pods: Callable[[], Iterable[Object]]) -> None:
        self.clock = clock
        self._app = create_app(_Edge(clock, pods))
        self._client = Client(self)
        self.fault: Fault | None = None
        self.calls: Counter[str] = Counter()
        self._counting = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        with self._counting:
            self.calls[environ["PATH_INFO"]] += 1
        if self.fault:
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            changed = self.fault(body)
            if isinstance(changed, tuple):
                start_response(f"{changed[0]} as told", [("Content-Length", str(len(changed[1])))])
                return [changed[1]]
            environ = {**environ, "wsgi.input": BytesIO(changed), "CONTENT_LENGTH": str(len(changed))}
        return self._app(environ, start_response)

    @contextmanager
    def failing(self, fault: Fault) -> Any:
        """Meet this fault in every call meanwhile."""
        self.fault = fault
        try:
            yield
        finally:
            self.fault = None

    def serve(self) -> tuple[str, Callable[[], None]]:
        """Answer on a loopback port: its URL, and what ends it."""
        port = free_port()
        server = make_server("127.0.0.1", port, self, threaded=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{port}", server.shutdown

    def sync(self, stage: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._ask(f"/sync/{stage}", request)

    def customize(self, stage: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._ask(f"/customize/{stage}", request)

    def _ask(self, path: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        response = self._client.post(path, data=orjson.dumps(request), content_type="application/json")
        if response.status_code != 200:
            raise HookFailed(f"{path}: {response.status_code} {response.get_data(as_text=True)[:200]}")
        try:
            answer: Mapping[str, Any] = orjson.loads(response.get_data())
        except ValueError as error:
            raise HookFailed(f"{path}: the answer is no JSON") from error
        return answer


def _in_use(pods: Iterable[Object]) -> frozenset[str]:
    found = set()
    for pod in pods:
        spec = pod["spec"]
        for container in (*spec["containers"], *(spec.get("initContainers") or ())):
            try:
                found.add(str(Reference.parse(container["image"]).identity))
            except InvalidReference:
                continue
    return frozenset(found)
