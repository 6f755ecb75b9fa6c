"""Three-way apply: what others set stays, what is no longer said goes."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kuik.driver.apply import applied, merge, remembering

leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=3), st.lists(st.integers(), max_size=2))
trees = st.recursive(leaves, lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=3), max_leaves=8)
maps = st.dictionaries(st.sampled_from("abcd"), trees, max_size=4)


def contains(whole: Any, part: Any) -> bool:
    if isinstance(part, dict) and part:
        return isinstance(whole, dict) and all(name in whole and contains(whole[name], part[name]) for name in part)
    return bool(whole == part) or part == {}


def test_other_peoples_fields_stay_and_dropped_ones_go() -> None:
    observed = {"metadata": {"name": "a"}, "spec": {"image": "x", "unusedSince": "now", "retain": True}}
    first = remembering(observed, {"metadata": {"name": "a"}, "spec": {"image": "x", "unusedSince": "now"}})
    again = applied(first, {"metadata": {"name": "a"}, "spec": {"image": "x"}})
    assert again["spec"] == {"image": "x", "retain": True}


@given(maps, maps, maps)
def test_what_is_desired_is_there_afterwards(observed: Any, last: Any, desired: Any) -> None:
    assert contains(merge(observed, last, desired), desired)


@given(maps, maps)
def test_applying_twice_changes_nothing_more(observed: Any, desired: Any) -> None:
    desired = {"metadata": {}, **{name: value for name, value in desired.items() if name != "metadata"}}
    once = applied({**observed, "metadata": {}}, desired)
    assert applied(once, desired) == once


@given(maps, maps, maps)
def test_only_fields_that_were_ours_are_taken_away(observed: Any, last: Any, desired: Any) -> None:
    merged = merge(observed, last, desired)
    assert all(name in merged for name in observed if name not in last)
    assert all(name not in merged for name in last if name not in desired)
