"""The shield's HTTP face: who may ask, and the fact whether an image is public."""

import base64
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from proxy.savings import MAX_BODY, Totals
from proxy.shield.app import create_app
from proxy.shield.origin import Shield
from proxy.shield.savings import Savings
from proxy.shield.spool import Spool
from registry.blobs import BlobFolder
from registry.client import Client
from registry.credentials import Credentials
from registry.reference import Reference
from tests.rig import reader
from tests.rig.images import image
from tests.rig.upstream import Upstream

TOKEN = {"Authorization": "Bearer the-token"}
BASIC = {"Authorization": "Basic " + base64.b64encode(b"kuik:the-token").decode()}


def make(folder: Path, client: Client | None = None) -> FlaskClient:
    shield = Shield(client or reader.client(), Spool(BlobFolder(folder), 1 << 20), anonymous=reader.client())
    savings = Savings(folder / "savings.json", lambda: Totals(7, 1))
    return create_app(shield, "the-token", savings=savings).test_client()


@pytest.mark.parametrize(
    "path", ["/v2/", "/v2/quay.io/a/manifests/1", "/facts/access?image=a", "/facts/savings", "/elsewhere"]
)
@pytest.mark.parametrize(
    "header", [None, "Bearer", "Bearer other", "Basic other", "Basic b3RoZXI6b3RoZXI=", "the-token"]
)
def test_who_does_not_know_the_token_gets_nothing(tmp_path: Path, path: str, header: str | None) -> None:
    response = make(tmp_path).get(path, headers={"Authorization": header} if header else {})
    assert response.status_code == 401
    assert response.json
    assert response.json["errors"][0]["code"] == "DENIED"


@pytest.mark.parametrize("header", [TOKEN, BASIC])
def test_who_knows_it_gets_an_answer(tmp_path: Path, header: dict[str, str]) -> None:
    assert make(tmp_path).get("/v2/", headers=header).status_code == 200


def test_without_a_token_there_is_no_shield(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="token"):
        create_app(Shield(reader.client(), Spool(BlobFolder(tmp_path), 1)), "")


def test_an_image_is_public_private_or_not_known(
    tmp_path: Path, upstream: Upstream, private_upstream: Upstream
) -> None:
    built = image("fact")
    public, private = upstream.push(built, "team/app", "1"), private_upstream.push(built, "team/app", "1")

    def keyring(_: Reference) -> list[Credentials]:
        return [Credentials(private_upstream.user, private_upstream.password)]

    client = make(tmp_path, reader.client(keyring))

    def access(image_name: str) -> object:
        return client.get("/facts/access", query_string={"image": image_name}, headers=TOKEN).json

    upstream.forget_requests()
    for _ in range(3):
        assert access(public) == {"image": public, "access": "public"}
        assert access(private) == {"image": private, "access": "private"}
        assert access(f"{upstream.host}/team/none:1") == {"image": f"{upstream.host}/team/none:1", "access": "unknown"}
    assert upstream.count("HEAD", "/team/app/") == 1
    host, _, rest = private.partition("/")
    pulled = client.get(f"/v2/{host.replace(':', '__')}/team/app/manifests/1", headers=TOKEN)
    assert (rest, pulled.status_code, pulled.data) == ("team/app:1", 200, built.raw)


def test_what_is_no_image_is_refused_in_words(tmp_path: Path) -> None:
    response = make(tmp_path).get("/facts/access?image=UPPER", headers=TOKEN)
    assert response.status_code == 400
    assert "lower case" in response.get_data(as_text=True)


def test_what_a_node_proxy_served_is_taken_from_who_knows_the_token_and_bounded(tmp_path: Path) -> None:
    client = make(tmp_path)
    good = {"process": "a" * 32, "age": 0, "bytes": 50, "pulls": 2}
    assert client.post("/served", json=good).status_code == 401
    assert client.post("/served", json=good, headers=TOKEN).status_code == 204
    refused: list[dict[str, object]] = [good | {"bytes": -1}, good | {"more": "x" * MAX_BODY}, {}]
    for bad in refused:
        response = client.post("/served", json=bad, headers=TOKEN)
        assert (response.status_code, response.is_json) == (400, True)
    assert client.get("/served", headers=TOKEN).status_code == 405
    told = client.get("/facts/savings", headers=TOKEN).json
    assert told
    del told["since"]
    assert told == {"servedBytes": 50, "servedPulls": 2, "fetchedBytes": 7, "fetchedPulls": 1}
