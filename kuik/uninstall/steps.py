"""The steps of leaving, in their order. Each may be done again, and does nothing where it was done before.

Nothing that a pod may need goes before the last pod that needs it: whoever stops in between has a cluster in which new
pods are made as without kuik, and those that were pointed to the node proxies are served on.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from hooks.webhook import NAME, OFF
from kube.client import Api, KubernetesError
from kube.paths import KINDS
from kube.types import part
from kuik.rescue.decision import World
from kuik.revert.decision import Holder
from kuik.revert.perform import Pace, Result, evict, holders, put_back

WAIT, EVICT, IGNORE = "Wait", "Evict", "Ignore"
PODS = (WAIT, EVICT, IGNORE)
"""What becomes of pods that run with the proxies' names: they are waited for, rolled, or left to themselves."""

_CACHE = KINDS["ImageCache"].path("default")
_WEBHOOK = KINDS["MutatingWebhookConfiguration"].path(NAME)
_INVENTORIES = KINDS["ImageInventory"]
_INVENTORY_CONTROLLER = "apis/metacontroller.k8s.io/v1alpha1/decoratorcontrollers/kuik-inventory"
_ITSELF = 10.0
"""Seconds within which stage 2 removes the webhook by itself once the mode is Off."""
_LOOK = 2.0


@dataclass(frozen=True, slots=True)
class Leaving:
    """How to leave: what becomes of pods, and the seconds until this gives up waiting for them."""

    pods: str = WAIT
    patience: float = 240.0
    say: Callable[[str], None] = print
    sleep: Callable[[float], None] = time.sleep


def leave(api: Api, how: Leaving, world: World) -> Sequence[Holder]:
    """Go through all steps; the pods that still need the proxies, because of which the last steps were not done.

    Raises KubernetesError; then it is to be called again.
    """
    turn_off(api, how)
    _report(how, put_back(api, holders(api, (), world), world))
    left = _without(api, how, world)
    if left and how.pods != IGNORE:
        return left
    forget_inventories(api, how)
    return ()


def turn_off(api: Api, how: Leaving) -> None:
    """No new pod is rewritten from here on, whether Metacontroller and the hooks run or not."""
    cache = api.find(_CACHE)
    if cache is not None and part(cache, "spec").get("mode") != OFF:
        api.patch(_CACHE, {"spec": {"mode": OFF}})
        how.say("the ImageCache's mode is Off now")
    end = time.monotonic() + (_ITSELF if cache is not None else 0.0)
    while api.find(_WEBHOOK) is not None:
        if time.monotonic() >= end:
            _delete(api, _WEBHOOK)
            how.say("the webhook is deleted, as nobody else did")
            return
        how.sleep(_LOOK)


def forget_inventories(api: Api, how: Leaving) -> None:
    """What is known of each namespace goes, and what would find it out again."""
    _delete(api, _INVENTORY_CONTROLLER)
    if api.find(_INVENTORIES.collection()) is not None:
        api.request("DELETE", _INVENTORIES.collection())
        how.say("the inventories are deleted")


def _without(api: Api, how: Leaving, world: World) -> Sequence[Holder]:
    """The pods that need the proxies once all was done that may be done about it."""
    end = time.monotonic() + how.patience
    if how.pods == EVICT:
        found = holders(api, (), world)
        _report(how, evict(api, found, world, Pace(patience=how.patience), lambda _: None))
    while True:
        left = holders(api, (), world)
        if not left or how.pods == IGNORE or time.monotonic() >= end:
            return left
        how.sleep(_LOOK)
        _report(how, put_back(api, left, world))


def _report(how: Leaving, results: Iterable[Result]) -> None:
    for one in results:
        why = f": {one.message}" if one.message else ""
        how.say(f"{one.result} {one.namespace}/{one.pod} ({one.workload}){why}")


def _delete(api: Api, path: str) -> None:
    try:
        api.request("DELETE", path)
    except KubernetesError as error:
        if error.status != 404:
            raise
