"""`Cache-Control: only-if-cached`: a question that no proxy passes on, and that leaves no trace behind."""

import pytest
from werkzeug.test import TestResponse

from proxy.app import create_app
from proxy.chain import Chain
from proxy.record import Exchange
from proxy.shield.app import create_app as create_shield
from proxy.sources.message import Request
from registry.errors import Corrupt, NotFound
from tests.proxy.test_chain import A_BLOB, A_TAG, BLOB, BY_DIGEST, DIGEST, Fake, read

ONLY = {"Cache-Control": "only-if-cached"}
PATHS = (
    "/v2/quay.io/a/manifests/1",
    f"/v2/quay.io/a/manifests/{DIGEST}",
    f"/v2/quay.io/a/blobs/{DIGEST}",
    "/v2/a/manifests/1?ns=quay.io",
    "/v2/quay.io/a/tags/list",
)


class Ended(list[Exchange]):
    """A Recorder that remembers."""

    def begun(self) -> None:
        """Nothing."""

    def asks(self, image: str) -> None:
        """Nothing."""

    def ended(self, exchange: Exchange) -> None:
        self.append(exchange)


def ask(chain: Chain, path: str, method: str = "GET") -> TestResponse:
    return create_app(chain).test_client().open(path, method=method, headers=ONLY)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", PATHS)
def test_nobody_but_who_holds_copies_is_asked(path: str, method: str) -> None:
    store, shield, upstream = Fake("registry", NotFound("none")), Fake("shield"), Fake("upstream")
    answer = ask(Chain([store], [shield], [upstream]), path, method)
    assert answer.status_code == 404
    assert (len(store.asked), shield.asked, upstream.asked) == (1, [], [])
    assert ask(Chain([], [shield], [upstream]), path, method).status_code == 404
    assert (shield.asked, upstream.asked) == ([], [])


def test_what_is_in_memory_is_no_copy() -> None:
    store, shield = Fake("registry"), Fake("shield")
    chain = Chain([store], [shield])
    create_app(chain).test_client().get(PATHS[1])
    create_app(chain).test_client().get(PATHS[1])
    assert len(store.asked) == 1
    store.fails = NotFound("gone since")
    assert ask(chain, PATHS[1]).status_code == 404
    assert not shield.asked


def test_it_brings_nothing_into_memory_and_no_blob_into_doubt() -> None:
    store = Fake("registry")
    chain = Chain([store])
    for path in PATHS[1:3]:
        assert ask(chain, path).data == BLOB
        assert ask(chain, path).data == BLOB
    assert chain.remembered(BY_DIGEST) is None
    assert not chain.suspicion.doubted(DIGEST, ["registry"])


def test_bytes_are_hashed_and_a_damaged_copy_is_left_for_another_one() -> None:
    bad, good = Fake("registry-0", content=b"x" * len(BLOB)), Fake("registry-1")
    chain = Chain([bad, good])
    if chain.order(A_BLOB)[0] is good:
        bad.name, good.name = good.name, bad.name
    with pytest.raises(Corrupt):
        read(chain.fetch(Request(A_BLOB.route, only_cached=True)))
    assert ask(chain, PATHS[2]).data == BLOB


def test_the_proxy_confirms_that_it_knows() -> None:
    assert ask(Chain(), "/v2/").headers["Preference-Applied"] == "only-if-cached"
    assert "Preference-Applied" not in create_app(Chain()).test_client().get("/v2/").headers


def test_it_spares_upstream_nothing() -> None:
    ended = Ended()
    for headers in (ONLY, {}):
        with create_app(Chain([Fake("registry")]), recorder=ended).test_client().get(PATHS[2], headers=headers) as one:
            assert one.data == BLOB
    assert [one.rehearsed for one in ended] == [True, False]


def test_a_shield_has_no_copies() -> None:
    class Asked:
        def fetch(self, request: Request) -> None:
            raise AssertionError(request)

    app = create_shield(Asked(), "token")  # type: ignore[arg-type]  # nothing else of it is asked
    answer = app.test_client().get(PATHS[0], headers=ONLY | {"Authorization": "Bearer token"})
    assert answer.status_code == 404


def test_order() -> None:
    chain = Chain([Fake("registry")], [Fake("shield")], [Fake("upstream")])
    for one in (A_TAG, A_BLOB, BY_DIGEST):
        asked = Request(one.route, only_cached=True)
        assert [source.name for source in chain.order(asked)] == ["registry"]
