"""What is read from any object, and the API's time format."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube.types import Key, entries, format_time, group_key, labels, owner, parse_time, part, texts


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1)))  # noqa: DTZ001 - made aware below
def test_times_are_written_and_read_back(moment: datetime) -> None:
    whole = moment.replace(microsecond=0, tzinfo=UTC)
    assert parse_time(format_time(whole)) == whole


@pytest.mark.parametrize("text", [None, 5, "", "soon", "2026-03-01", "2026-13-01T00:00:00Z", "2026-03-01T00:00:00"])
def test_what_is_no_time_is_none(text: Any) -> None:
    assert parse_time(text) is None


def test_other_zones_and_fractions_are_read() -> None:
    assert parse_time("2026-03-01T13:00:00.5+01:00") == datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC)


def test_kinds_are_named_as_metacontroller_does() -> None:
    assert group_key("batch/v1", "Job") == "Job.batch/v1"
    assert group_key("v1", "Pod") == "Pod.v1"


@pytest.mark.parametrize("odd", [{}, {"metadata": None}, {"metadata": []}, {"metadata": {"labels": "x"}}])
def test_odd_objects_read_as_empty(odd: dict[str, Any]) -> None:
    assert (labels(odd), owner(odd), part(odd, "spec"), entries(odd, "x"), texts(odd, "x")) == ({}, None, {}, [], [])


def test_the_owner_is_the_controller() -> None:
    references = [{"name": "a"}, {"name": "b", "controller": True}]
    found = owner({"metadata": {"ownerReferences": references}})
    assert found is not None
    assert found["name"] == "b"


def test_keys() -> None:
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x", "namespace": "n"}}
    assert Key.of(job) == Key("batch/v1", "Job", "n", "x")
