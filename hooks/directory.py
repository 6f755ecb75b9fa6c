"""What admission knows of the cluster without asking: objects that are watched, and what follows from them."""

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any

from hooks.containers import Obstacle
from hooks.facts import PRIVATE, PUBLIC, Proof, Secret
from hooks.fitness import Fitness, lost_nodes, reach
from hooks.messages import Unreadable
from hooks.policy import NamespacePolicies, Policies
from kube.client import Api
from kube.paths import KINDS
from kube.types import Object, entries, labels, metadata, part
from kube.watch import Selection, Watch
from registry.reference import InvalidReference, Reference

PROXIES = "app.kubernetes.io/name=kube-image-keeper,app.kubernetes.io/component=proxy"
_TICK = 0.5
_PROXIES_SECONDS = 25.0
"""How long a watch of the proxies lasts: a connection that died silently is found out within UNKNOWN_AFTER."""

_log = logging.getLogger(__name__)


class Directory:
    """Namespaces, policies, proofs of access and the proxies' state, at most a moment old. `start` it first."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._namespaces = Watch(api, KINDS["Namespace"], keep=_labels_only)
        self._cluster_policies = Watch(api, KINDS["ClusterCachePolicy"])
        self._policies = Watch(api, KINDS["CachePolicy"])
        self._images = Watch(api, KINDS["CachedImage"], keep=access_only)
        self._proxies = Watch(
            api, KINDS["DaemonSet"], Selection(namespace, PROXIES), keep=_status_only, seconds=_PROXIES_SECONDS
        )
        # These only excuse: where they cannot be read, every proxy counts.
        self._pods = Watch(api, KINDS["Pod"], Selection(namespace, PROXIES), keep=reach)
        self._fitness = Fitness()
        self._read: tuple[tuple[int, int], Policies | None] = ((-1, -1), None)
        self._proofs: tuple[int, Mapping[str, Proof]] = (-1, {})
        self._stopped = threading.Event()

    @property
    def _watches(self) -> tuple[Watch, ...]:
        return self._namespaces, self._cluster_policies, self._policies, self._images, self._proxies

    def start(self) -> "Directory":
        """Begin to watch; returns at once."""
        for watch in (*self._watches, self._pods):
            watch.start()
        threading.Thread(target=self._look, daemon=True, name="directory").start()
        return self

    def stop(self) -> None:
        """End all watches."""
        self._stopped.set()
        for watch in (*self._watches, self._pods):
            watch.stop()

    @property
    def synced(self) -> bool:
        """Whether everything was read at least once."""
        return all(watch.synced for watch in self._watches)

    @property
    def unfit(self) -> Obstacle | None:
        """Why pods cannot be pointed to the proxies now."""
        return self._fitness.why

    def namespace(self, name: str) -> Object | None:
        """The Namespace, with its name and labels alone; None while it is not known."""
        return self._namespaces.get(name)

    def policies(self, namespace: Object) -> NamespacePolicies | None:
        """The rules about pods of this namespace; None while nothing is known of them."""
        policies = self._read[1]
        return None if policies is None else policies.of(namespace)

    def proof(self, reference: Reference) -> Proof | None:
        """Who may pull from the image's repository, as CachedImages say; None where none does."""
        return self._proofs[1].get(reference.name)

    def look(self) -> None:
        """Take in what changed; what readers ask was computed here, so that no pod waits for it."""
        now = time.monotonic()
        seen = self._proxies.objects() if self._proxies.synced else None
        lost = lost_nodes(self._pods.objects()) if self._pods.synced else 0
        before, self._fitness = self._fitness, self._fitness.after(seen, self._proxies.quiet_for(), now, lost)
        if before.why != self._fitness.why:
            _log.warning("rewriting %s", f"stops: {self._fitness.why.message}" if self._fitness.why else "goes on")
        if self._cluster_policies.synced and self._policies.synced:
            self._read_policies()
        changes = self._images.changes
        if changes != self._proofs[0]:
            self._proofs = (changes, proofs(self._images.objects()))

    def _read_policies(self) -> None:
        state = (self._cluster_policies.changes, self._policies.changes)
        if state == self._read[0]:
            return
        try:
            policies: Policies | None = Policies.read(self._cluster_policies.objects(), self._policies.objects())
        except Unreadable as error:
            _log.error("policies cannot be read, so those of before hold: %s", error)
            policies = self._read[1]
        self._read = (state, policies)

    def _look(self) -> None:
        while not self._stopped.wait(_TICK if self.synced else _TICK / 10):
            self.look()


def proofs(images: list[Object]) -> dict[str, Proof]:
    """Proofs by repository (`host/name`), of CachedImages as `access_only` keeps them.

    Where two images of one repository differ, it is private.
    """
    found: dict[str, Proof] = {}
    for image in images:
        proof: Proof | None = image.get("proof")
        if proof is None:
            continue
        before = found.get(image["repository"], proof)
        visibility = PUBLIC if before.visibility == proof.visibility == PUBLIC else PRIVATE
        found[image["repository"]] = Proof(visibility, before.secrets | proof.secrets)
    return found


def access_only(obj: Object) -> Object:
    """Of a CachedImage its repository and who may pull from it: 10,000 of them are kept."""
    try:
        repository = Reference.parse(str(part(obj, "spec").get("image"))).name
    except InvalidReference:
        return {}
    access = part(part(obj, "status"), "access")
    secrets: frozenset[Secret] = frozenset(
        (str(one.get("namespace")), str(one.get("secret"))) for one in entries(access, "secrets")
    )
    proof = {"Public": Proof(PUBLIC), "Private": Proof(PRIVATE, secrets)}.get(str(access.get("visibility")))
    return {"repository": repository, "proof": proof}


def _labels_only(obj: Object) -> Object:
    return {"metadata": {"name": metadata(obj).get("name"), "labels": labels(obj)}}


def _status_only(obj: Object) -> Object:
    kept: dict[str, Any] = {"metadata": {"name": metadata(obj).get("name")}, "status": part(obj, "status")}
    return kept
