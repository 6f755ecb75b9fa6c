"""What a sweep may remove: nothing that stands for an image, nothing before its time, nothing in doubt."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kube.types import format_time
from kuik.keeper.history import MOST_HASTE, History
from kuik.keeper.kept import Place, kept
from kuik.keeper.sweep import asked_about, judge, ours, places_of, unwanted
from registry.attached import fallback_tag
from registry.digest import Digest

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
DAY = 86400.0
HOUR = 3600.0
ONE, OTHER = (Digest.of(text) for text in (b"one", b"other"))


def image(name: str, **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "x"}, "spec": {"image": name}, "status": status}


def texts(found: frozenset[Place]) -> set[str]:
    return {str(place) for place in found}


def test_an_image_keeps_its_tag_and_its_digests_where_it_was_copied() -> None:
    previous = [
        {"digest": str(OTHER), "until": format_time(NOW + timedelta(days=1))},
        {"digest": str(Digest.of(b"old")), "until": format_time(NOW - timedelta(days=1))},
    ]
    found = image("nginx:1.27", digest=str(ONE), previousDigests=previous, copiedAs="Public")
    repository = "docker.io/library/nginx"
    assert texts(kept([found], NOW)) == {
        f"{repository}:1.27",
        f"{repository}:digest-{ONE.hex}",
        f"{repository}:digest-{OTHER.hex}",
    }


def test_where_it_is_not_known_whether_it_is_private_both_places_stay() -> None:
    assert texts(kept([image("reg:5000/a/b:1")], NOW)) == {"reg__5000/a/b:1", "private/reg__5000/a/b:1"}
    assert texts(kept([image("reg:5000/a/b:1", copiedAs="Private")], NOW)) == {"private/reg__5000/a/b:1"}


def test_an_image_that_is_on_its_way_out_counts_as_long_as_it_exists() -> None:
    leaving = image("nginx:1", copiedAs="Public")
    leaving["metadata"]["deletionTimestamp"] = format_time(NOW)
    assert texts(kept([leaving, image("no image at all!")], NOW)) == {"docker.io/library/nginx:1"}


@pytest.mark.parametrize(
    ("repository", "is_ours"),
    [
        ("docker.io/library/nginx", True),
        ("private/reg__5000/a/b", True),
        ("team/app", False),
        ("docker.io", False),
        ("private/team/app", False),
    ],
)
def test_repositories_of_others_are_left_alone(repository: str, is_ours: bool) -> None:
    assert ours(repository) is is_ours
    assert bool(places_of({repository: ["1"]})) is is_ours


def test_what_is_attached_stays_with_what_it_is_attached_to() -> None:
    repository = "docker.io/library/nginx"
    there = {
        Place(repository, tag) for tag in ("1", f"sha256-{ONE.hex}.sig", f"sha256-{ONE.hex}", f"sha256-{OTHER.hex}.att")
    }
    stay = {Place(repository, "1")}
    assert asked_about(there) == {repository}
    assert texts(frozenset(unwanted(there, stay, {repository: {fallback_tag(ONE)}}))) == {
        f"{repository}:sha256-{OTHER.hex}.att"
    }
    assert unwanted(there, stay, {}) == there - stay


def swept(gaps: list[float], seen: list[bool], every: float = HOUR) -> tuple[History, float]:
    """A history of sweeps that are so many seconds apart, in which one tag was unwanted or not; and how long it truly
    was at a stretch, by the time that passed between sweeps."""
    history, at, truly = History(), NOW, 0.0
    for gap, loose in zip(gaps, seen, strict=True):
        at += timedelta(seconds=gap)
        counted = Place("docker.io/a/b", "1") in history.unwanted
        history = history.after({Place("docker.io/a/b", "1")} if loose else (), at, every)
        truly = truly + max(gap, 0.0) if loose and counted else 0.0
    return history, truly


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 1.0, HOUR, 2 * HOUR, 3 * DAY, 400 * DAY, -5 * DAY]), st.booleans()), max_size=40
    )
)
@settings(max_examples=80)
def test_no_clock_makes_a_tag_due_before_it_was_looked_at_for_the_grace(steps: list[tuple[float, bool]]) -> None:
    history, truly = swept([gap for gap, _ in steps], [loose for _, loose in steps])
    due = history.due(7 * DAY)
    if due:
        assert truly >= 7 * DAY
        assert len(steps) >= 7 * 24 / 2, "at most two distances count for each sweep"
        assert all(loose for _, loose in steps[-MOST_HASTE:])


def test_a_clock_that_jumps_far_ahead_counts_as_one_sweep_at_most() -> None:
    history, _ = swept([HOUR, 4000 * DAY, HOUR, HOUR], [True] * 4)
    assert [one.seconds for one in history.unwanted.values()] == [3 * HOUR]


@given(st.lists(st.tuples(st.floats(0, 3 * HOUR), st.sampled_from([0.0, 400 * DAY, -400 * DAY])), max_size=30))
@settings(max_examples=40)
def test_in_one_process_no_jump_of_the_date_makes_anything_due_early(steps: list[tuple[float, float]]) -> None:
    history, now, truly = History(), NOW, 0.0
    for number, (gap, jump) in enumerate(steps):
        now += timedelta(seconds=gap + jump)
        history = history.after({Place("docker.io/a/b", "1")}, now, HOUR, gap if number else None)
        truly += gap if number else 0.0
        assert history.unwanted[Place("docker.io/a/b", "1")].seconds <= truly + 0.001


def test_after_the_grace_a_tag_is_due_and_not_before() -> None:
    hours = 7 * 24
    assert swept([HOUR] * (hours + 1), [True] * (hours + 1))[0].due(7 * DAY)
    assert not swept([HOUR] * hours, [True] * hours)[0].due(7 * DAY)
    assert not swept([HOUR] * (hours + 1), [True] * hours + [False])[0].due(7 * DAY)


def test_even_without_a_grace_it_takes_three_looks() -> None:
    assert [bool(swept([0.0] * count, [True] * count)[0].due(0)) for count in (1, 2, 3)] == [False, False, True]


@given(
    st.binary(max_size=200)
    | st.sampled_from(
        [
            b'{"version": 1, "unwanted": {"a": [1]}}',
            b'{"version": 1, "unwanted": {"docker.io/a/b:1": [Infinity, 1]}}',
            b'{"version": 1, "unwanted": {"docker.io/a/b:1": [9, Infinity]}}',
            b'{"version": 1, "unwanted": {"docker.io/a/b:1": [9, NaN]}}',
        ]
    )
)
@settings(max_examples=40)
def test_a_damaged_memory_makes_the_grace_begin_anew(content: bytes) -> None:
    assert not History.read(content.decode(errors="replace")).due(0)


def test_a_memory_is_read_as_it_was_written() -> None:
    history = swept([HOUR, HOUR], [True, True])[0]
    assert History.read(history.text()) == history


def loose(count: int) -> set[Place]:
    return {Place("docker.io/a/b", str(number)) for number in range(count)}


@pytest.mark.parametrize(("due", "total", "stops"), [(10, 10, False), (11, 22, False), (11, 21, True), (0, 5, False)])
def test_a_sweep_stops_where_it_would_remove_more_than_ten_and_more_than_half(
    due: int, total: int, stops: bool
) -> None:
    verdict = judge(loose(due), total, "")
    assert verdict.stopped is stops
    assert len(verdict.remove) == (0 if stops else due)


def test_a_persons_word_is_about_exactly_what_was_shown() -> None:
    shown = judge(loose(12), 12, "")
    assert shown.token in shown.message
    assert judge(loose(12), 12, shown.token).remove == loose(12)
    assert judge(loose(13), 13, shown.token).stopped
    assert judge(loose(12), 12, f"aaaa, {shown.token}").remove == loose(12)


def test_a_persons_word_counts_once() -> None:
    shown = judge(loose(12), 12, "")
    history = History(unwanted=swept([HOUR], [True])[0].unwanted).without(loose(12), confirmed=True)
    assert History.read(history.text()).confirmed == 1
    again = judge(loose(12), 12, shown.token, history.confirmed)
    assert again.stopped
    assert judge(loose(12), 12, again.token, history.confirmed).remove
