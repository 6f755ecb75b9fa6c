"""Who may pull an image upstream, as its status says it."""

from collections.abc import Mapping
from typing import Any

from hooks.facts import PUBLIC, Absent, Known, Proof, Unknown
from hooks.shield import MAX_SECRETS
from kube.types import Object, part

PUBLIC_ACCESS = "Public"
PRIVATE = "Private"


def access(image: Object, fact: Known[Proof] | Absent | Unknown, copied_as: str = "") -> Mapping[str, Any]:
    """`status.access`: what is proven now, and where that is not known, what was proven before; empty for nothing.

    A proof that is withdrawn leaves at once, whatever stood there. `copied_as` is as what the image was copied: what
    came without credentials is public until the shield knows otherwise, and is served to everybody anyhow.
    """
    if not isinstance(fact, Known):
        before = part(part(image, "status"), "access")
        waits = isinstance(fact, Unknown) and not before
        return {"visibility": PUBLIC_ACCESS} if waits and copied_as == PUBLIC_ACCESS else before
    if fact.value.visibility == PUBLIC:
        return {"visibility": PUBLIC_ACCESS}
    proven = sorted(fact.value.secrets)[:MAX_SECRETS]
    return {"visibility": PRIVATE, "secrets": [{"namespace": ns, "secret": name} for ns, name in proven]}
