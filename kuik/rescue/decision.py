"""Which waiting containers are given another name of their image, both ways. Pure: on objects that were read.

A proxied name goes back to the original where the node's proxy is not Ready; an original name goes to the proxy where
it is Ready and the image is cached. The two can never follow on one another while the cluster stays as it is. Only
containers that wait for their image are touched: kubelet restarts a running one whose image changes.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hooks.conditions import holds
from hooks.containers import MIRROR, ORIGINALS, Obstacle, containers, is_proxy, opted, originals_of, parse, upstream
from hooks.directory import access_only, proofs
from hooks.facts import Absent, Access, Proof, Settings
from hooks.policy import NamespacePolicies, Policies
from hooks.prefetch_pod import is_ours
from hooks.rewrite import REWRITTEN, Change, Rewrite, Rules, annotate, originals_text, plan, replace_images
from hooks.waiting import waiting_containers
from hooks.webhook import MODES, OFF, ON, OPT_IN
from hooks.workloads import owner_kind
from kube.types import MODE_LABEL, Object, annotations, labels, metadata, part
from registry.reference import Reference

TO_PROXY = "ToProxy"
TO_ORIGINAL = "ToOriginal"

_NOT_CACHED = Obstacle("NotCached", "the image is not cached")
_NO_MODE = Obstacle("ModeOff", "the mode says that pods stay as they are")
_NOT_OPTED_IN = Obstacle("NotOptedIn", "the pod's label does not ask for the cache")
_NOT_KNOWN = Obstacle("NamespaceUnknown", "the namespace or the policies are not known")


@dataclass(frozen=True, slots=True)
class Images:
    """What CachedImages say: the identities of the images that are cached, and who may pull, by repository."""

    cached: frozenset[str] = frozenset()
    proofs: Mapping[str, Proof] = field(default_factory=dict)

    @classmethod
    def of(cls, cached_images: Iterable[Object]) -> "Images":
        """Read them; an image that is on its way out counts no more."""
        kept = [one for one in cached_images if metadata(one).get("deletionTimestamp") is None]
        names = (parse(str(part(one, "spec").get("image"))) for one in kept if holds(one, "Cached"))
        cached = frozenset(str(name.identity) for name in names if isinstance(name, Reference))
        return cls(cached, proofs([said for one in kept if (said := access_only(one))]))


@dataclass(frozen=True, slots=True)
class World:
    """What decides beside the pod. `nodes` are those whose proxy is Ready, `mode` is the ImageCache's.

    `left_out` are namespaces that admission never sees. Without `policies`, which could not be read, nothing is pointed
    to the proxy; without `key`, no private image is.
    """

    namespaces: Mapping[str, Object] = field(default_factory=dict)
    nodes: frozenset[str] = frozenset()
    images: Images = Images()
    policies: Policies | None = None
    mode: str = OFF
    left_out: frozenset[str] = frozenset()
    settings: Settings = field(default_factory=Settings)
    key: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Rescue:
    """What becomes of one pod: the images to change, all in one direction, and the JSON patch that does it."""

    pod: Object
    direction: str
    changes: tuple[Change, ...]

    def patch(self) -> list[Mapping[str, Any]]:
        """The operations (RFC 6902). They fail as a whole where the pod is no more the one that was decided about:
        one that has begun to run meanwhile would be restarted."""
        meta = metadata(self.pod)
        tests = [
            {"op": "test", "path": f"/metadata/{name}", "value": meta[name]}
            for name in ("uid", "resourceVersion")
            if name in meta
        ]
        images = [{"op": "test", "path": _path(change), "value": change.before} for change in self.changes]
        decided = Rewrite(self.changes, ())
        return [*tests, *images, *self._noted(decided), *replace_images(decided)]

    def _noted(self, decided: Rewrite) -> Iterable[Mapping[str, Any]]:
        if self.direction == TO_PROXY:
            return annotate(self.pod, {ORIGINALS: originals_text(self.pod, decided)})
        if ORIGINALS not in annotations(self.pod):
            return ()
        restored = {change.container for change in self.changes}
        left = {name: image for name, image in originals_of(self.pod).items() if name not in restored}
        if not left:
            return ({"op": "remove", "path": f"/metadata/annotations/{ORIGINALS.replace('/', '~1')}"},)
        return annotate(self.pod, {ORIGINALS: json.dumps(left, sort_keys=True, separators=(",", ":"))})


def proxy_nodes(proxies: Iterable[Object]) -> frozenset[str]:
    """The nodes whose proxy's pod is Ready and stays."""
    stay = (one for one in proxies if holds(one, "Ready") and metadata(one).get("deletionTimestamp") is None)
    return frozenset(str(node) for one in stay if (node := part(one, "spec").get("nodeName")))


