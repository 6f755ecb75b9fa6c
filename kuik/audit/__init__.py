"""What mode Audit has found out: what On would do to the pods that were made meanwhile, in numbers. Pure."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hooks.admission import LEFT, WOULD
from hooks.containers import containers, has_ended, is_proxy, parse
from kube.types import Object, annotations, metadata, part
from registry.proxied import DEFAULT_PROXY
from registry.reference import Reference

_LONGEST = 256 * 1024


@dataclass
class Numbers:
    """Of one namespace: its pods, those that say what On would do, and containers by what would become of them.

    `left` are those that would keep their images, by the reason. `rewritten` are pods that have the proxy's names now.
    """

    pods: int = 0
    audited: int = 0
    rewritten: int = 0
    would: int = 0
    left: Counter[str] = field(default_factory=Counter)

    def document(self, namespace: str) -> Mapping[str, Any]:
        """As programs read it."""
        return {
            "namespace": namespace,
            "pods": self.pods,
            "audited": self.audited,
            "rewritten": self.rewritten,
            "wouldRewriteContainers": self.would,
            "leftContainers": dict(sorted(self.left.items())),
        }


def numbers(pods: Iterable[Object], proxy: str = DEFAULT_PROXY) -> Mapping[str, Numbers]:
    """The numbers of each namespace that has pods, but for pods that have ended."""
    found: dict[str, Numbers] = {}
    for pod in pods:
        if not has_ended(pod):
            _count(found.setdefault(str(metadata(pod).get("namespace", "")), Numbers()), pod, proxy)
    return found


def _count(one: Numbers, pod: Object, proxy: str) -> None:
    one.pods += 1
    would, left = _read(pod, WOULD), _read(pod, LEFT)
    one.audited += WOULD in annotations(pod) or LEFT in annotations(pod)
    one.would += len(would)
    one.left.update(str(reason).partition(":")[0][:80] for reason in left.values())
    images = (parse(container["image"]) for _, _, container in containers(part(pod, "spec")))
    one.rewritten += any(isinstance(image, Reference) and is_proxy(image.host, proxy) for image in images)


def _read(pod: Object, name: str) -> Mapping[str, Any]:
    text = annotations(pod).get(name)
    try:
        found = json.loads(text) if isinstance(text, str) and len(text) <= _LONGEST else None
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {}
