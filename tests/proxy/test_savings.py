"""What node proxies report to a shield, how it adds up, and that a pull's numbers are there in the end."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hooks.shield import Shield as HooksShield
from proxy.savings import MOST, Report, Reporter, Totals
from proxy.shield.savings import Savings
from tests.rig import skopeo
from tests.rig.components import AUTHORIZED, TOKEN, Component, proxy, shield
from tests.rig.images import multi_platform
from tests.rig.processes import free_port, wait_until
from tests.rig.upstream import Upstream

ONE, OTHER, THIRD = "1" * 32, "2" * 32, "3" * 32
SINCE = 1_000_000.0


class Clock:
    """Says what a test sets."""

    def __init__(self) -> None:
        self.now = SINCE

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def counting(folder: Path, clock: Clock, fetched: Totals | None = None, most: int = 100) -> Savings:
    return Savings(folder / "spool" / "savings.json", lambda: fetched or Totals(), clock, most)


def said(savings: Savings) -> tuple[object, object, object, object]:
    facts = savings.facts()
    return facts["servedBytes"], facts["servedPulls"], facts["fetchedBytes"], facts["fetchedPulls"]


def report(process: str, size: int, pulls: int = 0, age: int = 0) -> Report:
    return Report(process, age, Totals(size, pulls))


def test_repeated_late_and_missing_reports_do_no_harm_and_a_new_process_begins_at_zero(
    tmp_path: Path, clock: Clock
) -> None:
    savings = counting(tmp_path, clock, Totals(40, 3))
    for told in (report(ONE, 100, 1), report(ONE, 100, 1), report(ONE, 50), report(ONE, 300, 4), report(OTHER, 7, 1)):
        savings.add(told)
    assert said(savings) == (307, 5, 40, 3)
    assert savings.facts()["since"] == "1970-01-12T13:46:40Z"


def test_a_restart_keeps_the_sums_and_a_kill_loses_nothing_that_is_reported_again(tmp_path: Path, clock: Clock) -> None:
    first = counting(tmp_path, clock, Totals(40, 3))
    first.add(report(ONE, 100, 1))
    first.keep()
    first.add(report(ONE, 170, 2))  # and is killed
    clock.now += 60
    again = counting(tmp_path, clock, Totals(2, 1))
    assert said(again) == (100, 1, 42, 4)
    again.add(report(ONE, 180, 2, age=60))
    assert said(again) == (180, 2, 42, 4)
    assert again.facts()["since"] == first.facts()["since"]


@pytest.mark.parametrize(
    "content", [None, b"", b"[]", b'{"since": 1}', b"[" * 2000, b'{"since":1e999,"completeSince":0}']
)
def test_without_its_file_a_shield_counts_anew_and_only_what_comes_from_now_on(
    tmp_path: Path, clock: Clock, content: bytes | None
) -> None:
    first = counting(tmp_path, clock)
    first.add(report(ONE, 100))
    first.keep()
    file = tmp_path / "spool" / "savings.json"
    file.unlink() if content is None else file.write_bytes(content)
    clock.now += 1000
    again = counting(tmp_path, clock)
    again.add(report(ONE, 120, age=1000))
    assert said(again) == (0, 0, 0, 0), "what it served before is not known to be saved since"
    again.add(report(ONE, 150, age=1060))
    again.add(report(OTHER, 5, age=0))
    assert said(again) == (35, 0, 0, 0)
    again.keep()
    assert said(counting(tmp_path, clock)) == (35, 0, 0, 0)


def test_no_more_processes_are_remembered_than_there_may_be_and_one_that_comes_back_counts_nothing_twice(
    tmp_path: Path, clock: Clock
) -> None:
    savings = counting(tmp_path, clock, most=2)
    for process in (ONE, OTHER, ONE):
        savings.add(report(process, 10))
    clock.now += 60
    savings.add(report(THIRD, 10, age=30))
    assert said(savings)[0] == 30
    savings.keep()
    assert len(json.loads((tmp_path / "spool" / "savings.json").read_bytes())["processes"]) == 2
    savings.add(report(OTHER, 15, age=60))
    assert said(savings)[0] == 30
    savings.add(report(OTHER, 25, age=120))
    assert said(savings)[0] == 40


def test_numbers_have_an_end(tmp_path: Path, clock: Clock) -> None:
    savings = counting(tmp_path, clock, Totals(MOST, MOST))
    savings.add(report(ONE, MOST, MOST))
    savings.add(report(OTHER, MOST, MOST))
    savings.keep()
    assert said(counting(tmp_path, clock, Totals(5, 5))) == (MOST, MOST, MOST, MOST)


def test_a_disk_that_takes_nothing_costs_the_file_alone(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "spool").write_bytes(b"")
    savings = counting(tmp_path, clock)
    savings.add(report(ONE, 10))
    savings.keep()
    assert said(savings)[0] == 10


@given(st.lists(st.tuples(st.sampled_from([ONE, OTHER]), st.integers(0, 50), st.booleans()), max_size=12))
@settings(max_examples=25, deadline=None)
def test_kills_and_losses_in_any_order_end_in_the_true_sum(
    tmp_path_factory: pytest.TempPathFactory, deeds: list[tuple[str, int, bool]]
) -> None:
    folder, clock, totals = tmp_path_factory.mktemp("savings"), Clock(), {ONE: 0, OTHER: 0}
    savings = counting(folder, clock)
    savings.keep()
    for process, more, kept in deeds:
        totals[process] += more
        savings.add(report(process, totals[process], age=int(clock.now - SINCE)))
        if kept:
            savings.keep()
        clock.now += 10
        savings = counting(folder, clock)
    for process, total in totals.items():
        savings.add(report(process, total, age=int(clock.now - SINCE)))
    assert said(savings)[0] == sum(totals.values())


GOOD = {"process": ONE, "age": 1, "bytes": 2, "pulls": 3}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"[" * 900, "body"),
        (b"[]", "process"),
        (json.dumps(GOOD | {"process": "x" * 32}).encode(), "process"),
        (json.dumps(GOOD | {"process": ONE + "1"}).encode(), "process"),
        (json.dumps(GOOD | {"age": None}).encode(), "age"),
        (json.dumps(GOOD | {"bytes": -1}).encode(), "bytes"),
        (json.dumps(GOOD | {"bytes": True}).encode(), "bytes"),
        (json.dumps(GOOD | {"bytes": 1.5}).encode(), "bytes"),
        (json.dumps(GOOD | {"pulls": MOST + 1}).encode(), "pulls"),
    ],
)
def test_a_bad_report_is_refused_by_its_field(body: bytes, field: str) -> None:
    with pytest.raises(ValueError, match=f"^(the )?{field}"):
        Report.read(body)


def test_a_report_arrives_as_it_was_made() -> None:
    made = Report(ONE, 5, Totals(MOST, 1))
    assert Report.read(json.dumps(made.document()).encode()) == made


def test_reporting_without_a_shield_or_to_a_dead_one_does_nothing() -> None:
    Reporter([], TOKEN, Totals).start()
    Reporter([f"http://127.0.0.1:{free_port()}"], TOKEN, Totals).report()
    Reporter(["http://[bad"], TOKEN, Totals).report()


@pytest.mark.needs("skopeo")
def test_what_two_nodes_pull_and_upstream_sent_once_is_told_and_outlives_the_processes(
    upstream: Upstream, tmp_path: Path
) -> None:
    built = multi_platform("saved")
    reference = upstream.push(built, "team/saved", "1")
    upstream.forget_requests()
    behind = shield(tmp_path / "shield", "--plain-http", upstream.host, "--freshness", "0").start()
    try:
        for turn in ("cold", "warm"):
            node = proxy(tmp_path / turn, "--shield", behind.url, "--plain-http", upstream.host).start()
            try:
                skopeo.pull(node.image(reference), tmp_path / f"{turn}-layout", "--all")
            finally:
                node.stop()  # which reports, at its end
        whole = sum(len(blob) for blob in built.blobs.values()) + sum(len(raw) for _, raw in built.manifests.values())
        wait_until(lambda: facts(behind)["servedPulls"] == 2 * len(built.manifests), "both have reported")
        told = facts(behind)
        assert told["fetchedPulls"] == upstream.count("GET", "/manifests/") == len(built.manifests)
        assert 2 * (whole - 2000) < told["servedBytes"] <= 2 * whole + 100
        assert told["servedBytes"] - told["fetchedBytes"] > whole * 0.9
        seen = HooksShield(behind.url, TOKEN, timeout=5.0).count(behind.url)
        assert seen
        assert (seen.served_bytes, seen.served_pulls) == (told["servedBytes"], told["servedPulls"])
        assert (seen.fetched_bytes, seen.fetched_pulls) == (told["fetchedBytes"], told["fetchedPulls"])
        behind.stop()
        behind.start()
        again = facts(behind)
        assert again["since"] == told["since"]
        assert {name: again[name] for name in told} == told
    finally:
        behind.stop()


def facts(component: Component) -> dict[str, int]:
    reply = component.get("/facts/savings", AUTHORIZED)
    assert reply.status == 200
    found = json.loads(reply.body)
    assert isinstance(found, dict)
    return found