def rescue(pod: Object, world: World) -> Rescue | None:
    """What to do about a pod; None where it is best left alone."""
    node = part(pod, "spec").get("nodeName")
    leaves = metadata(pod).get("deletionTimestamp") is not None
    if not node or leaves or MIRROR in annotations(pod) or is_ours(pod):
        return None
    waiting = waiting_containers(pod)
    if not waiting:
        return None

    def only(where: str, container: Object) -> bool:
        return where in REWRITTEN and container.get("name") in waiting

    if node not in world.nodes:
        back = _originals(pod, world.settings.proxy, only)
        return Rescue(pod, TO_ORIGINAL, back) if back else None
    decided = plan(pod, _rules(pod, world), only)
    return Rescue(pod, TO_PROXY, decided.changes) if decided.changes else None


def back_to_originals(pod: Object, world: World) -> Rescue | None:
    """The pod's originals, for what nothing runs of: containers that wait for their image, and all of a pod that has
    no node yet. None where there are none to put back."""
    if metadata(pod).get("deletionTimestamp") is not None or MIRROR in annotations(pod):
        return None
    placed, waiting = part(pod, "spec").get("nodeName"), waiting_containers(pod)

    def only(where: str, container: Object) -> bool:
        return where in REWRITTEN and (not placed or container.get("name") in waiting)

    back = _originals(pod, world.settings.proxy, only)
    return Rescue(pod, TO_ORIGINAL, back) if back else None


def _originals(pod: Object, proxy: str, only: Callable[[str, Object], bool]) -> tuple[Change, ...]:
    written = originals_of(pod)
    found: list[Change] = []
    for where, position, container in containers(part(pod, "spec")):
        name, image = str(container.get("name", "")), container["image"]
        if not only(where, container) or not _proxied(image, proxy):
            continue
        behind = upstream(container, written, proxy)
        if isinstance(behind, Reference) and not is_proxy(behind.host, proxy):
            found.append(Change(where, position, name, image, _as_written(behind, written.get(name))))
    return tuple(found)


def _as_written(behind: Reference, written: object) -> str:
    """The image as the annotation has it, unless that is another one: somebody changed the image since."""
    named = parse(written) if isinstance(written, str) else None
    return str(written) if isinstance(named, Reference) and str(named) == str(behind) else str(behind)


def _proxied(image: str, proxy: str) -> bool:
    found = parse(image)
    return isinstance(found, Reference) and is_proxy(found.host, proxy)


def _rules(pod: Object, world: World) -> Rules:
    name = str(metadata(pod).get("namespace", ""))
    namespace = world.namespaces.get(name)
    rules = Rules(
        world.settings, _not_asked, namespace, proof=lambda image: world.images.proofs.get(image.name), key=world.key
    )
    if namespace is None or world.policies is None:
        return replace(rules, nothing=_NOT_KNOWN)
    policy = _policy(pod, world.policies.of(namespace), world.images.cached)
    return replace(rules, policy=policy, nothing=_nothing(pod, namespace, world))


def _nothing(pod: Object, namespace: Object, world: World) -> Obstacle | None:
    """Why none of the pod's images is pointed to the proxy, as the webhooks' selectors have it."""
    mode, said = world.mode, labels(namespace).get(MODE_LABEL)
    if mode != OFF and said in MODES:
        mode = said
    if mode not in (OPT_IN, ON) or metadata(namespace).get("name") in world.left_out:
        return _NO_MODE
    return _NOT_OPTED_IN if mode == OPT_IN and opted(pod) is not True else None


def _policy(pod: Object, about: NamespacePolicies, cached: frozenset[str]) -> Callable[[Reference], Obstacle | None]:
    rules = about.for_pod(pod, owner_kind(pod))

    def decide(reference: Reference) -> Obstacle | None:
        image = str(reference.identity)
        decision = rules.decide(image)
        if not decision.caches:
            return Obstacle(decision.rule, decision.message or "a rule leaves the image alone")
        return None if image in cached else _NOT_CACHED

    return decide


def _not_asked(_reference: Reference) -> Access:
    return Absent()


def _path(change: Change) -> str:
    return f"/spec/{change.field}/{change.position}/image"
