"""The breaker: it opens at once, and closes when the proxies were fit for a while."""

from typing import Any

import pytest

from hooks.fitness import FIT_FOR, KEPT, UNKNOWN_AFTER, Fitness, unfit


def proxies(ready: Any, desired: Any = 10) -> list[dict[str, Any]]:
    return [{"status": {"desiredNumberScheduled": desired, "numberReady": ready}}]


@pytest.mark.parametrize(
    ("seen", "fit"),
    [
        ([], False),
        (proxies(0, 0), False),
        (proxies(10), True),
        (proxies(9), True),
        (proxies(8), False),
        (proxies(1, 1), True),
        (proxies(0, 1), False),
        ([{}], False),
        (proxies("10"), False),
        (proxies(10) + proxies(0, 1), True),
        (proxies(10) + proxies(0, 5), False),
    ],
)
def test_one_in_ten_may_be_missing(seen: list[dict[str, Any]], fit: bool) -> None:
    assert (unfit(seen) is None) is fit


def test_the_first_look_is_believed() -> None:
    assert Fitness().after(proxies(10), 0, 100.0).why is None
    assert Fitness().after(proxies(5), 0, 100.0).why is not None
    assert Fitness().after(None, 0, 100.0).why is not None


def test_it_opens_at_once_and_closes_after_a_while() -> None:
    state = Fitness().after(proxies(10), 0, 0.0).after(proxies(5), 0, 1.0)
    assert state.why is not None
    state = state.after(proxies(10), 0, 2.0)
    assert state.why is not None
    interrupted = state.after(proxies(5), 0, 5.0).after(proxies(10), 0, 6.0)
    assert interrupted.after(proxies(10), 0, 2.0 + FIT_FOR).why is not None
    assert state.after(proxies(10), 0, 2.0 + FIT_FOR).why is None


def test_what_is_not_known_keeps_the_last_answer_for_a_while() -> None:
    fit = Fitness().after(proxies(10), 0, 0.0)
    assert fit.after(proxies(10), UNKNOWN_AFTER + 1, 61.0).why is None
    assert fit.after(proxies(0), UNKNOWN_AFTER + 1, 61.0).why is None, "what is that old is no news"
    lost = fit.after(proxies(10), UNKNOWN_AFTER + KEPT + 1, 181.0)
    assert lost.why is not None
    assert lost.after(proxies(10), 0, 182.0).why is not None, "it has to prove itself again"
    assert lost.after(proxies(10), 0, 182.0).after(proxies(10), 0, 182.0 + FIT_FOR).why is None
    bad = Fitness().after(proxies(0), 0, 0.0).after(proxies(10), UNKNOWN_AFTER + 1, 61.0)
    assert bad.why is not None
