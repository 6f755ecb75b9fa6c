"""A registry that asked to be left alone is left alone, by whoever shows the same credentials."""

from collections.abc import Iterator

import pytest

from registry.credentials import Credentials
from registry.errors import RateLimited
from registry.pauses import LONGEST, UNTOLD, Pauses
from registry.transport import NO_RETRIES, Retries, Transport
from tests.rig import faulty
from tests.rig.faulty import Relay
from tests.rig.reader import everything_plain

PATH = "/v2/a/manifests/1"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def relay() -> Iterator[Relay]:
    with Relay() as relay:
        yield relay


@pytest.mark.parametrize(("headers", "seconds"), [({"Retry-After": "30"}, 30.0), ({}, UNTOLD)])
def test_it_is_asked_again_when_it_said_and_not_before(relay: Relay, headers: dict[str, str], seconds: float) -> None:
    relay.rule(faulty.error(429, "TOOMANYREQUESTS", headers=headers)).rule(faulty.answer(200, b"x"), times=None)
    clock = Clock()
    transport = Transport(everything_plain, retries=NO_RETRIES, pauses=Pauses(clock))
    assert transport.send("GET", relay.host, PATH).status == 429
    clock.now += seconds - 1
    with pytest.raises(RateLimited, match="asked again in 1 s") as refused:
        transport.send("HEAD", relay.host, "/v2/other/manifests/1")
    assert refused.value.retry_after == 1
    assert len(relay.requests) == 1
    clock.now += 1
    assert transport.send("GET", relay.host, PATH).status == 200


def test_others_credentials_and_other_registries_are_asked_meanwhile(relay: Relay) -> None:
    relay.rule(faulty.error(429, "TOOMANYREQUESTS", headers={"Retry-After": "60"}))
    relay.rule(faulty.answer(200), times=None)
    transport = Transport(everything_plain, retries=NO_RETRIES, pauses=Pauses(Clock()))
    assert transport.send("GET", relay.host, PATH).status == 429
    assert transport.send("GET", relay.host, PATH, credentials=Credentials("alice", "s3cret-enough")).status == 200
    with Relay() as other:
        other.rule(faulty.answer(200))
        assert transport.send("GET", other.host, PATH).status == 200
    with pytest.raises(RateLimited):
        transport.send("GET", relay.host, PATH)


def test_a_short_pause_is_waited_for(relay: Relay) -> None:
    relay.rule(faulty.error(429, "TOOMANYREQUESTS", headers={"Retry-After": "2"})).rule(faulty.answer(200))
    clock = Clock()
    transport = Transport(everything_plain, retries=Retries(sleep=clock.sleep), pauses=Pauses(clock))
    assert transport.send("GET", relay.host, PATH).status == 200
    assert clock.now == 102


def test_a_token_server_s_word_counts_for_its_registry(relay: Relay) -> None:
    with Relay() as tokens:
        challenge = {"WWW-Authenticate": f'Bearer realm="{tokens.url}/token",service="rig"'}
        relay.rule(faulty.error(401, "UNAUTHORIZED", headers=challenge), times=None)
        tokens.rule(faulty.error(429, "TOOMANYREQUESTS", headers={"Retry-After": "60"}), times=None)
        transport = Transport(everything_plain, retries=NO_RETRIES, pauses=Pauses(Clock()))
        for _ in range(3):
            with pytest.raises(RateLimited):
                transport.send("GET", relay.host, PATH, scope="repository:a:pull")
        assert (len(relay.requests), len(tokens.requests)) == (1, 1)


def test_a_registry_that_asks_for_hours_is_asked_again_after_minutes(relay: Relay) -> None:
    relay.rule(faulty.error(429, "TOOMANYREQUESTS", headers={"Retry-After": "86400"}), times=1)
    relay.rule(faulty.answer(200), times=None)
    clock = Clock()
    transport = Transport(everything_plain, retries=NO_RETRIES, pauses=Pauses(clock))
    assert transport.send("GET", relay.host, PATH).status == 429
    clock.now += LONGEST - 1
    with pytest.raises(RateLimited) as refused:
        transport.send("GET", relay.host, PATH)
    assert refused.value.retry_after == 1
    clock.now += 1
    assert transport.send("GET", relay.host, PATH).status == 200
