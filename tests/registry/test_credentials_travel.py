"""Where a password goes: to its registry, to the token server that this names, and nowhere else, whoever asks."""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from registry.client import Client
from registry.credentials import Credentials
from registry.errors import RegistryError, ServerFailure, TLSFailure, Unauthorized
from registry.reference import Reference
from registry.transport import HostSettings, Retries, Timeouts, Transport
from tests.rig import faulty
from tests.rig.faulty import Relay

ALICE = Credentials("alice", "s3cret-enough")
BASIC = "Basic " + base64.b64encode(b"alice:s3cret-enough").decode()
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json"}).encode()
ASKS = {"WWW-Authenticate": 'Basic realm="r"'}


class World:
    """Registries and others, with TLS or without; every one of them notes what it is shown."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._certificate = faulty.certificate(folder)
        self._stack = stack
        self.plain: set[str] = set()

    def server(self, *, tls: bool = True) -> Relay:
        return self._stack.enter_context(Relay(tls=self._certificate if tls else None))

    def pull(self, registry: Relay) -> None:
        """Ask for a manifest with alice's password."""

        def settings(host: str) -> HostSettings:
            return HostSettings(host in self.plain, ca_file=None if host in self.plain else self._certificate[0])

        transport = Transport(settings, timeouts=Timeouts(1, 1), retries=Retries(attempts=1))
        Client(transport, lambda _reference: (ALICE,)).manifest(Reference.parse(f"{registry.host}/team/own:1"))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(tmp_path / "certificate", stack)


def shown(server: Relay) -> list[str]:
    """What the server was shown that it could log in with."""
    return [header for seen in server.requests if (header := seen.headers.get("Authorization", ""))]


def asking(registry: Relay, then: Callable[[faulty.Exchange], None]) -> Relay:
    """A registry that asks for the password and then acts."""

    def act(exchange: faulty.Exchange) -> None:
        if exchange.headers.get("Authorization") == BASIC:
            then(exchange)
        else:
            faulty.error(401, "UNAUTHORIZED", headers=ASKS)(exchange)

    return registry.rule(act, path="/v2/", times=None)


def tokens_at(registry: Relay, realm: str) -> Relay:
    challenge = {"WWW-Authenticate": f'Bearer realm="{realm}",service="s"'}
    return registry.rule(faulty.error(401, "UNAUTHORIZED", headers=challenge), path="/v2/", times=None)


@pytest.mark.parametrize("tls", [True, False])
def test_a_redirect_carries_it_to_no_other_host_which_may_ask_as_it_likes(world: World, tls: bool) -> None:
    registry, other = world.server(), world.server(tls=tls)
    world.plain |= set() if tls else {other.host}
    other.rule(faulty.error(401, "UNAUTHORIZED", headers=ASKS), times=None)
    asking(registry, faulty.redirect(f"{other.url}{{path}}"))
    with pytest.raises(RegistryError):
        world.pull(registry)
    assert other.requests
    assert (shown(other), set(shown(registry))) == ([], {BASIC})


def test_a_redirect_from_tls_to_plain_http_is_not_followed(world: World) -> None:
    registry, other = world.server(), world.server(tls=False)
    asking(registry, faulty.redirect(f"{other.url}{{path}}"))
    with pytest.raises(ServerFailure, match="plain HTTP"):
        world.pull(registry)
    assert other.requests == []


def test_a_registry_is_spoken_to_without_tls_only_where_that_is_configured(world: World) -> None:
    registry = world.server(tls=False)
    asking(registry, faulty.answer(200, MANIFEST))
    with pytest.raises(RegistryError):
        world.pull(registry)
    assert registry.requests == []


def test_a_token_server_on_another_host_is_trusted_over_tls_as_docker_hub_s_is(world: World) -> None:
    registry, server = world.server(), world.server()
    server.rule(faulty.answer(200, b'{"token": "t"}'), times=None)
    tokens_at(registry, f"{server.url}/token")
    with pytest.raises(Unauthorized):
        world.pull(registry)
    assert BASIC in shown(server)
    assert set(shown(registry)) == {"Bearer t"}, "the registry itself never sees the password"


def test_a_token_server_without_tls_gets_nothing(world: World) -> None:
    registry, server = world.server(), world.server(tls=False)
    tokens_at(registry, f"{server.url}/token")
    with pytest.raises(TLSFailure, match="plain HTTP"):
        world.pull(registry)
    assert server.requests == []


def test_a_token_server_that_redirects_elsewhere_takes_the_password_along_nowhere(world: World) -> None:
    registry, server, other = world.server(), world.server(), world.server()
    other.rule(faulty.error(401, "UNAUTHORIZED", headers=ASKS), times=None)
    server.rule(faulty.redirect(f"{other.url}/token"), times=None)
    tokens_at(registry, f"{server.url}/token")
    with pytest.raises(RegistryError):
        world.pull(registry)
    assert shown(other) == []


def test_errors_do_not_hold_it(world: World) -> None:
    registry = world.server()
    asking(registry, faulty.error(403, "DENIED", f"wrong password s3cret-enough in {BASIC}"))
    with pytest.raises(Unauthorized) as refused:
        world.pull(registry)
    assert BASIC.removeprefix("Basic ") not in str(refused.value)
