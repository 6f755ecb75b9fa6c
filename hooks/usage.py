"""What all inventories say together: which images are used, by whom, and which namespaces cannot be told."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hooks.facts import Group, Secret
from hooks.inventory import CACHE, IGNORE, MAX_USERS
from kube.types import Object, entries, metadata, part, texts
from registry.reference import InvalidReference, Reference


@dataclass(slots=True)
class Use:
    """Who uses an image in the whole cluster. `users` holds names such as `team-a/Deployment/web`."""

    secrets: set[Secret] = field(default_factory=set)
    users: set[str] = field(default_factory=set)
    total: int = 0

    @property
    def first_users(self) -> list[str]:
        return sorted(self.users)[:MAX_USERS]


@dataclass(frozen=True, slots=True)
class Usage:
    """Every image to cache with its use. `gaps` are the namespaces whose use is not fully known, and why."""

    uses: Mapping[str, Use]
    gaps: Mapping[str, str]


def usage(namespaces: Group, inventories: Group) -> Usage:
    """Read the inventories. What cannot be understood becomes a gap; what can still counts as use."""
    uses: dict[str, Use] = {}
    gaps = {metadata(ns)["name"]: "has no inventory" for ns in namespaces.values()}
    for inventory in inventories.values():
        name = metadata(inventory)["name"]
        gaps.pop(name, None)
        if not _read(inventory, uses):
            gaps[name] = "has an inventory that cannot be understood"
    return Usage(uses, gaps)


def _read(inventory: Object, uses: dict[str, Use]) -> bool:
    """Add an inventory's images to `uses`; whether all of it was understood."""
    spec = part(inventory, "spec")
    namespace = metadata(inventory)["name"]
    images = entries(spec, "images")
    listed = spec.get("images")
    understood = spec.get("namespace") == namespace and isinstance(listed, list) and len(images) == len(listed)
    for entry in images:
        image, decision = entry.get("image"), entry.get("decision")
        if decision == IGNORE and isinstance(image, str):
            continue
        if decision != CACHE or not isinstance(image, str) or not _is_identity(image):
            understood = False
            continue
        _add(uses.setdefault(image, Use()), namespace, entry)
    return understood


def _is_identity(image: str) -> bool:
    try:
        return str(Reference.parse(image).identity) == image
    except InvalidReference:
        return False


def _add(use: Use, namespace: str, entry: Object) -> None:
    users = texts(entry, "usedBy")
    total = entry.get("users")
    use.secrets.update((namespace, secret) for secret in texts(entry, "pullSecrets"))
    use.users.update(f"{namespace}/{user}" for user in users)
    use.total += max(total, len(users)) if isinstance(total, int) else len(users)
