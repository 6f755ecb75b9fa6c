"""Whether new pods are still rewritten in a cluster."""

from hooks.webhook import NAME, OFF, ON
from kube.client import Api
from kube.paths import KINDS
from kube.types import part


def rewriting(api: Api) -> str:
    """The ImageCache's mode while a webhook may rewrite new pods, else empty; raises KubernetesError.

    A webhook that is still there with the mode Off is on its way out.
    """
    if api.find(KINDS["MutatingWebhookConfiguration"].path(NAME)) is None:
        return ""
    cache = api.find(KINDS["ImageCache"].path("default")) or {}  # whoever deleted the cache left the webhook
    mode = part(cache, "spec").get("mode", ON)
    return "" if mode == OFF else str(mode)
