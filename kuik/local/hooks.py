"""The stages without HTTP, for local mode."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hooks.facts import Context, Known, Settings, Unknown
from hooks.messages import answer, customize
from hooks.stages import STAGES
from kuik.driver.troubles import HookFailed

_REFUSED = (ValueError, TypeError, LookupError, AttributeError, RecursionError)
"""What a stage raises for a request that it cannot read (Unreadable is a ValueError), or trips over in a manifest that
nobody foresaw: in a cluster either is an answer of 4xx or 5xx, for this parent alone."""


class LocalHooks:
    """The stages, called in this process with what their edge would gather."""

    def __init__(self, settings: Settings, frozen: str = "") -> None:
        self._settings = settings
        # The manifests are all there is to look at, and the inventories come from them at once.
        self._in_use = Unknown(frozen) if frozen else Known(frozenset[str]())

    def reach(self, hosts: Iterable[str]) -> bool:
        """These registries are reached from here, also on loopback: somebody has said how they are asked.

        Says whether that is new.
        """
        before, self._settings = self._settings, replace(self._settings, plain_http=frozenset(hosts))
        return self._settings != before

    def sync(self, stage: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        context = Context(datetime.now(UTC), self._settings, in_use=self._in_use)
        return _answered(lambda: answer(STAGES[stage], request, context))

    def customize(self, stage: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        return _answered(lambda: customize(STAGES[stage], request))


def _answered(ask: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    try:
        return ask()
    except _REFUSED as error:
        raise HookFailed(str(error) or type(error).__name__) from error
