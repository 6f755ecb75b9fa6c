"""When a source is left alone, and when it is asked again."""

import pytest

from proxy.breaker import FIRST_PAUSE, LONGEST_PAUSE, Breakers
from proxy.errors import NotAsked
from registry.errors import NotFound, RegistryError, ServerFailure, TLSFailure, Unreachable


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def ask(breakers: Breakers, error: RegistryError | None = None, about: str = "") -> None:
    with breakers.guard("source", about):
        if error:
            raise error


def fail(breakers: Breakers, error: RegistryError, about: str = "") -> None:
    with pytest.raises(type(error)):
        ask(breakers, error, about)


def test_silence_costs_one_time_out_in_a_pause_that_grows() -> None:
    clock = Clock()
    breakers = Breakers(clock)
    pauses = []
    for _ in range(6):
        fail(breakers, Unreachable("no answer"))
        with pytest.raises(NotAsked, match=r"source .* asked again in \d+ s: no answer") as left:
            ask(breakers)
        pauses.append(left.value.retry_after)
        clock.now += pauses[-1] or 0
    assert pauses == [FIRST_PAUSE, 10, 20, 40, LONGEST_PAUSE, LONGEST_PAUSE]


def test_after_a_pause_one_is_let_through_and_its_success_opens_the_way() -> None:
    clock = Clock()
    breakers = Breakers(clock)
    fail(breakers, Unreachable("no answer"))
    clock.now += FIRST_PAUSE
    with breakers.guard("source"), pytest.raises(NotAsked):
        ask(breakers)
    ask(breakers)


def test_a_herd_that_fails_together_counts_once() -> None:
    clock = Clock()
    breakers = Breakers(clock)
    guards = [breakers.guard("source") for _ in range(20)]
    for guard in guards:
        guard.__enter__()
    for guard in guards:
        clock.now += 0.01
        error = Unreachable("no answer")
        assert not guard.__exit__(Unreachable, error, None)
    clock.now += FIRST_PAUSE
    ask(breakers)


def test_an_answer_to_what_was_asked_before_the_failure_opens_no_way() -> None:
    clock = Clock()
    breakers = Breakers(clock)
    with breakers.guard("source"):
        clock.now += 1
        fail(breakers, Unreachable("silent"))
        clock.now += 1
    with pytest.raises(NotAsked):
        ask(breakers)
    clock.now += FIRST_PAUSE
    ask(breakers)
    ask(breakers)


def test_an_answer_of_any_kind_is_a_sign_of_life() -> None:
    breakers = Breakers(Clock())
    for _ in range(9):
        fail(breakers, ServerFailure("503"))
        fail(breakers, NotFound("404"))
    ask(breakers)


def test_5xx_in_a_row_about_one_registry_leave_the_others_alone() -> None:
    breakers = Breakers(Clock())
    for _ in range(3):
        fail(breakers, ServerFailure("503"), about="quay.io")
    with pytest.raises(NotAsked):
        ask(breakers, about="quay.io")
    ask(breakers, about="docker.io")


def test_what_a_breaker_further_down_says_is_not_about_this_source() -> None:
    breakers = Breakers(Clock())
    fail(breakers, NotAsked("upstream"))
    ask(breakers)


def test_a_bad_certificate_costs_a_handshake_in_a_pause_inside_and_is_upstreams_own_word_outside() -> None:
    inside, outside = Breakers(Clock()), Breakers(Clock())
    fail(inside, TLSFailure("expired"), about="quay.io")
    with pytest.raises(NotAsked):
        ask(inside, about="docker.io")
    for _ in range(5):
        fail(outside, TLSFailure("expired"))
