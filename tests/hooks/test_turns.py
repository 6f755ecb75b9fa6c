"""Whose turn it is to be copied."""

from hypothesis import given
from hypothesis import strategies as st

from hooks.turns import Candidate, turns

COPIES = st.sampled_from(["", "Wanted", "Running", "Stalled", "Waiting"])
CANDIDATES = st.lists(
    st.builds(Candidate, st.uuids().map(str), COPIES, st.booleans(), st.booleans(), st.booleans(), st.booleans()),
    unique_by=lambda one: one.name,
)


def named(copy: str, count: int) -> list[Candidate]:
    return [Candidate(f"{copy}-{at}", copy) for at in range(count)]


def new(found: frozenset[str]) -> int:
    return sum(name.startswith("Wanted") for name in found)


def test_stalled_copies_hand_their_turns_on_but_not_more_than_there_are() -> None:
    wanted = named("Wanted", 20)
    assert new(turns(wanted, 5)) == 5
    assert new(turns([*named("Running", 5), *wanted], 5)) == 0
    assert new(turns([*named("Running", 2), *named("Stalled", 3), *wanted], 5)) == 3
    assert new(turns([*named("Stalled", 5), *wanted], 5)) == 5
    assert new(turns([*named("Stalled", 8), *wanted], 5)) == 2
    assert new(turns([*named("Stalled", 10), *wanted], 5)) == 0


@given(CANDIDATES, st.integers(1, 10))
def test_who_has_a_job_keeps_its_turn_and_jobs_are_never_more_than_twice_the_turns(
    found: list[Candidate], most: int
) -> None:
    admitted = turns(found, most)
    jobs = [one for one in found if one.copy in ("Running", "Stalled")]
    assert {one.name for one in jobs} <= admitted
    assert len(admitted) <= max(2 * most, len(jobs))
    assert all(one.copy in ("Wanted", "Running", "Stalled") for one in found if one.name in admitted)
