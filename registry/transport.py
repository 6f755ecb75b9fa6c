"""HTTP to registries, and the only place that speaks it: TLS, redirects, authentication, retries.

Answers come back whatever their status; what did not answer raises Unreachable or TLSFailure. `raise_for` turns a
status into the error that it stands for.
"""

import ipaddress
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol
from urllib.parse import urlencode

import requests
import urllib3
from requests.utils import get_environ_proxies

from registry.address import MAX_REDIRECTS, REDIRECTS, Address, endpoint, named, redirected, travelling
from registry.authorization import Authorization, TokenQuestion
from registry.connections import Addresses
from registry.credentials import Credentials
from registry.egress import bypassed
from registry.errors import RateLimited, RegistryError, ServerFailure, TLSFailure
from registry.failures import raise_for
from registry.hosts import HostSettings, Timeouts, host_settings
from registry.network import failure
from registry.pauses import Pauses
from registry.pipes import Piece
from registry.pools import adapter, pools
from registry.redact import redact
from registry.response import Response, TimedOut
from registry.retries import NO_RETRIES, Retries
from registry.tokens import Purpose, Tokens
from registry.watching import REDIRECTED, TOKEN, Sent, Watcher, kind_of
from registry.wire import Wire

__all__ = [
    "NO_RETRIES",
    "HostSettings",
    "Response",
    "Retries",
    "TimedOut",
    "Timeouts",
    "Transport",
    "host_settings",
    "raise_for",
]

CONNECTIONS = 64
_HOSTS = 64
_REPEATABLE = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_AUTH_ROUNDS = 2

# urllib3 writes whole URLs to its log, and the query of a presigned URL is a credential.
logging.getLogger("urllib3").setLevel(logging.ERROR)


BROKEN: tuple[type[Exception], ...] = (urllib3.exceptions.HTTPError, OSError)
"""What a library raises whose connections are of a `pool`, where there is no answer."""


def pool(connect: float, read: float) -> urllib3.PoolManager:
    """Connections for a library that speaks to an object storage; the seconds bound each attempt of three."""
    retries = urllib3.Retry(total=2, backoff_factor=0.2, status_forcelist=[500, 502, 503, 504])
    manager = urllib3.PoolManager(timeout=urllib3.Timeout(connect=connect, read=read), retries=retries)
    manager.pool_classes_by_scheme = dict(pools(read))
    return manager


