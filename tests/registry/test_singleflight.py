"""One call for all who want the same at the same time."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from registry.errors import Unreachable
from registry.singleflight import SingleFlight
from tests.rig.processes import wait_until


class Key:
    """A key that counts how often it was looked up."""

    looked_up = 0

    def __hash__(self) -> int:
        self.looked_up += 1
        return 1

    def __eq__(self, other: object) -> bool:
        return self is other


@pytest.mark.parametrize("fails", [False, True])
def test_who_comes_while_a_call_is_under_way_gets_its_result_or_its_error(fails: bool) -> None:
    flights: SingleFlight[Key, int] = SingleFlight()
    key, go_on, calls = Key(), threading.Event(), []

    def work() -> int:
        calls.append(1)
        assert go_on.wait(10)
        if fails:
            raise Unreachable("no answer")
        return 7

    with ThreadPoolExecutor(8) as pool:
        all_of_them = [pool.submit(flights.do, key, work) for _ in range(8)]
        wait_until(lambda: key.looked_up >= 9, "all have come")  # the first looks twice, to put its call there
        assert flights.do(Key(), lambda: 3) == 3
        go_on.set()
        outcomes = [one.exception(10) or one.result() for one in all_of_them]
    assert [isinstance(outcome, Unreachable) if fails else outcome == 7 for outcome in outcomes] == [True] * 8
    assert len(calls) == 1


def test_nothing_is_remembered_after_landing() -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    assert [flights.do("key", lambda: 1), flights.do("key", lambda: 2)] == [1, 2]
