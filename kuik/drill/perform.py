"""The edges of a drill: looks at the cluster, and has images read on a node, or through a proxy that is at hand."""

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from hooks.conditions import holds
from hooks.directory import PROXIES
from kube.client import Api, KubernetesError
from kube.paths import KINDS
from kube.types import Object, entries, metadata, part
from kuik.check.outage import NO_CACHE
from kuik.doctor.nodes import node_of
from kuik.drill.__main__ import QUESTIONS, RATE
from kuik.drill.job import drill_job
from kuik.drill.needs import Seen
from kuik.drill.question import Question, Said, batches, written
from kuik.drill.reading import Reader, only_cached
from kuik.keeper.hashing import Pace

_OBJECTS = (
    "Namespace",
    "ServiceAccount",
    "Pod",
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "CronJob",
    "ClusterCachePolicy",
    "CachePolicy",
)
_BEGINS = 120.0
"""Seconds in which the pod of a Job has to begin; its image is on the node already."""
_SILENT = 120.0
_LEAST = 3600
_LOOK_EVERY = 0.5
_BROKEN_OFF = 5


class DrillFailed(Exception):
    """Nothing could be read, or not all; the message says why."""


def look(api: Api, namespace: str) -> Seen:
    """One look at a cluster; `namespace` is kuik's own. Raises KubernetesError."""
    images = _listed(api, "CachedImage")
    caches = _listed(api, "ImageCache")
    selected = {"labelSelector": PROXIES}
    return Seen(
        now=datetime.now(UTC),
        objects=tuple(obj for kind in _OBJECTS for obj in _listed(api, kind)),
        images=images,
        nodes=_listed(api, "Node"),
        proxies=tuple(api.items(KINDS["Pod"].collection(namespace), selected)),
        daemon_sets=tuple(api.items(KINDS["DaemonSet"].collection(namespace), selected)),
        cache=caches[0] if caches else NO_CACHE,
        namespace=namespace,
    )


def _listed(api: Api, kind: str) -> tuple[Object, ...]:
    found = KINDS[kind]
    named = {"apiVersion": found.api_version, "kind": kind}
    return tuple({**named, **item} for item in api.items(found.collection()))


def through(url: str, questions: Iterable[Question], rate: float) -> Iterator[Said]:
    """Read from this machine through a node proxy that it reaches; raises RegistryError, ValueError for no URL."""
    host = url.removeprefix("http://").rstrip("/")
    if not url.startswith("http://") or "/" in host or not host:
        raise ValueError(f"{url!r} is not http://HOST:PORT")
    reader = Reader(only_cached(host), host, Pace(rate))
    for question in questions:
        yield from reader.read(question)


def ready_nodes(seen: Seen) -> list[str]:
    """The nodes whose proxy is ready, in order."""
    return sorted({node_of(pod) for pod in seen.proxies if holds(pod, "Ready") and node_of(pod)})


@dataclass
class OnNodes:
    """Reads on nodes, by a Job each time, which goes when it has ended, or when this is left. `size` is about how many
    bytes will be read, at `rate` bytes a second. `said` is told what is waited for."""

    api: Api
    seen: Seen
    nodes: Sequence[str]
    rate: float
    size: int = 0
    said: Callable[[str], None] = lambda _words: None

    def read(self, questions: Sequence[Question]) -> Iterator[Said]:
        """What is to be said of each image; raises KubernetesError, DrillFailed."""
        if not self.seen.daemon_sets:
            raise DrillFailed(f"there is no node proxy's DaemonSet in {self.seen.namespace}")
        if not self.nodes:
            raise DrillFailed("no node proxy is ready")
        for number, batch in enumerate(batches(questions)):
            yield from self._on(self.nodes[number % len(self.nodes)], batch)

    def _on(self, node: str, batch: Sequence[Question]) -> Iterator[Said]:
        name = f"kuik-drill-{secrets.token_hex(4)}"
        environment = {QUESTIONS: written(batch), RATE: str(self.rate)}
        deadline = _LEAST + int(2 * self.size / self.rate)
        namespace = self.seen.namespace
        job = drill_job(name, node, self.seen.daemon_sets[0], environment, deadline, namespace)
        self.api.create(KINDS["Job"].collection(namespace), job)
        try:
            self.said(f"Job {name} begins on {node}")
            pod = self._begun(name)
            self.said(f"read by Job {name} on {node}")
            left = {one.image for one in batch}
            for said in self._followed(pod):
                if not said.image:
                    raise DrillFailed(said.lack.message if said.lack else "nothing could be read")
                left -= {said.image} if said.ends else set()
                yield said
                if not left:
                    return
            raise DrillFailed(f"Job {name} ended before it had read {len(left)} images{self._why(pod)}")
        finally:
            with suppress(KubernetesError):  # else it goes by itself, two hours after it has ended
                self.api.request("DELETE", KINDS["Job"].path(name, namespace), {"propagationPolicy": "Background"})

    def _begun(self, job: str) -> str:
        """The Job's pod, once it has begun; raises DrillFailed where it does not."""
        since = time.monotonic()
        path = KINDS["Pod"].collection(self.seen.namespace)
        why = "its pod was not made"
        while time.monotonic() - since < _BEGINS:
            for pod in self.api.items(path, {"labelSelector": f"batch.kubernetes.io/job-name={job}"}):
                if part(pod, "status").get("phase") not in (None, "Pending"):
                    return str(metadata(pod)["name"])
                why = _waits(pod) or "its pod is pending"
            time.sleep(_LOOK_EVERY)
        raise DrillFailed(f"Job {job} did not begin in {_BEGINS:.0f} s: {why}")

    def _followed(self, pod: str) -> Iterator[Said]:
        """The lines of a pod's log, each once, though the connection breaks."""
        path, seen, breaks = f"{KINDS['Pod'].path(pod, self.seen.namespace)}/log", 0, 0
        while True:
            count = 0
            try:
                for line in self.api.lines(path, {"follow": "true"}, _SILENT):
                    count += 1
                    if count > seen:
                        seen, breaks = count, 0
                        if said := Said.parse(line):
                            yield said
            except KubernetesError as error:
                breaks += 1
                if breaks > _BROKEN_OFF:
                    raise DrillFailed(f"the log of {pod} cannot be read: {error}") from error
                time.sleep(_LOOK_EVERY)
            else:
                return

    def _why(self, pod: str) -> str:
        try:
            status = part(self.api.get(KINDS["Pod"].path(pod, self.seen.namespace)), "status")
        except KubernetesError:
            return ""
        for one in entries(status, "containerStatuses"):
            ended = part(part(one, "state"), "terminated")
            if ended.get("message") or ended.get("reason"):
                return f": {str(ended.get('message') or ended.get('reason')).strip()[-300:]}"
        return ""


def _waits(pod: Object) -> str:
    status = part(pod, "status")
    for one in entries(status, "containerStatuses"):
        waiting = part(part(one, "state"), "waiting")
        if waiting.get("reason"):
            return f"{waiting['reason']}: {str(waiting.get('message') or '')[:200]}"
    unplaced = next((one for one in entries(status, "conditions") if one.get("type") == "PodScheduled"), {})
    return str(unplaced.get("message") or "")


def sizes(seen: Seen) -> Mapping[str, int]:
    """The bytes of each cached image, as its status has them."""
    said = {str(part(one, "spec").get("image")): part(one, "status").get("size") for one in seen.images}
    return {image: size for image, size in said.items() if isinstance(size, int)}
