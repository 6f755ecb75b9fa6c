"""Bearer tokens: how to ask for one, how to read it, and how long to keep it (distribution's token specification)."""

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from registry.credentials import Credentials
from registry.errors import ServerFailure
from registry.singleflight import SingleFlight

MAX_TOKEN_ANSWER = 1 << 20
DEFAULT_LIFETIME = 60.0
_MARGIN = 0.1
_LONGEST_LIFETIME = 3600.0
_KEPT = 4096


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token and the moment, on the cache's clock, after which it is not used any more."""

    value: str = field(repr=False)
    expires: float


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a token is for; one token serves all requests of one purpose."""

    host: str
    scope: str
    credentials: Credentials | None = None


def token_parameters(service: str, scope: str) -> list[tuple[str, str]]:
    """The query of a token request: each of the space-separated scopes by itself."""
    service_part = [("service", service)] if service else []
    return service_part + [("scope", part) for part in scope.split()]


def refresh_form(service: str, scope: str, identity_token: str) -> list[tuple[str, str]]:
    """The form that turns an identity token into an access token (OAuth 2 refresh, as Docker's clients do it)."""
    form = [("grant_type", "refresh_token"), ("refresh_token", identity_token), ("client_id", "kuik")]
    return [*form, ("service", service), ("scope", scope)]


def parse_token(body: bytes, now: float, server: str) -> Token:
    """Read a token server's answer; raises ServerFailure when there is no token in it.

    Without `expires_in` a token lives 60 s, as the specification says. It is given up a little early.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ServerFailure(f"the token server {server} answered something that is not a JSON object")
    value = document.get("token") or document.get("access_token")
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        raise ServerFailure(f"the token server {server} answered without a usable token")
    lifetime = document.get("expires_in")
    if not isinstance(lifetime, int | float) or isinstance(lifetime, bool) or not lifetime > 0:
        lifetime = DEFAULT_LIFETIME
    return Token(value, now + min(float(lifetime), _LONGEST_LIFETIME) * (1 - _MARGIN))


class Tokens:
    """The tokens at hand. For one purpose one thread fetches while the others wait for what it gets, or its error."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._kept: OrderedDict[Purpose, Token] = OrderedDict()
        self._guard = threading.Lock()
        self._asking: SingleFlight[Purpose, str] = SingleFlight()

    @property
    def shared(self) -> int:
        """How often a thread took what another one fetched."""
        return self._asking.joined

    def current(self, purpose: Purpose) -> str | None:
        """The token to use now, if there is one that still lives."""
        with self._guard:
            token = self._kept.get(purpose)
            return token.value if token and token.expires > self.clock() else None

    def renewed(self, purpose: Purpose, refused: str | None, fetch: Callable[[], Token]) -> str:
        """A token other than `refused`: one that another thread has just got, or what `fetch` brings."""
        return self._asking.do(purpose, lambda: self._other(purpose, refused, fetch))

    def _other(self, purpose: Purpose, refused: str | None, fetch: Callable[[], Token]) -> str:
        current = self.current(purpose)
        if current and current != refused:
            return current
        token = fetch()
        with self._guard:
            self._kept[purpose] = token
            self._kept.move_to_end(purpose)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return token.value
