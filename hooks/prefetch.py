"""Stage 4: images pulled onto nodes before a pod there needs them, by one pod on each node, on some nodes at a time.

A node's pod pulls the images one after another: its container gets the next image when the one before is there, or
cannot be had. When it is through, the status remembers the node, and then the pod leaves.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from hooks.facts import Groups, Observation, Questions
from hooks.imagecache import PROXIES
from hooks.messages import Desired, RelatedRule
from hooks.prefetch_images import Copy, Images, cached_names, images
from hooks.prefetch_look import Outcome, image_of, look
from hooks.prefetch_memory import Memory
from hooks.prefetch_nodes import Node, nodes
from hooks.prefetch_pod import Progress, node_of, pod, progress_of
from hooks.prefetch_rules import Rule, rule
from hooks.prefetch_status import Round, State, status
from hooks.resources import CACHE, CACHED, NODE, POD
from kube.duration import later, left_of
from kube.types import Object, format_time, metadata, parse_time, part, texts

_PULL = 3600.0
"""Seconds that one image may take."""
_PLACED = 120.0
"""Seconds in which the pod has to have found room on its node."""
_COPIED = 900.0
"""Seconds that new images are waited for while they are copied, so that no tag seems to move when they come."""
_NOTED = 60.0
"""Seconds in which an image that a policy lists has its CachedImage."""


def customize(parent: Object) -> list[RelatedRule]:
    """The nodes with the rule's labels, the proxies' pods, the cache, and the CachedImages of the rule's images."""
    spec = part(parent, "spec")
    selector = {name: value for name, value in part(spec, "nodeSelector").items() if isinstance(value, str)}
    names = cached_names(texts(spec, "images"))
    # A rule without names would ask for all; no object can be called like that.
    rules = [RelatedRule(NODE, labels=selector), RelatedRule(CACHE), RelatedRule(CACHED, names=names or ["-"])]
    return [*rules, RelatedRule(POD, labels=PROXIES)]


def asks(_parent: Object, _observed: Groups, _now: datetime) -> Questions:
    """The key of capabilities, by which private images have their names."""
    return Questions(key=True)


def sync(parent: Object, children: Groups, seen: Observation) -> Desired:
    """The pods to have, and how far every node is. Raises Unreadable for a spec that the schema would refuse."""
    said = rule(parent, seen.settings.job.namespace)
    wanted = images(said, seen)
    meant = nodes(said, seen)
    memory = Memory.read(parent, (node.name for node in meant))
    run = _Run(said, wanted, wanted.work(said), memory, seen.now)
    pods: dict[str, list[Object]] = {}
    for one in children[POD.group].values():
        pods.setdefault(node_of(one), []).append(one)
    for node in meant:
        run.go_on(node, sorted(pods.get(node.name, []), key=_serial, reverse=True))
    asked = _asked(parent, said, seen.now)
    wait = _until_copied(wanted, parse_time(asked["at"]) or seen.now, seen.now)
    if wanted.found and not wait:
        run.begin(meant)
    run.soon(wait)
    states = [run.state(node) for node in meant]
    told = Round(states, wanted, bool(wait))
    return Desired(run.pods, {**status(parent, told, seen.now), **memory.written(), "asked": asked}, run.resync)


def _asked(parent: Object, said: Rule, now: datetime) -> Mapping[str, str]:
    """Since when these images are asked for, as the status remembers it."""
    names = hashlib.sha256(" ".join(said.images).encode()).hexdigest()[:16]
    before = part(part(parent, "status"), "asked")
    same = before.get("images") == names and parse_time(before.get("at")) is not None
    return {"images": names, "at": str(before["at"]) if same else format_time(now)}


def _until_copied(wanted: Images, since: datetime, now: datetime) -> float:
    """Seconds that are left to wait for copies, so that upstream is asked once for all; 0 where nothing is awaited."""
    limits = {Copy.UNDER_WAY: _COPIED, Copy.MISSING: _NOTED, Copy.SETTLED: 0.0}
    return left_of(max((limits[one.copy] for one in wanted.found), default=0.0), since, now)


