"""The stages without HTTP, for local mode."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hooks.facts import Context, Known, Questions, Settings, Unknown
from hooks.messages import answer, customize
from hooks.stages import STAGES
from kuik.driver.troubles import HookFailed

_REFUSED = (ValueError, TypeError, LookupError, AttributeError, RecursionError)
"""What a stage raises for a request that it cannot read (Unreadable is a ValueError), or trips over in a manifest that
nobody foresaw: in a cluster either is an answer of 4xx or 5xx, for this parent alone."""


class LocalHooks:
    """The stages, called in this process with what their edge would gather.

    `look` gives the identities of the images that pods use, whatever inventories say, when something would expire.
    """

    def __init__(
        self, settings: Settings, frozen: str = "", look: Callable[[], frozenset[str]] = frozenset[str]
    ) -> None:
        self._settings = settings
        self._look = look
        self._frozen = frozen

    def reach(self, hosts: Iterable[str]) -> bool:
        """These registries are reached from here, also on loopback: somebody has said how they are asked.

        Says whether that is new.
        """
        before, self._settings = self._settings, replace(self._settings, plain_http=frozenset(hosts))
        return self._settings != before

    def sync(self, stage: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        context = Context(datetime.now(UTC), self._settings)
        return _answered(lambda: answer(STAGES[stage], request, context, self._gather))

    def _gather(self, questions: Questions, context: Context) -> Context:
        if not questions.pods:
            return context
        return replace(context, in_use=Unknown(self._frozen) if self._frozen else Known(self._look()))

    def customize(self, stage: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        return _answered(lambda: customize(STAGES[stage], request))


def _answered(ask: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    try:
        return ask()
    except _REFUSED as error:
        raise HookFailed(str(error) or type(error).__name__) from error
