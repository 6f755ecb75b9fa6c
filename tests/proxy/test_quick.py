"""The short way gives the same answers as the long one, and counts them alike."""

from dataclasses import dataclass, field

import pytest
from flask.testing import FlaskClient

from proxy.app import create_app
from proxy.chain import Chain
from proxy.record import Exchange, Silent
from proxy.sources.stored import Stored
from registry.capability import capability
from registry.layout import Layout
from registry.manifest import parse_manifest
from registry.reference import Reference
from tests.rig.images import image

BUILT = image("quick")
KEY = b"a-key-of-capabilities-for-tests"
PATH = f"/v2/quay.io/team/app/manifests/{BUILT.digest}"
SEEN = ("Content-Type", "Content-Length", "Docker-Content-Digest", "ETag", "Docker-Distribution-API-Version")


@dataclass
class Counted(Silent):
    exchanges: list[Exchange] = field(default_factory=list)

    def ended(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def client(tmp_path_factory: pytest.TempPathFactory, counted: Counted) -> FlaskClient:
    layout = Layout(tmp_path_factory.mktemp("store"))
    for digest, blob in BUILT.blobs.items():
        layout.blobs.put(digest, blob)
    layout.tag(Reference.parse("quay.io/team/app:1"), parse_manifest(BUILT.raw, BUILT.media_type))
    return create_app(Chain([Stored(layout)]), lambda: [KEY], counted).test_client()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_same_answer_and_the_same_account(client: FlaskClient, counted: Counted, method: str) -> None:
    client.get(PATH).close()
    memory = client.open(PATH, method=method)
    mirror = client.open(f"/v2/team/app/manifests/{BUILT.digest}?ns=quay.io", method=method)
    assert memory.headers["Cache-Status"] == mirror.headers["Cache-Status"] == "kuik; hit; detail=memory"
    assert (memory.status_code, memory.data) == (mirror.status_code, mirror.data)
    assert {name: memory.headers[name] for name in SEEN} == {name: mirror.headers[name] for name in SEEN}
    mirror.close()
    _, short, long = counted.exchanges
    assert (short.method, short.kind, short.source, short.outcome, short.sent, short.image, short.what) == (
        (long.method, long.kind, long.source, long.outcome, long.sent, long.image, long.what)
    )


def test_what_is_private_is_no_more_open_by_it(client: FlaskClient) -> None:
    given = capability(KEY, Reference.parse("quay.io/team/app"))
    client.get(PATH).close()
    assert client.get(f"/v2/private/{given}/quay.io/team/app/manifests/{BUILT.digest}").status_code == 404
    assert client.get(f"/v2/private/{'0' * 32}/quay.io/team/app/manifests/{BUILT.digest}").status_code == 404
    assert client.post(PATH).status_code == 405