@dataclass(slots=True)
class _Run:
    """One sync: what is decided grows node by node."""

    rule: Rule
    images: Images
    work: str
    memory: Memory
    now: datetime
    pods: list[Object] = field(default_factory=list)
    active: dict[str, Progress] = field(default_factory=dict)
    leaving: set[str] = field(default_factory=set)
    busy: int = 0
    resync: float = 0.0

    def soon(self, seconds: float) -> None:
        """Ask to be called again after so many seconds."""
        if seconds > 0:
            self.resync = min(self.resync or seconds, seconds)

    def go_on(self, node: Node, observed: list[Object]) -> None:
        """Decide about a node's pods that are there; those of other works leave."""
        for one in observed:
            leaving = bool(metadata(one).get("deletionTimestamp"))
            progress = progress_of(one)
            current = progress is not None and progress.work == self.work and progress.at < len(self.images.found)
            if leaving or progress is None or not current or self._is_over(node, progress):
                # Until it is gone, its place is taken.
                self.leaving.add(node.name)
                self.busy += not node.wait
            elif node.name not in self.active:
                self._follow(node, one, progress)

    def begin(self, meant: list[Node]) -> None:
        """New pods for the nodes whose turn it is, as many as may pull at once; those that never did come first."""
        free = [one for one in meant if not one.wait and one.name not in self.active and one.name not in self.leaving]
        due = [node for node in free if self._is_due(node.name)]
        for node in sorted(due, key=lambda one: one.name in self.memory.retries or one.name in self.memory.done):
            if self.busy >= self.rule.parallel:
                return
            retry = self.memory.retries.get(node.name)
            # What the proxy could not give is asked for directly every other time.
            direct = retry is not None and retry.work == self.work and retry.attempts % 2 == 1
            self._pull(node, Progress(self.work, self.now, self.now, direct=direct))

    def state(self, node: Node) -> State:
        """How a node stands, for people."""
        every, retry, done = len(self.images.found), self.memory.retries.get(node.name), self.memory.done.get(node.name)
        progress = self.active.get(node.name)
        if progress is not None and not node.wait:
            return State(node.name, "Pulling", progress.pulled, every, progress.since)
        if retry is not None and retry.work == self.work:
            return State(node.name, "Failed", retry.pulled, every, retry.at, retry.message)
        if done is not None and done.work == self.work:
            return State(node.name, "Pulled", every, every, done.at)
        return State(node.name, "Waiting", progress.pulled if progress else 0, every, None, node.wait)

    def _is_over(self, node: Node, progress: Progress) -> bool:
        """Whether the status remembers how the pod ended."""
        done, retry = self.memory.done.get(node.name), self.memory.retries.get(node.name)
        ended = [one.at for one in (done, retry) if one is not None and one.work == self.work]
        return any(at >= progress.began for at in ended)

    def _is_due(self, name: str) -> bool:
        """Whether a node without a pod has something to pull; asks to be called when it will."""
        retry, done = self.memory.retries.get(name), self.memory.done.get(name)
        if retry is not None and retry.work == self.work:
            due = retry.due
        elif done is not None and done.work == self.work:
            due = later(done.at, self.rule.every)
        else:
            return True
        self.soon((due - self.now).total_seconds())
        return due <= self.now

    def _follow(self, node: Node, one: Object, progress: Progress) -> None:
        """Read what became of the pod's image, and give the pod the next one."""
        found = look(one, progress.before)
        waited = (self.now - progress.since).total_seconds()
        if node.wait and found.outcome is Outcome.PENDING:
            self._keep(node, one, progress)
            return
        match found.outcome:
            case Outcome.ENDED:
                self._fail(node, progress, found.message)
            case Outcome.PENDING:
                limit = _PULL if part(one, "spec").get("nodeName") else _PLACED
                if waited < limit:
                    self.soon(limit - waited)
                    self._keep(node, one, progress)
                elif limit == _PLACED:
                    self._fail(node, progress, f"the pod finds no room on the node: {_unplaced(one)}")
                else:
                    self._advance(node, one, progress.next(one, self.now, "it did not come within an hour", anew=True))
            case Outcome.FAILED:
                why = self.images.redacted(found.message)
                self._advance(node, one, progress.next(one, self.now, why))
            case Outcome.PULLED:
                self._advance(node, one, progress.next(one, self.now, anew=found.anew))

    def _keep(self, node: Node, one: Object, progress: Progress) -> None:
        self.busy += not node.wait
        self.active[node.name] = progress
        self.pods.append(pod(self.rule, node.name, image_of(one), progress, one))

    def _pull(self, node: Node, progress: Progress, one: Object | None = None) -> None:
        """Have the image that the progress names pulled, by a new pod where none is given."""
        image = self.images.found[progress.at].called(by_proxy=node.served and not progress.direct)
        self.busy += 1
        self.active[node.name] = progress
        self.soon(_PULL if one is not None else _PLACED)
        self.pods.append(pod(self.rule, node.name, image, progress, one))

    def _advance(self, node: Node, one: Object, progress: Progress) -> None:
        if progress.at < len(self.images.found):
            same = progress.serial == _serial(one)
            self._pull(node, progress, one if same else None)
            return
        if progress.failed:
            first = min(progress.failed)
            others = f" (and {len(progress.failed) - 1} more)" if len(progress.failed) > 1 else ""
            message = f"{self.images.found[first].name}{others}: {progress.failed[first]}"
            self.memory.failed(node.name, self.work, self.now, progress.pulled, message)
        else:
            self.memory.finished(node.name, self.work, progress.began, self.now)
        self._linger(node, one)

    def _fail(self, node: Node, progress: Progress, message: str) -> None:
        """The pod came to nothing: it leaves at once, and another one tries after a while."""
        self.memory.failed(node.name, self.work, self.now, progress.pulled, message)
        self.soon((self.memory.retries[node.name].due - self.now).total_seconds())

    def _linger(self, node: Node, one: Object) -> None:
        """The pod stays until the status is seen to remember the node: else a late look would begin anew."""
        progress = progress_of(one)
        assert progress is not None  # noqa: S101 - it was read before
        self.busy += 1
        self.pods.append(pod(self.rule, node.name, image_of(one), progress, one))
        self._is_due(node.name)
        self.soon(1.0)


def _serial(one: Object) -> int:
    progress = progress_of(one)
    return progress.serial if progress is not None else 0


def _unplaced(one: Object) -> str:
    listed = part(one, "status").get("conditions")
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, Mapping) and entry.get("type") == "PodScheduled":
            return str(entry.get("message") or entry.get("reason") or "no word of the scheduler")
    return "no word of the scheduler"
