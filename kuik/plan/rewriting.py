"""What admission would make of each workload's containers, were their pods made now."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hooks.containers import FIELDS, is_proxy, opted, originals_of, parse, upstream
from hooks.containers import Obstacle as Why
from hooks.directory import access_only, proofs
from hooks.facts import Access, Proof, Settings
from hooks.policy import NamespacePolicies, Policies, left_alone
from hooks.resources import CLUSTER_POLICY, POD, POLICY, SERVICE_ACCOUNT
from hooks.rewrite import Rules, everything_public, plan
from hooks.webhook import MIRROR, MODES, OFF, ON, OPT_IN
from hooks.workloads import TEMPLATES, Workload, workloads
from kube.types import CACHE_LABEL, MODE_LABEL, Object, entries, labels, metadata, part
from kuik.driver.objects import Objects
from registry.reference import Reference

KEY = b"what the capability of a plan is made of: it opens nothing"
_RESOURCES = (POD, SERVICE_ACCOUNT, *TEMPLATES, POLICY)


@dataclass(frozen=True, slots=True)
class Container:
    """A container of a workload, by the image that it was written with. `why` is empty where it is rewritten."""

    workload: str
    name: str
    image: str
    rewritten: bool
    why: str = ""
    message: str = ""
    platform: str = ""
    """What the pod's node selector asks for, such as linux/arm64; empty where it asks for none."""


def verdicts(
    store: Objects,
    cache: Object | None,
    images: Sequence[Object],
    settings: Settings,
    access: Callable[[Reference], Access] = everything_public,
    key: bytes = KEY,
) -> Mapping[tuple[str, str, str], Container]:
    """By workload (`namespace/Kind/name`), container and image.

    `access` is what admission would find out of images of which nobody has proven yet who may pull them;
    without a `key` no private image is served to anybody. Without a `cache` nobody is left out by mode, namespace,
    label or policy, as where containerd asks the proxies itself.
    """
    known = proofs([one for one in map(access_only, images) if one])
    policies = Policies.read(_all(store, CLUSTER_POLICY), _all(store, POLICY))
    found: dict[tuple[str, str, str], Container] = {}
    for namespace in store.list("v1", "Namespace"):
        never = _not_at_all(cache, namespace, settings) if cache is not None else None
        rulings = policies.of(namespace) if cache is not None else None
        here = _Here(namespace, rulings, never, known, settings, access, key)
        name = str(metadata(namespace)["name"])
        related = {
            one.group: {str(metadata(obj)["name"]): obj for obj in store.list(one.api_version, one.kind, name)}
            for one in _RESOURCES
        }
        for workload in workloads(related):
            if workload.kind != POLICY.kind:
                for one in _containers(f"{name}/{workload.user}", workload, here):
                    found.setdefault((one.workload, one.name, one.image), one)
    return found


@dataclass(frozen=True)
class _Here:
    """One namespace: who decides there, and why none of its pods is rewritten, if so."""

    namespace: Object
    policies: NamespacePolicies | None
    never: Why | str | None
    known: Mapping[str, Proof]
    settings: Settings
    access: Callable[[Reference], Access]
    key: bytes


def _containers(user: str, workload: Workload, here: _Here) -> Iterator[Container]:
    pod = _as_written(workload, here.settings.proxy)
    never = here.never
    if never == OPT_IN:
        said = opted(pod) is True and labels(pod).get(CACHE_LABEL) == "true"
        never = None if said else Why("OptIn", f"the mode is OptIn, and the pod has no label {CACHE_LABEL}: true")
    rules = Rules(
        here.settings,
        here.access,
        here.namespace,
        left_alone(here.policies, pod, workload.kind) if here.policies else lambda _reference: None,
        lambda reference: here.known.get(reference.name),
        here.key,
        never if isinstance(never, Why) else None,
    )
    decided, platform = plan(pod, rules), _platform(pod)
    for change in decided.changes:
        yield Container(user, change.container, _canonical(change.before), rewritten=True, platform=platform)
    for left in decided.left:
        yield Container(user, left.container, _canonical(left.image), False, left.why.rule, left.why.message, platform)


def _platform(pod: Object) -> str:
    selector = part(part(pod, "spec"), "nodeSelector")
    architecture = selector.get("kubernetes.io/arch")
    return f"{selector.get('kubernetes.io/os', 'linux')}/{architecture}" if isinstance(architecture, str) else ""


def _as_written(workload: Workload, proxy: str) -> Object:
    """The pod before admission changed it, with all the secrets that it pulls with."""
    spec: dict[str, Any] = dict(workload.spec)
    originals = originals_of(workload.pod)
    for field in FIELDS:
        listed = entries(spec, field)
        if listed:
            spec[field] = [_original(one, originals, proxy) for one in listed]
    spec["imagePullSecrets"] = [{"name": name} for name in workload.secrets]
    return {**workload.pod, "spec": spec}


def _original(container: Object, originals: Object, proxy: str) -> Object:
    image = container.get("image")
    read = parse(image) if isinstance(image, str) else None
    if not isinstance(read, Reference) or not is_proxy(read.host, proxy):
        return container
    found = upstream(container, originals, proxy)
    return {**container, "image": str(found)} if isinstance(found, Reference) else container


def _canonical(image: str) -> str:
    found = parse(image)
    return str(found.identity) if isinstance(found, Reference) else image


def _not_at_all(cache: Object, namespace: Object, settings: Settings) -> Why | str | None:
    """Why no pod of the namespace is rewritten, or OPT_IN where its pods ask for it one by one."""
    spec = part(cache, "spec")
    mode = str(spec.get("mode", ON))
    if mode != OFF:
        said = labels(namespace).get(MODE_LABEL)
        mode = str(said) if said in MODES else mode
    name = metadata(namespace)["name"]
    if name in ("kube-system", settings.job.namespace, settings.metacontroller_namespace):
        return Why("SystemNamespace", f"admission leaves the pods of {name} alone")
    if spec.get("delivery") == MIRROR:
        return Why("Mirror", "spec.delivery is Mirror: containerd asks the proxies itself")
    if mode == OPT_IN:
        return OPT_IN
    return None if mode == ON else Why(f"Mode{mode}", f"the mode is {mode}" + ("" if mode == OFF else f", not {ON}"))


def _all(store: Objects, resource: Any) -> list[Object]:
    return list(store.list(resource.api_version, resource.kind))
