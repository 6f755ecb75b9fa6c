"""The edge that gathers an Observation: the clock, the environment, and facts that the shield knows."""

import http.client
import json
import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

from hooks.facts import PRIVATE, PUBLIC, Access, Context, JobSettings, Known, Settings, Unknown
from registry.proxied import DEFAULT_PROXY
from registry.reference import Reference

_log = logging.getLogger(__name__)
_MAX_ANSWER = 4096
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
        source=environment.get("KUIK_SHIELD_URL", usual.source),
        targets=_words(environment.get("KUIK_TARGET_URLS", "")) or usual.targets,
        deadline=_seconds(environment, "KUIK_COPY_DEADLINE", usual.deadline),
    )
    plain = frozenset(_words(environment.get("KUIK_PLAIN_HTTP", "")))
    return Settings(environment.get("KUIK_PROXY", DEFAULT_PROXY), plain, job)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.replace(",", " ").split() if word)


def _seconds(environment: Mapping[str, str], name: str, usual: int) -> int:
    text = environment.get(name, str(usual))
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 7 * 86400:
        raise InvalidSetting(f"{name}={text!r}: write a number of seconds, at most a week")
    return int(text)


@dataclass(frozen=True, slots=True)
class Shield:
    """Asks the shield for facts. `timeout` is in seconds, for all questions of one request together."""

    url: str
    token: str = field(default="", repr=False)
    timeout: float = 0.3

    def __post_init__(self) -> None:
        if urlsplit(self.url).scheme not in ("http", "https") or not urlsplit(self.url).hostname:
            raise InvalidSetting(f"KUIK_SHIELD_URL={self.url!r}: write it as http://host:port")

    def access(self, reference: Reference) -> Access:
        """Whether anyone may pull the image; anything but a good answer is Unknown."""
        try:
            status, body = self._get(f"/facts/access?{urlencode({'image': str(reference)})}")
            said = json.loads(body) if status == 200 else {}
        except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
            return Unknown(f"the shield did not answer: {type(error).__name__}")
        access = said.get("access") if isinstance(said, dict) else None
        return Known(access) if access in (PUBLIC, PRIVATE) else Unknown("the shield does not know")

    def _get(self, path: str) -> tuple[int, bytes]:
        parts = urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(str(parts.hostname), parts.port, timeout=self.timeout)
        headers = {"Accept": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            connection.request("GET", parts.path.rstrip("/") + path, headers=headers)
            response = connection.getresponse()
            return response.status, response.read(_MAX_ANSWER)
        finally:
            connection.close()


class Observer:
    """Makes the Context of each request."""

    def __init__(self, settings: Settings, shield: Shield | None = None) -> None:
        self.settings = settings
        self._shield = shield
        self._pool = ThreadPoolExecutor(_PARALLEL, thread_name_prefix="facts")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Observer":
        """As the hooks' Deployment is configured; without KUIK_SHIELD_URL no fact is known. Raises InvalidSetting."""
        url = environment.get("KUIK_SHIELD_URL")
        shield = Shield(url, environment.get("KUIK_TOKEN", "")) if url else None
        return cls(settings_from(environment), shield)

    def context(self, references: Iterable[Reference] = ()) -> Context:
        """The moment, the settings, and whether these images are public as far as the shield says so in time."""
        facts = self._access(tuple(references))

        def access(reference: Reference) -> Access:
            return facts.get(reference, Unknown("nobody was asked"))

        return Context(datetime.now(UTC), self.settings, access)

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
