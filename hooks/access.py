"""Who may pull an image upstream, as its status says it."""

from collections.abc import Mapping
from typing import Any

from hooks.facts import PUBLIC, Absent, Known, Proof, Unknown
from hooks.shield import MAX_SECRETS
from kube.types import Object, part

PUBLIC_ACCESS = "Public"
PRIVATE = "Private"


def access(image: Object, fact: Known[Proof] | Absent | Unknown) -> Mapping[str, Any]:
    """`status.access`: what is proven now, and where that is not known, what was proven before; empty for nothing.

    A proof that is withdrawn leaves at once, whatever stood there.
    """
    if not isinstance(fact, Known):
        return part(part(image, "status"), "access")
    if fact.value.visibility == PUBLIC:
        return {"visibility": PUBLIC_ACCESS}
    proven = sorted(fact.value.secrets)[:MAX_SECRETS]
    return {"visibility": PRIVATE, "secrets": [{"namespace": ns, "secret": name} for ns, name in proven]}
