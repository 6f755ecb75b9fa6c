"""The edge that gathers an Observation: the clock, the environment, and facts that the shield knows."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from hooks.facts import Absent, Access, Context, ImageFacts, JobSettings, Known, Questions, Saved, Settings, Unknown
from hooks.savings import Asked, together
from hooks.shield import Shield
from registry.proxied import DEFAULT_PROXY
from registry.reference import Reference

_log = logging.getLogger(__name__)
_PARALLEL = 16


class InvalidSetting(ValueError):
    """An environment variable has a value that cannot be used; the message names it."""


def settings_from(environment: Mapping[str, str]) -> Settings:
    """The settings, from KUIK_* variables; raises InvalidSetting."""
    usual = JobSettings()
    job = JobSettings(
        image=environment.get("KUIK_IMAGE", usual.image),
        namespace=environment.get("KUIK_NAMESPACE", usual.namespace),
        service_account=environment.get("KUIK_COPY_SERVICE_ACCOUNT", usual.service_account),
        token_secret=environment.get("KUIK_TOKEN_SECRET", usual.token_secret),
        registry_secret=environment.get("KUIK_REGISTRY_SECRET", usual.registry_secret),
        registry_credentials=environment.get("KUIK_REGISTRY_CREDENTIALS_SECRET", ""),
        sources=_words(environment.get("KUIK_SHIELD_URL", "")) or usual.sources,
        targets=_words(environment.get("KUIK_TARGET_URLS", "")) or usual.targets,
        deadline=_seconds(environment, "KUIK_COPY_DEADLINE", usual.deadline),
    )
    plain = frozenset(_words(environment.get("KUIK_PLAIN_HTTP", "")))
    others = environment.get("KUIK_METACONTROLLER_NAMESPACE", "metacontroller")
    volumes = _words(environment.get("KUIK_VOLUMES", ""))
    return Settings(environment.get("KUIK_PROXY", DEFAULT_PROXY), plain, job, others, volumes)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.replace(",", " ").split() if word)


def _seconds(environment: Mapping[str, str], name: str, usual: int) -> int:
    text = environment.get(name, str(usual))
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 7 * 86400:
        raise InvalidSetting(f"{name}={text!r}: write a number of seconds, at most a week")
    return int(text)


def _no_authority() -> Known[str] | Absent | Unknown:
    return Unknown("the hooks were given no way to read the CA bundle")


def _no_look() -> Known[frozenset[str]] | Absent | Unknown:
    return Unknown("the hooks were given no way to list pods")


def _no_key() -> bytes:
    return b""


def _nothing_lost() -> Known[int] | Absent | Unknown:
    return Unknown("the hooks were given no way to list the proxies' pods")


@dataclass(frozen=True, slots=True)
class Sight:
    """How the edge looks at the API server; nothing here ever raises.

    `authority` reads the CA bundle of the admission webhook, `in_use` looks at all pods for the images that they use,
    `lost` counts the nodes with a proxy that nobody can reach, `key` reads the key of capabilities (empty: unknown).
    """

    authority: Callable[[], Known[str] | Absent | Unknown] = _no_authority
    in_use: Callable[[], Known[frozenset[str]] | Absent | Unknown] = _no_look
    lost: Callable[[], Known[int] | Absent | Unknown] = _nothing_lost
    key: Callable[[], bytes] = _no_key


_BLIND = Sight()


class Observer:
    """Makes the Context of each request."""

    def __init__(self, settings: Settings, shield: Shield | None = None, sight: Sight = _BLIND) -> None:
        self.settings = settings
        self._shield = shield
        self._sight = sight
        self._saved = Asked(self._ask_saved, time.monotonic)
        self._pool = ThreadPoolExecutor(_PARALLEL, thread_name_prefix="facts")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], sight: Sight = _BLIND) -> "Observer":
        """As the hooks' Deployment is configured; without KUIK_SHIELD_URL no fact is known. Raises InvalidSetting."""
        url = environment.get("KUIK_SHIELD_URL")
        try:
            shield = Shield(url, environment.get("KUIK_TOKEN", "")) if url else None
        except ValueError as error:
            raise InvalidSetting(f"KUIK_SHIELD_URL={error}") from error
        return cls(settings_from(environment), shield, sight)

    def context(self, references: Iterable[Reference] = ()) -> Context:
        """The moment, the settings, and whether these images are public as far as the shield says so in time."""
        facts = self._access(tuple(references))

        def access(reference: Reference) -> Access:
            return facts.get(reference, Unknown("nobody was asked"))

        return Context(datetime.now(UTC), self.settings, access)

    def gather(self, questions: Questions, context: Context) -> Context:
        """The context with what a stage asked for; what cannot be found out is Unknown, and nothing is raised."""
        if questions.image:
            context = replace(context, image=self._image(questions.image))
        if questions.pods:
            context = replace(context, in_use=self._sight.in_use())
        if questions.lost:
            context = replace(context, lost=self._sight.lost())
        if questions.key:
            context = replace(context, key=self._sight.key())
        if questions.saved:
            context = replace(context, saved=self._saved())
        return replace(context, authority=self._sight.authority()) if questions.authority else context

    def _image(self, image: str) -> ImageFacts:
        """What the shield knows of one image; Absent where there is no shield to ask."""
        if self._shield is None:
            return ImageFacts()
        asked = self._pool.submit(self._shield.facts, image)
        try:
            return asked.result(timeout=self._shield.timeout)
        except TimeoutError:
            asked.cancel()
            late = Unknown("the shield did not answer in time")
            return ImageFacts(late, late)

    def _ask_saved(self) -> Known[Saved] | Absent | Unknown:
        """The sum of all replicas; one that is silent would make it smaller than it was."""
        if self._shield is None:
            return Absent()
        replicas = self._shield.replicas
        asked = [self._pool.submit(self._shield.count, replica) for replica in replicas]
        done, late = wait(asked, timeout=self._shield.timeout)
        for future in late:
            future.cancel()
        counts = [count for future in done if (count := future.result())]
        saved = together(counts)
        return (
            Known(saved) if saved and len(counts) == len(replicas) else Unknown("not every shield said what it saved")
        )

    def _access(self, references: tuple[Reference, ...]) -> Mapping[Reference, Access]:
        if self._shield is None or not references:
            return {}
        asked: dict[Reference, Future[Any]] = {
            reference: self._pool.submit(self._shield.access, reference) for reference in references
        }
        done, late = wait(asked.values(), timeout=self._shield.timeout)
        for future in late:
            future.cancel()
        if late:
            _log.warning("the shield did not tell the access of %d images in time", len(late))
        return {reference: future.result() for reference, future in asked.items() if future in done}