class Sized(Protocol):
    """A body that is streamed: iterated once, `len()` bytes in all."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Piece]: ...


@dataclass(frozen=True, slots=True)
class _Call:
    """One request as it was asked for, before redirects and authentication."""

    method: str
    address: Address
    headers: Mapping[str, str]
    body: bytes | Sized | None = None
    led_by: str = ""
    """The registry that led here, by a redirect or to a token server."""
    kind: str = ""
    patience: float | None = None


class Transport:
    """Connections to all registries; threads share one. `settings` is asked for each host, so it may change.

    With `pauses` a registry that said 429 is not asked before the time it named; until then RateLimited is raised.
    `watcher` is told of every request that goes out; all of them have `headers`. `addresses` finds hosts, of registries
    and egress proxies alike, where this machine's resolver is not to.
    """

    def __init__(  # noqa: PLR0913  all are optional
        self,
        settings: Callable[[str], HostSettings] = host_settings(),  # noqa: B008  a pure value
        *,
        timeouts: Timeouts = Timeouts(),  # noqa: B008  a frozen value
        retries: Retries = Retries(),  # noqa: B008  a frozen value
        user_agent: str = "kuik",
        pauses: Pauses | None = None,
        watcher: Watcher | None = None,
        headers: Mapping[str, str] | None = None,
        addresses: Addresses | None = None,
    ) -> None:
        self._settings = settings
        self._timeouts = timeouts
        self.retries = retries
        self._pauses = pauses
        self._watcher = watcher
        self._always = {"User-Agent": user_agent, "Accept": "*/*", "Accept-Encoding": "identity", **(headers or {})}
        self._adapter = adapter(_HOSTS, CONNECTIONS, timeouts.read, addresses)
        self._authorization = Authorization(self._ask, self._is_plain, Tokens())

    def send(  # noqa: PLR0913  one request has this many parts; all but three are optional
        self,
        method: str,
        host: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        body: bytes | Sized | None = None,
        credentials: Credentials | None = None,
        scope: str | None = None,
        patience: float | None = None,
    ) -> Response:
        """Send one request to a registry (`docker.io` and the like) and give back its answer, whatever the status.

        `path` begins with a slash and may hold a query; `scope` is the token scope it needs, such as
        `repository:library/nginx:pull`. GET and HEAD follow redirects. An `Authorization` in `headers` is sent as it
        is, and challenges are then left to the caller. With `patience`, a connection, the headers and the first bytes
        of the body are waited for so many seconds each and no longer, whatever the timeouts allow. Raises Unreachable,
        TLSFailure, and Unauthorized or RateLimited when a token server says so.
        """
        call = _Call(method, self._address(host, path, params), self._headers(headers), body, patience=patience)
        repeatable = method in _REPEATABLE and (body is None or isinstance(body, bytes))
        retries = self.retries if repeatable else NO_RETRIES
        if any(name.lower() == "authorization" for name in call.headers):
            return retries.run(lambda: self._follow(call))
        purpose = Purpose(host, scope or "", credentials)
        return retries.run(lambda: self._unless_paused(call, purpose))

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._adapter.close()

    def _unless_paused(self, call: _Call, purpose: Purpose) -> Response:
        """Ask, unless the registry asked whoever shows these credentials to come back later."""
        if self._pauses is None:
            return self._authorized(call, purpose)
        self._pauses.check(purpose.host, purpose.credentials)
        try:
            response = self._authorized(call, purpose)
        except RateLimited as error:  # its token server said so
            self._pauses.note(purpose.host, purpose.credentials, error.retry_after)
            raise
        self._pauses.answered(purpose.host, purpose.credentials, response.status, response.headers)
        return response

    def _authorized(self, call: _Call, purpose: Purpose) -> Response:
        header = self._authorization.known(purpose)
        response = self._follow(_with_authorization(call, header))
        for _ in range(_AUTH_ROUNDS):
            if call.body is not None and not isinstance(call.body, bytes):
                return response
            asking = response if response.status == 401 else self._reluctant(response, purpose, header)
            if asking is None or asking.redirected:
                return response
            answer = self._authorization.answer(asking, purpose, header)
            if answer is None or answer == header:
                return response
            response.discard()
            header = answer
            response = self._follow(_with_authorization(call, header))
        return response

    def _reluctant(self, response: Response, purpose: Purpose, header: str | None) -> Response | None:
        """The challenge behind a plain refusal: some registries hide what is private instead of asking who it is.

        Where a redirect led elsewhere, that host refuses, and is not given the chance to ask for the credentials.
        """
        if header or not purpose.credentials or response.redirected or response.status not in (403, 404):
            return None
        address = Address(response.address.scheme, response.address.host, "/v2/")
        ping = self._follow(_Call("GET", address, self._headers(None)))
        ping.discard()
        return ping if ping.status == 401 else None

    def _follow(self, call: _Call) -> Response:
        address, headers = call.address, dict(call.headers)
        led_by = call.led_by or named(call.address.host)
        for hops in range(MAX_REDIRECTS + 1):
            kind = REDIRECTED if hops else call.kind or kind_of(address.target)
            response = self._watched(replace(call, address=address, headers=headers, led_by=led_by, kind=kind))
            response.redirected = hops > 0 and address.origin != call.address.origin
            if response.status not in REDIRECTS or call.method not in ("GET", "HEAD"):
                return response
            response.discard()
            target = redirected(address, response.headers.get("Location"), self._is_plain)
            headers, address = travelling(headers, address, target), target
        raise ServerFailure(f"{call.address.host} redirects more than {MAX_REDIRECTS} times")

    def _watched(self, call: _Call) -> Response:
        """Ask once, and tell the watcher."""
        watcher, registry, begun = self._watcher, call.led_by, time.monotonic()
        if watcher is None:
            return self._once(call)
        try:
            response = self._once(call, lambda count: watcher.received(registry, count))
        except RegistryError:
            watcher.asked(Sent(registry, call.kind, None, time.monotonic() - begun, {}, call.method))
            raise
        seconds = time.monotonic() - begun
        watcher.asked(Sent(registry, call.kind, response.status, seconds, response.headers, call.method))
        return response

    def _once(self, call: _Call, count: Callable[[int], None] | None = None) -> Response:
        host = call.address.host
        settings = self._settings(named(host))
        proxies = self._proxies(call, settings)
        asked = f"{host} (through the proxy {redact(proxies['all'])})" if "all" in proxies else host
        try:
            prepared = requests.Request(call.method, call.address.url, dict(call.headers), data=call.body).prepare()
            answer = self._adapter.send(
                prepared,
                stream=True,
                timeout=(_least(self._timeouts.connect, call.patience), _least(self._timeouts.read, call.patience)),
                verify=settings.trust,
                proxies=proxies,
            )
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            timed_out = isinstance(error, requests.Timeout)
            raise failure(error, asked, timed_out=timed_out, ca_file=settings.trusted) from None
        except OSError:
            raise TLSFailure(f"{settings.trusted} for {host} cannot be read") from None
        return Response(
            answer.status_code,
            answer.headers,
            Wire(answer.raw, host, self._timeouts.read, count, _least(self._timeouts.read, call.patience)),
            method=call.method,
            address=call.address,
        )

    def _proxies(self, call: _Call, settings: HostSettings) -> dict[str, str]:
        """The egress proxy of the host or, where it has none, of the registry that led to it, or of the environment."""
        if not settings.egress and call.led_by:
            settings = self._settings(call.led_by)
        if not settings.egress:
            return _from_environment(call.address)
        return {} if bypassed(call.address.host, settings.direct) else {"all": settings.egress}

    def _ask(self, question: TokenQuestion) -> Response:
        headers = dict(self._headers({"Accept": "application/json"}))
        if question.basic:
            headers["Authorization"] = question.basic
        if question.form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        method = "POST" if question.form else "GET"
        return self._follow(_Call(method, question.address, headers, question.form, question.registry, TOKEN))

    def _address(self, host: str, path: str, params: Mapping[str, str] | None) -> Address:
        scheme = "http" if self._is_plain(host) else "https"
        query = ("&" if "?" in path else "?") + urlencode(params) if params else ""
        return Address.parse(f"{scheme}://{endpoint(host)}{path}{query}")

    def _is_plain(self, host: str) -> bool:
        return self._settings(named(host)).plain_http

    def _headers(self, headers: Mapping[str, str] | None) -> Mapping[str, str]:
        # Blobs are named by the digest of their bytes as stored, so nothing may compress them on the way.
        return {**self._always, **(headers or {})}


def _least(timeout: float, patience: float | None) -> float:
    return timeout if patience is None else min(timeout, patience)


def _with_authorization(call: _Call, header: str | None) -> _Call:
    return replace(call, headers={**call.headers, "Authorization": header}) if header else call


def _from_environment(address: Address) -> dict[str, str]:
    """The proxy that the environment names for this address; what is on this machine is always asked directly."""
    name = address.host.rpartition("]")[0].lstrip("[") or address.host.partition(":")[0]
    if name == "localhost" or name.endswith(".localhost"):
        return {}
    try:
        if ipaddress.ip_address(name).is_loopback:
            return {}
    except ValueError:
        pass
    return dict(get_environ_proxies(address.url))
