"""Manifests by digest, which never change, kept in a few MiB of memory: they save the hop."""

import threading
from collections import OrderedDict
from dataclasses import replace

from proxy.path import Kind, Route
from proxy.sources.message import Answer, Request, manifest_answer
from proxy.stream import BytesBody
from registry.manifest import Descriptor

DEFAULT_BYTES = 4 * 1024 * 1024
LARGEST_SHARE = 8
"""A manifest larger than this part of the memory is not kept: it would push out too many."""


class RecentManifests:
    """The manifests last asked for by digest, by repository; for many threads. `max_bytes` counts their bytes."""

    def __init__(self, max_bytes: int = DEFAULT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[Route, tuple[Descriptor, bytes]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, request: Request) -> Answer | None:
        """The answer, where it is remembered."""
        with self._lock:
            found = self._kept.get(request.route)
            if found is None:
                return None
            self._kept.move_to_end(request.route)
        return manifest_answer(request, *found)

    def keep(self, request: Request, answer: Answer) -> None:
        """Remember the answer to a GET of a manifest by digest or by tag, under its digest."""
        if request.kind is not Kind.MANIFEST or not isinstance(answer.body, BytesBody) or not answer.digest:
            return
        raw = answer.body.content
        if len(raw) * LARGEST_SHARE > self._max_bytes:
            return
        route = replace(request.route, target=str(answer.digest))
        with self._lock:
            if route not in self._kept:
                self._kept[route] = (Descriptor(answer.media_type, answer.digest, len(raw)), raw)
                self._bytes += len(raw)
            while self._bytes > self._max_bytes:
                _, (_, oldest) = self._kept.popitem(last=False)
                self._bytes -= len(oldest)
