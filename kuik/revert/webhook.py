"""Whether new pods are still rewritten in a cluster."""

from hooks.webhook import NAME, OFF, ON
from kube.client import Api, KubernetesError
from kube.paths import KINDS
from kube.types import part


def rewriting(api: Api) -> str:
    """The ImageCache's mode while a webhook may rewrite new pods, else empty; raises KubernetesError.

    A webhook that is still there with the mode Off is on its way out.
    """
    if not there(api, KINDS["MutatingWebhookConfiguration"].path(NAME)):
        return ""
    try:
        mode = part(api.get(KINDS["ImageCache"].path("default")), "spec").get("mode", ON)
    except KubernetesError as error:
        if error.status != 404:
            raise
        mode = ON  # whoever deleted the cache left the webhook
    return "" if mode == OFF else str(mode)


def there(api: Api, path: str) -> bool:
    """Whether there is an object at a path; raises KubernetesError where that cannot be told."""
    try:
        api.get(path)
    except KubernetesError as error:
        if error.status == 404:
            return False
        raise
    return True
