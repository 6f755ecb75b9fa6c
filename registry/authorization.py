"""The Authorization header of a request: what is known beforehand, and the answer to a challenge."""

import base64
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from registry.address import Address
from registry.challenge import Challenge, parse_challenges, strongest
from registry.credentials import Credentials
from registry.errors import RateLimited, ServerFailure, TLSFailure, Unauthorized
from registry.failures import error_kind, read_complaint, retry_after
from registry.response import Response
from registry.tokens import MAX_TOKEN_ANSWER, Purpose, Token, Tokens, parse_token, refresh_form, token_parameters

_KNOWN_HOSTS = 4096
TOKEN_SECONDS = 10.0
"""In which a token server's answer comes, once it began: it is small, and others wait for the same token."""


@dataclass(frozen=True, slots=True)
class TokenQuestion:
    """One request to a token server."""

    address: Address
    basic: str | None
    form: bytes | None
    registry: str = ""
    """The registry that sent us there."""


class Authorization:
    """Remembers what each registry asked for, and answers it. `ask` sends a TokenQuestion and follows redirects."""

    def __init__(self, ask: Callable[[TokenQuestion], Response], plain: Callable[[str], bool], tokens: Tokens) -> None:
        self._ask = ask
        self._plain = plain
        self._tokens = tokens
        self._basic_hosts: dict[str, None] = {}
        self._guard = threading.Lock()

    def known(self, purpose: Purpose) -> str | None:
        """The header to send without being asked, from what was learnt before."""
        credentials = purpose.credentials
        if credentials and credentials.registry_token:
            return f"Bearer {credentials.registry_token}"
        if token := self._tokens.current(purpose):
            return f"Bearer {token}"
        return basic(credentials) if credentials and purpose.host in self._basic_hosts else None

    def answer(self, response: Response, purpose: Purpose, refused: str | None) -> str | None:
        """The header that answers a 401; None when there is nothing better to say than `refused`.

        Raises what a token server's refusal stands for.
        """
        challenge = strongest(parse_challenges(response.headers.get("WWW-Authenticate")))
        if challenge is None:
            return None
        if challenge.scheme == "basic":
            return self._basic(purpose, refused)
        if purpose.credentials and purpose.credentials.registry_token:
            return None
        stale = refused.removeprefix("Bearer ") if refused else None
        fetch = lambda: self._fetch(challenge, purpose, response.address)  # noqa: E731  a closure is the point
        return f"Bearer {self._tokens.renewed(purpose, stale, fetch)}"

    def _basic(self, purpose: Purpose, refused: str | None) -> str | None:
        if not purpose.credentials:
            return None
        with self._guard:
            self._basic_hosts[purpose.host] = None
            while len(self._basic_hosts) > _KNOWN_HOSTS:
                self._basic_hosts.pop(next(iter(self._basic_hosts)))
        header = basic(purpose.credentials)
        return None if header == refused else header

    def _fetch(self, challenge: Challenge, purpose: Purpose, registry: Address) -> Token:
        realm = Address.parse(challenge.realm, registry)
        self._check(realm, registry, purpose.credentials)
        # The registry names the scope it will look for; ours serves where it names none.
        question = token_question(realm, challenge.service, challenge.scope or purpose.scope, purpose.credentials)
        with self._ask(replace(question, registry=purpose.host)) as response:
            if response.status >= 300:
                raise _refusal(response, realm.host, with_credentials=purpose.credentials is not None)
            return parse_token(response.read(MAX_TOKEN_ANSWER, TOKEN_SECONDS), self._tokens.clock(), realm.host)

    def _check(self, realm: Address, registry: Address, credentials: Credentials | None) -> None:
        if realm.scheme == "https" or self._plain(realm.host):
            return
        if credentials is not None or registry.scheme == "https":
            raise TLSFailure(
                f"{registry.host} sends its clients to the token server {realm.host} over plain HTTP; "
                "kuik sends nothing there unless that host is configured for plain HTTP"
            )


def basic(credentials: Credentials) -> str:
    """Basic authentication (RFC 7617, with UTF-8)."""
    pair = f"{credentials.username}:{credentials.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def token_question(realm: Address, service: str, scope: str, credentials: Credentials | None) -> TokenQuestion:
    """How to ask for a token: a GET, or with an identity token a POST of a form."""
    if credentials and credentials.identity_token:
        form = urlencode(refresh_form(service, scope, credentials.identity_token)).encode()
        return TokenQuestion(realm, None, form)
    query = urlencode(token_parameters(service, scope))
    joint = "&" if "?" in realm.target else "?"
    target = f"{realm.target}{joint}{query}" if query else realm.target
    return TokenQuestion(Address(realm.scheme, realm.host, target), basic(credentials) if credentials else None, None)


def _refusal(response: Response, server: str, *, with_credentials: bool) -> Exception:
    complaint = read_complaint(response.beginning(MAX_TOKEN_ANSWER))
    kind = error_kind(response.status, complaint)
    wait = retry_after(response.headers)
    if kind is RateLimited or issubclass(kind, ServerFailure):
        return kind(f"the token server {server} answered {response.status}", retry_after=wait)
    whom = "the credentials" if with_credentials else "an anonymous request"
    return Unauthorized(f"the token server {server} refused {whom} ({response.status})")
