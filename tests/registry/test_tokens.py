"""Bearer tokens, as registries and their token servers hand them out, refuse them and let them expire."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from registry.credentials import Credentials
from registry.errors import NotFound, RateLimited, ServerFailure, TLSFailure, Unauthorized, Unreachable
from registry.reference import Reference
from registry.response import TooSlow
from registry.tokens import Purpose, Token, Tokens, parse_token
from registry.transport import HostSettings
from tests.rig import faulty
from tests.rig.faulty import Relay, TokenServer, guarded
from tests.rig.images import BuiltImage, image
from tests.rig.processes import wait_until
from tests.rig.reader import client, transport
from tests.rig.upstream import Upstream

ALICE = Credentials("alice", "s3cret-enough")
TAGS = "/v2/team/app/tags/list"
MALLORY = Credentials("mallory", "guess")


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    with TokenServer() as server:
        yield server


@pytest.fixture
def built(upstream: Upstream) -> BuiltImage:
    built = image("guarded")
    upstream.push(built, "team/app", "1")
    return built


@pytest.fixture
def relay(upstream: Upstream, built: BuiltImage, tokens: TokenServer) -> Iterator[Relay]:
    """A registry that wants a token for everything, as Docker Hub does."""
    with Relay(upstream.host) as relay:
        relay.rule(guarded(tokens), times=None)
        yield relay


def at(relay: Relay, tag: str = "1") -> Reference:
    return Reference.parse(f"{relay.host}/team/app:{tag}")


def statuses(relay: Relay) -> list[int]:
    return [seen.status for seen in relay.requests]


def test_an_anonymous_token_serves_all_requests_of_a_repository(
    relay: Relay, tokens: TokenServer, built: BuiltImage
) -> None:
    reader = client()
    assert reader.manifest(at(relay)).digest == built.digest
    for digest in built.blobs:
        with reader.open_blob(at(relay), digest) as stream:
            list(stream)
    assert tokens.questions == [{"service": ["registry.test"], "scope": ["repository:team/app:pull"]}]
    assert statuses(relay) == [401] + [200] * (1 + len(built.blobs))


def test_a_token_for_a_user(relay: Relay, tokens: TokenServer, built: BuiltImage) -> None:
    tokens.users = {"alice": "s3cret-enough"}
    with pytest.raises(Unauthorized, match=f"token server {tokens.host} refused an anonymous request"):
        client().manifest(at(relay))
    with pytest.raises(Unauthorized):
        client(lambda _: [MALLORY]).manifest(at(relay))
    assert client(lambda _: [MALLORY, ALICE]).manifest(at(relay)).digest == built.digest
    assert all("Basic" not in seen.headers.get("Authorization", "") for seen in relay.requests)


def test_a_token_that_expires_in_mid_use_is_renewed(relay: Relay, tokens: TokenServer, built: BuiltImage) -> None:
    reader = client()
    reader.manifest(at(relay))
    tokens.valid.clear()
    assert reader.manifest(at(relay)).digest == built.digest
    assert len(tokens.questions) == 2


@pytest.mark.parametrize("key", ["token", "access_token"])
def test_both_names_of_a_token(relay: Relay, tokens: TokenServer, built: BuiltImage, key: str) -> None:
    tokens.key = key
    assert client().manifest(at(relay)).digest == built.digest


def test_an_unknown_repository_that_is_hidden_behind_401(relay: Relay, tokens: TokenServer) -> None:
    relay.rules.insert(0, faulty.Rule(_never(tokens), path="/v2/no/such", times=None))
    with pytest.raises(Unauthorized, match="there is no such repository, or"):
        client().manifest(Reference.parse(f"{relay.host}/no/such:1"))
    assert len(relay.requests) == 3, "a token that does not help is not asked for without end"


def _never(tokens: TokenServer) -> faulty.Fault:
    """Challenge whatever comes."""
    challenge = f'Bearer realm="{tokens.realm}",service="s",scope="repository:no/such:pull",error="insufficient_scope"'
    return faulty.error(401, "UNAUTHORIZED", headers={"WWW-Authenticate": challenge})


def test_the_scope_that_the_registry_names_wins(relay: Relay, tokens: TokenServer, built: BuiltImage) -> None:
    relay.rules[:] = [faulty.Rule(guarded(tokens, scope="repository:project/team/app:pull"), times=None)]
    assert client().manifest(at(relay)).digest == built.digest
    assert tokens.questions[0]["scope"] == ["repository:project/team/app:pull"]


def test_without_a_scope_in_the_challenge_ours_is_asked_for(relay: Relay, tokens: TokenServer) -> None:
    relay.rules[:] = [faulty.Rule(guarded(tokens, scope=""), times=None)]
    client().manifest(at(relay))
    assert tokens.questions[0]["scope"] == ["repository:team/app:pull"]


def test_several_challenges_and_a_token_server_on_the_same_host(upstream: Upstream, built: BuiltImage) -> None:
    with Relay(upstream.host) as relay:

        def registry(exchange: faulty.Exchange) -> None:
            if exchange.headers.get("Authorization") == "Bearer right":
                faulty.pass_on(exchange)
            else:
                challenge = 'Basic realm="x", Negotiate, Bearer realm="/jwt/auth?client=1",service="gitlab"'
                faulty.error(401, "UNAUTHORIZED", headers={"WWW-Authenticate": challenge})(exchange)

        relay.rule(faulty.answer(200, b'{"token": "right"}'), path="/jwt/auth?client=1&service=gitlab&scope=")
        relay.rule(registry, times=None)
        assert client().manifest(at(relay)).digest == built.digest


def test_an_identity_token_is_exchanged(relay: Relay, tokens: TokenServer, built: BuiltImage) -> None:
    login = Credentials("<token>", identity_token="refresh-me")
    sender = transport()
    assert sender.send("GET", relay.host, TAGS, credentials=login).status == 200
    assert tokens.requests[0].method == "POST"
    assert tokens.questions[0]["refresh_token"] == ["refresh-me"]
    assert tokens.questions[0]["grant_type"] == ["refresh_token"]


def test_a_registry_token_is_used_as_it_is(relay: Relay, tokens: TokenServer) -> None:
    tokens.valid.add("given")
    login = Credentials(registry_token="given")
    assert transport().send("GET", relay.host, TAGS, credentials=login).status == 200
    tokens.valid.clear()
    assert transport().send("GET", relay.host, TAGS, credentials=login).status == 401
    assert tokens.questions == []


def test_many_threads_fetch_one_token(relay: Relay, tokens: TokenServer) -> None:
    reader = client()
    with ThreadPoolExecutor(16) as pool:
        digests = set(pool.map(lambda _: reader.manifest(at(relay)).digest, range(32)))
    assert len(digests) == 1
    assert len(tokens.questions) == 1


class TestTokenServers:
    @pytest.mark.parametrize(
        "body", [b"", b"<html>", b"[]", b"{}", b'{"token": 5}', b'{"token": "a\\nb"}', b"[" * 99999]
    )
    def test_an_answer_without_a_token(self, relay: Relay, tokens: TokenServer, body: bytes) -> None:
        tokens.rules.insert(0, faulty.Rule(faulty.answer(200, body), times=None))
        with pytest.raises(ServerFailure, match=f"token server {tokens.host}"):
            client().manifest(at(relay))

    def test_one_that_is_tired_for_a_moment(self, relay: Relay, tokens: TokenServer, built: BuiltImage) -> None:
        tokens.rules.insert(0, faulty.Rule(faulty.answer(503), times=2))
        assert client().manifest(at(relay)).digest == built.digest

    def test_one_whose_answer_trickles(
        self, relay: Relay, tokens: TokenServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("registry.authorization.TOKEN_SECONDS", 0.2)

        def trickle(exchange: faulty.Exchange) -> None:
            exchange.begin(200, {"Content-Length": "100"})
            for _ in range(100):
                exchange.write(b" ")
                time.sleep(0.05)

        tokens.rules.insert(0, faulty.Rule(trickle, times=None))
        with pytest.raises(TooSlow):
            client().manifest(at(relay))

    def test_one_that_limits_rates(self, relay: Relay, tokens: TokenServer) -> None:
        tokens.rules.insert(0, faulty.Rule(faulty.answer(429, headers={"Retry-After": "600"}), times=None))
        with pytest.raises(RateLimited) as limited:
            client().manifest(at(relay))
        assert limited.value.retry_after == 600
        assert len(tokens.requests) == 1

    def test_one_that_redirects_elsewhere_does_not_take_credentials_along(
        self, relay: Relay, tokens: TokenServer
    ) -> None:
        with TokenServer() as other:
            tokens.rules.insert(0, faulty.Rule(faulty.redirect(other.realm), times=None))
            transport().send("GET", relay.host, TAGS, credentials=ALICE)
            assert other.requests
            assert all("Authorization" not in seen.headers for seen in other.requests)
            assert all("Authorization" in seen.headers for seen in tokens.requests)

    @pytest.mark.parametrize("realm", ["ftp://x/token", "http://", "javascript:alert(1)"])
    def test_one_that_cannot_be(self, upstream: Upstream, realm: str) -> None:
        with Relay(upstream.host) as relay:
            relay.rule(faulty.answer(401, headers={"WWW-Authenticate": f'Bearer realm="{realm}"'}), times=None)
            with pytest.raises((ServerFailure, NotFound, Unauthorized)):
                client().manifest(at(relay))

    def test_credentials_are_not_sent_to_one_in_plain_http(self, relay: Relay, tokens: TokenServer) -> None:
        only_registry = transport(lambda host: HostSettings(plain_http=host == relay.host))
        with pytest.raises(TLSFailure, match="plain HTTP"):
            only_registry.send("GET", relay.host, TAGS, credentials=ALICE)
        assert tokens.requests == []
        assert only_registry.send("GET", relay.host, TAGS).status == 200


class TestCache:
    def test_a_token_dies_a_little_early(self) -> None:
        now = [100.0]
        cache = Tokens(clock=lambda: now[0])
        purpose = Purpose("h", "s")
        cache.renewed(purpose, None, lambda: parse_token(b'{"token": "t", "expires_in": 100}', now[0], "h"))
        assert cache.current(purpose) == "t"
        now[0] = 189.0
        assert cache.current(purpose) == "t"
        now[0] = 190.0
        assert cache.current(purpose) is None

    @pytest.mark.parametrize("lifetime", [None, 0, -5, "soon", True, float("nan")])
    def test_a_lifetime_that_is_none_is_a_minute(self, lifetime: object) -> None:
        body = json.dumps({"token": "t"} | ({} if lifetime is None else {"expires_in": lifetime})).encode()
        assert parse_token(body, 0.0, "h").expires == pytest.approx(54.0)

    def test_tokens_of_one_user_are_not_those_of_another(self) -> None:
        cache = Tokens()
        cache.renewed(Purpose("h", "s", ALICE), None, lambda: Token("alice's", float("inf")))
        assert cache.current(Purpose("h", "s", ALICE)) == "alice's"
        assert cache.current(Purpose("h", "s", MALLORY)) is None
        assert cache.current(Purpose("h", "s")) is None
        assert cache.current(Purpose("other", "s", ALICE)) is None

    def test_waiting_threads_take_what_the_first_one_got(self) -> None:
        cache, fetched, gate = Tokens(), [], threading.Event()

        def fetch() -> Token:
            gate.wait(10)
            fetched.append(1)
            return Token("new", float("inf"))

        with ThreadPoolExecutor(8) as pool:
            results = [pool.submit(cache.renewed, Purpose("h", "s"), "old", fetch) for _ in range(8)]
            gate.set()
            assert {result.result() for result in results} == {"new"}
        assert len(fetched) == 1

    def test_waiting_threads_take_the_error_that_the_first_one_got(self) -> None:
        cache, fetched, gate = Tokens(), [], threading.Event()

        def fetch() -> Token:
            fetched.append(1)
            gate.wait(10)
            raise Unreachable("silent")

        purpose = Purpose("h", "s")
        with ThreadPoolExecutor(8) as pool:
            results = [pool.submit(cache.renewed, purpose, None, fetch) for _ in range(8)]
            wait_until(lambda: cache.shared == 7, "all wait for one")
            gate.set()
            assert {type(result.exception()) for result in results} == {Unreachable}
        assert len(fetched) == 1

    def test_a_silent_token_server_holds_up_no_other_registry(self) -> None:
        cache, gate = Tokens(), threading.Event()

        def silent() -> Token:
            gate.wait(10)
            return Token("late", float("inf"))

        with ThreadPoolExecutor(2) as pool:
            late = pool.submit(cache.renewed, Purpose("silent", "s"), None, silent)
            others = pool.submit(
                lambda: [cache.renewed(Purpose("h", f"{n}"), None, lambda: Token("t", 1e9)) for n in range(500)]
            )
            try:
                assert set(others.result(5)) == {"t"}
                assert not late.done()
            finally:
                gate.set()

    def test_secrets_do_not_show(self) -> None:
        shown = repr((Purpose("h", "s", ALICE), Token("topsecret", 1.0), ALICE, Credentials("u", "p", "i-t", "r-t")))
        assert not [secret for secret in ("s3cret", "topsecret", "i-t", "r-t") if secret in shown]
