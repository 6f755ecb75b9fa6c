"""The line of a pull: its requests together, what troubled it, and nothing before it is over."""

import logging

import pytest

from proxy.pulls import Pulls
from proxy.record import SERVED, Exchange
from proxy.story import Asked, Resumed

IMAGE = "quay.io/team/app"
NAME = f"{IMAGE}:1"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def exchange(kind: str, sent: int, **more: object) -> Exchange:
    fields = {"method": "GET", "source": "registry", "outcome": SERVED, "first": 0.0, "whole": 0.0, "image": IMAGE}
    named = {"what": NAME if kind == "manifests" else f"{IMAGE}@sha256:1"}
    return Exchange(kind=kind, sent=sent, **(fields | named | more))  # type: ignore[arg-type]


@pytest.fixture
def pulls(caplog: pytest.LogCaptureFixture) -> tuple[Pulls, Clock]:
    caplog.set_level(logging.INFO, logger="kuik.pull")
    clock = Clock()
    return Pulls(clock, quiet=3600), clock


def test_one_line_when_all_requests_ended_and_some_seconds_passed(
    pulls: tuple[Pulls, Clock], caplog: pytest.LogCaptureFixture
) -> None:
    told, clock = pulls
    for moment, ended in enumerate((exchange("manifests", 500), exchange("blobs", 2_000_000))):
        told.asks(IMAGE)
        clock.now = float(moment)
        told.ended(ended)
    told.asks(IMAGE)
    clock.now = 4000.0
    told.write()
    assert caplog.messages == []
    told.ended(exchange("blobs", 7_600_000, source="shield", asked=[Asked("registry", "NotFound", 0.1)]))
    told.write()
    assert caplog.messages == []
    clock.now += 3600
    told.write()
    told.write()
    (line,) = caplog.messages
    sources = "shield 7.6 MB, registry 2.0 MB"
    assert line == f"pulled {NAME}: 2 blobs, 9.6 MB in 4000.00 s from {sources} (registry: NotFound)"
    assert vars(caplog.records[0])["fields"]["sources"] == {"registry": 2_000_500, "shield": 7_600_000}


def test_a_transfer_that_went_on_elsewhere_says_where_and_counts_for_both(
    pulls: tuple[Pulls, Clock], caplog: pytest.LogCaptureFixture
) -> None:
    told, _ = pulls
    told.asks(IMAGE)
    broken = Resumed("registry", "shield", 300, "Unreachable")
    told.ended(exchange("blobs", 1000, resumed=[broken], start=0))
    told.write(everything=True)
    (line,) = caplog.messages
    assert line.startswith(f"pulled blobs of {IMAGE}: 1 blob, 1.0 kB in 0.00 s from shield 700 B, registry 300 B (")
    assert "registry broke off at byte 300 (Unreachable), shield went on" in line


def test_a_head_is_a_look_up_and_what_failed_is_told_elsewhere(
    pulls: tuple[Pulls, Clock], caplog: pytest.LogCaptureFixture
) -> None:
    told, _ = pulls
    told.asks(IMAGE)
    told.ended(exchange("manifests", 0, outcome="NotFound", source=""))
    told.write(everything=True)
    assert caplog.messages == []
    told.asks(IMAGE)
    told.ended(exchange("manifests", 0, method="HEAD"))
    told.write(everything=True)
    assert caplog.messages == [f"looked up {NAME}: 0 B in 0.00 s from registry 0 B"]
