"""The hooks in this process, with a clock of their own; they can be told to fail."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from io import BytesIO
from typing import Any

import orjson
from werkzeug.serving import make_server
from werkzeug.test import Client, run_wsgi_app

from hooks.app import create_app
from hooks.facts import PRIVATE, PUBLIC, Absent, Context, ImageFacts, Known, Proof, Questions, Secret, Settings, Unknown
from hooks.fitness import lost_nodes, reach
from hooks.imagecache import PROXIES
from hooks.last_look import all_in_use
from hooks.observe import Observer, Sight
from kube.types import Object
from kuik.driver.troubles import HookFailed
from registry.reference import Reference
from tests.rig.processes import free_port

KEY = b"the key of capabilities"

Answer = tuple[int, bytes]
"""An answer's status and body."""

Fault = Callable[[bytes, Callable[[bytes], Answer]], Answer]
"""Gets a request's body, and who would answer it rightly; gives the answer that callers meet instead."""


Parent = tuple[str, str]
"""A stage, and the name of one of its parents."""


class Clock:
    """Some clock, and what `advance` has added to it."""

    def __init__(self, base: Callable[[], datetime]) -> None:
        self._base = base
        self.ahead = timedelta()

    def now(self) -> datetime:
        return self._base() + self.ahead


@dataclass
class World:
    """What the hooks' edge finds out besides what it is sent: a scenario changes it."""

    authority: Known[str] | Absent | Unknown = field(default_factory=Absent)
    images: dict[str, ImageFacts] = field(default_factory=dict)
    """What the shield knows, by the image's name in its CachedImage."""
    blind: str = ""
    """Why the pods cannot be looked at, where they cannot."""

    def open(self, image: str, *secrets: Secret) -> None:
        """The shield has proven that these secrets open the image's repository; without any, that it is public."""
        proof = Proof(PRIVATE, frozenset(secrets)) if secrets else Proof(PUBLIC)
        self.images[image] = ImageFacts(Known(proof))


class _Edge(Observer):
    """The hooks' edge with another clock, which sees what a test's cluster has."""

    def __init__(self, clock: Clock, listed: Callable[[str], Iterable[Object]]) -> None:
        super().__init__(Settings(), sight=Sight(lambda: self.world.authority, self._looked, self._lost, lambda: KEY))
        self.world = World()
        self._clock = clock
        self._listed = listed

    def context(self, references: Iterable[Reference] = ()) -> Context:
        return replace(super().context(references), now=self._clock.now())

    def gather(self, questions: Questions, context: Context) -> Context:
        context = super().gather(questions, context)
        if questions.image:
            context = replace(context, image=self.world.images.get(questions.image, ImageFacts()))
        return context

    def _looked(self) -> Known[frozenset[str]] | Unknown:
        return Unknown(self.world.blind) if self.world.blind else Known(all_in_use(self._listed, self.settings.proxy))

    def _lost(self) -> Known[int]:
        return Known(lost_nodes(reach(pod) for pod in self._listed("Pod") if _is_proxy(pod)))


class Hooks:
    """The application, in this process or on a loopback port, with the `fault` that its callers meet."""

    def __init__(self, clock: Clock, listed: Callable[[str], Iterable[Object]]) -> None:
        self.clock = clock
        self._edge = _Edge(clock, listed)
        self._app = create_app(self._edge)
        self._client = Client(self)
        self.fault: Fault | None = None
        self.calls: Counter[Parent] = Counter()
        """How often each parent was asked about, whatever came of it."""
        self.resyncs: dict[Parent, datetime] = {}
        """When parents asked to be synced again, by the clock, as their last answers say."""
        self._counting = threading.Lock()

    @property
    def world(self) -> World:
        """What the edge finds out."""
        return self._edge.world

    def begin(self) -> None:
        """As if nothing had been before."""
        self.fault = None
        self.clock.ahead *= 0
        self._edge.world = World()
        self.resyncs.clear()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        path = environ["PATH_INFO"]
        parent = _parent(path, body)
        with self._counting:
            self.calls[parent] += 1

        def ask(changed: bytes) -> Answer:
            asked = {**environ, "wsgi.input": BytesIO(changed), "CONTENT_LENGTH": str(len(changed))}
            found, status, _headers = run_wsgi_app(self._app, asked, buffered=True)
            return int(status.partition(" ")[0]), b"".join(found)

        status, answer = self.fault(body, ask) if self.fault else ask(body)
        if path.startswith("/sync/"):
            self._note(parent, answer if status == 200 else b"{}")
        headers = [("Content-Length", str(len(answer))), ("Content-Type", "application/json")]
        start_response(f"{status} as told", headers)
        return [answer]

    def _note(self, parent: Parent, answer: bytes) -> None:
        try:
            after = orjson.loads(answer).get("resyncAfterSeconds") or 0
        except (ValueError, AttributeError):
            after = 0
        with self._counting:
            self.resyncs.pop(parent, None)
            if after:
                self.resyncs[parent] = self.clock.now() + timedelta(seconds=after)

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
        logging.getLogger("werkzeug").setLevel(logging.WARNING)
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


def _parent(path: str, body: bytes) -> Parent:
    """Whom a request is about: its stage and the parent's name."""
    request = orjson.loads(body)
    named = request.get("parent") or request.get("object")
    return path.rpartition("/")[2], str(named["metadata"]["name"])


def _is_proxy(pod: Object) -> bool:
    return PROXIES.items() <= (pod["metadata"].get("labels") or {}).items()
