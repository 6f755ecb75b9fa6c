"""Manifests by digest, which never change, kept in a few MiB of memory: they save the hop."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from werkzeug.datastructures import ResponseCacheControl
from werkzeug.http import parse_cache_control_header

from proxy.path import Kind, Route
from proxy.sources.message import Answer, Request, manifest_answer
from proxy.stream import BytesBody
from registry.manifest import Descriptor

DEFAULT_BYTES = 4 * 1024 * 1024
LARGEST_SHARE = 8
"""A manifest larger than this part of the memory is not kept: it would push out too many."""
TAGS = 1000
LONGEST = 5.0
"""Seconds for which a tag is told without a question, at most, where the shield allows that."""


class RecentManifests:
    """The manifests last asked for by digest, by repository; for many threads. `max_bytes` counts their bytes.

    Tags lead to them for as long as who answered said that they need not be asked for again (RFC 9111, max-age).
    """

    def __init__(self, max_bytes: int = DEFAULT_BYTES, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._kept: OrderedDict[Route, tuple[Descriptor, bytes]] = OrderedDict()
        self._tags: OrderedDict[Route, tuple[Route, float]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, request: Request) -> Answer | None:
        """The answer, where it is remembered."""
        with self._lock:
            route = self._behind(request.route)
            found = self._kept.get(route)
            if found is None:
                return None
            self._kept.move_to_end(route)
        return manifest_answer(request, *found)

    def keep(self, request: Request, answer: Answer) -> None:
        """Remember the answer to a question about a manifest by digest or by tag, under its digest."""
        if request.kind is not Kind.MANIFEST or not answer.digest:
            return
        route = replace(request.route, target=str(answer.digest))
        seconds = 0.0 if request.route.digest else _max_age(answer)
        with self._lock:
            if isinstance(answer.body, BytesBody):
                self._keep(route, Descriptor(answer.media_type, answer.digest, len(answer.body.content)), answer.body)
            if seconds:
                self._tags[request.route] = route, self._clock() + min(seconds, LONGEST)
                self._tags.move_to_end(request.route)
                if len(self._tags) > TAGS:
                    self._tags.popitem(last=False)

    def _behind(self, route: Route) -> Route:
        known = None if route.digest else self._tags.get(route)
        return known[0] if known and self._clock() < known[1] else route

    def _keep(self, route: Route, descriptor: Descriptor, body: BytesBody) -> None:
        if descriptor.size * LARGEST_SHARE > self._max_bytes:
            return
        if route not in self._kept:
            self._kept[route] = descriptor, body.content
            self._bytes += descriptor.size
        while self._bytes > self._max_bytes:
            _, (_, oldest) = self._kept.popitem(last=False)
            self._bytes -= len(oldest)


def _max_age(answer: Answer) -> float:
    """Seconds that the answer is fresh for; none for one that says nothing."""
    header = answer.headers.get("Cache-Control")
    said = parse_cache_control_header(header, cls=ResponseCacheControl) if header else None
    return float(said.max_age or 0) if said and not said.no_store and not said.no_cache else 0.0
