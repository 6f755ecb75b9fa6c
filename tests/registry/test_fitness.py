"""The check of a registry, on one that meets most requirements and on others that break them one by one."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.credentials import Credentials
from registry.fitness import REPOSITORY, Finding, Place, check
from registry.requirements import REQUIREMENTS, Need
from registry.transport import NO_RETRIES, Transport, host_settings
from tests.rig.faulty import Fault, Relay, corrupt, error, ignore_range
from tests.rig.upstream import Upstream

DOCS = Path(__file__).parents[2] / "docs" / "registry.md"
OLD = {Need.SPARSE, Need.TAGS_GO}
"""What distribution 2 cannot do."""


def findings(host: str, credentials: Credentials | None = None) -> dict[Need, Finding]:
    transport = Transport(host_settings([host]), retries=NO_RETRIES)
    return {finding.need: finding for finding in check(transport, Place(host, credentials))}


def failing(found: dict[Need, Finding]) -> set[Need]:
    return {need for need, finding in found.items() if finding.fails}


def test_distribution_2_fails_what_it_cannot_do_and_is_told_what_to_do(private_upstream: Upstream) -> None:
    found = findings(private_upstream.host, Credentials("alice", "s3cret-enough"))
    assert found.keys() == REQUIREMENTS.keys()
    assert failing(found) == OLD
    told = str(found[Need.SPARSE])
    assert told.startswith("FAILS")
    assert "MANIFEST_BLOB_UNKNOWN" in told
    assert "platforms: none" in told
    assert "s3cret-enough" not in " ".join(str(finding) for finding in found.values())


def test_a_registry_that_is_open_to_anybody_is_told_so(upstream: Upstream) -> None:
    assert failing(findings(upstream.host)) == {*OLD, Need.GUARDED}


@pytest.mark.parametrize("credentials", [None, Credentials("alice", "wrong")])
def test_wrong_credentials_end_the_check_at_once(private_upstream: Upstream, credentials: Credentials | None) -> None:
    assert findings(private_upstream.host, credentials).keys() == {Need.ANSWERS}
    assert private_upstream.count("POST", "") == 0


def test_a_registry_that_is_away(upstream: Upstream) -> None:
    upstream.stop()
    found = findings(upstream.host)
    assert failing(found) == {Need.ANSWERS}
    assert "connection refused" in str(found[Need.ANSWERS])


@pytest.mark.parametrize(
    ("fault", "method", "path", "need"),
    [
        (lambda: error(405, "UNSUPPORTED"), "POST", "/blobs/uploads/", Need.BLOBS),
        (lambda: error(404, "NAME_UNKNOWN"), "POST", "/private/", Need.PATHS),
        (ignore_range, "GET", "/blobs/", Need.RANGES),
        (lambda: corrupt(20), "GET", "/manifests/kuik-check-one", Need.MANIFESTS),
        (lambda: error(400, "TAG_INVALID"), "PUT", "/manifests/kuik-check-other", Need.DOCKER),
        (lambda: error(401, "UNAUTHORIZED"), "GET", "/tags/list", Need.LISTED),
    ],
)
def test_what_a_registry_does_not_do_is_found(
    upstream: Upstream, fault: Callable[[], Fault], method: str, path: str, need: Need
) -> None:
    with Relay(upstream.host) as relay:
        relay.rule(fault(), method=method, path=path, times=None)
        assert need in failing(findings(relay.host))


def test_without_a_catalog_kuik_does_with_less(upstream: Upstream) -> None:
    with Relay(upstream.host) as relay:
        relay.rule(error(404, "UNSUPPORTED"), path="_catalog", times=None)
        found = findings(relay.host)
    assert str(found[Need.CATALOG]).startswith("missing")
    assert not found[Need.CATALOG].fails


def test_a_reader_that_shows_what_was_before_is_found(upstream: Upstream, tmp_path: Path) -> None:
    """Another registry stands for the reader: it has what the first check wrote there, and nothing newer."""
    other = Upstream(tmp_path / "other").start()
    try:
        transport = Transport(host_settings([upstream.host, other.host]), retries=NO_RETRIES)
        found = {one.need: one for one in check(transport, Place(upstream.host), [Place(other.host)])}
    finally:
        other.stop()
    assert {Need.RANGES, Need.MANIFESTS, Need.FRESH} <= failing(found)


def test_a_second_check_writes_nothing_new(upstream: Upstream) -> None:
    def stored() -> set[str]:
        data = upstream.folder / "data"
        return {str(path.relative_to(data)) for path in data.rglob("data")}

    findings(upstream.host)
    before = stored()
    findings(upstream.host)
    assert stored() == before
    assert upstream.count("PUT", REPOSITORY) > 0


def test_the_documentation_names_every_requirement() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (.*) \| (.*) \|$", DOCS.read_text(), re.MULTILINE)
    wanted = [
        (str(need), one.what if one.must else f"{one.what} (advised)", one.advice) for need, one in REQUIREMENTS.items()
    ]
    assert rows == wanted
