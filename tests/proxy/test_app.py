"""The HTTP face: headers, ranges and errors as the distribution-spec has them, over an image layout folder."""

import pytest
from flask.testing import FlaskClient

from proxy.app import create_app
from proxy.chain import Chain
from proxy.sources.stored import Stored
from registry.digest import Digest
from registry.layout import Layout
from registry.manifest import parse_manifest
from registry.reference import Reference
from tests.rig.images import BuiltImage, image

BUILT: BuiltImage = image("stored")
BLOB_DIGEST, BLOB = max(BUILT.blobs.items(), key=lambda item: len(item[1]))
NAME = "/v2/quay.io/team/app"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    layout = Layout(tmp_path_factory.mktemp("store"))
    for digest, blob in BUILT.blobs.items():
        layout.blobs.put(digest, blob)
    for tag in ("2", "1"):
        layout.tag(Reference.parse(f"quay.io/team/app:{tag}"), parse_manifest(BUILT.raw, BUILT.media_type))
    return create_app(Chain([Stored(layout)])).test_client()


@pytest.mark.parametrize(
    "path", [f"{NAME}/manifests/1", "/v2/team/app/manifests/1?ns=quay.io", f"{NAME}/manifests/{BUILT.digest}"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_manifest_by_tag_by_digest_and_as_a_mirror(client: FlaskClient, path: str, method: str) -> None:
    response = client.open(path, method=method)
    assert response.status_code == 200
    assert response.data == (BUILT.raw if method == "GET" else b"")
    assert response.headers["Content-Type"] == BUILT.media_type
    assert response.headers["Content-Length"] == str(len(BUILT.raw))
    assert response.headers["Docker-Content-Digest"] == str(BUILT.digest)
    assert response.headers["Docker-Distribution-API-Version"] == "registry/2.0"
    assert response.headers["Cache-Status"].startswith("kuik; hit")


@pytest.mark.parametrize(
    ("wanted", "status", "body"),
    [
        (None, 200, BLOB),
        ("bytes=5-9", 206, BLOB[5:10]),
        ("bytes=4090-", 206, BLOB[4090:]),
        ("bytes=-7", 206, BLOB[-7:]),
        ("bytes=0-1,5-6", 200, BLOB),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_blob_and_its_ranges(client: FlaskClient, wanted: str | None, status: int, body: bytes, method: str) -> None:
    response = client.open(f"{NAME}/blobs/{BLOB_DIGEST}", method=method, headers={"Range": wanted} if wanted else {})
    assert (response.status_code, response.data) == (status, body if method == "GET" else b"")
    assert response.headers["Content-Length"] == str(len(body))
    assert response.headers["Accept-Ranges"] == "bytes"
    assert response.headers["Docker-Content-Digest"] == str(BLOB_DIGEST)
    if status == 206:
        start = BLOB.index(body)
        assert response.headers["Content-Range"] == f"bytes {start}-{start + len(body) - 1}/{len(BLOB)}"


def test_a_range_beyond_the_end_says_how_long_the_blob_is(client: FlaskClient) -> None:
    response = client.get(f"{NAME}/blobs/{BLOB_DIGEST}", headers={"Range": f"bytes={len(BLOB)}-"})
    assert (response.status_code, response.headers["Content-Range"]) == (416, f"bytes */{len(BLOB)}")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("path", "digest"),
    [
        (f"{NAME}/manifests/1", BUILT.digest),
        (f"{NAME}/manifests/{BUILT.digest}", BUILT.digest),
        (f"{NAME}/blobs/{BLOB_DIGEST}", BLOB_DIGEST),
    ],
)
@pytest.mark.parametrize(("tags", "status"), [('"{}"', 304), ('"x", W/"{}"', 304), ("*", 304), ('"sha256:0"', 200)])
def test_what_the_client_has_is_not_sent_again(
    client: FlaskClient, method: str, path: str, digest: Digest, tags: str, status: int
) -> None:
    response = client.open(path, method=method, headers={"If-None-Match": tags.format(digest)})
    assert response.status_code == status
    assert (response.headers["ETag"], response.headers["Docker-Content-Digest"]) == (f'"{digest}"', str(digest))
    assert "Cache-Status" in response.headers
    if status == 304:
        assert not response.data
        assert not {"Content-Length", "Content-Type"} & set(response.headers.keys())
    response.close()


def test_a_condition_finds_nothing_where_nothing_is(client: FlaskClient) -> None:
    missing = Digest.of(b"none")
    response = client.get(f"{NAME}/blobs/{missing}", headers={"If-None-Match": f'"{missing}"'})
    assert response.status_code == 404


@pytest.mark.parametrize(
    ("tag", "status"),
    [('"{}"', 206), ('W/"{}"', 200), ('"sha256:0"', 200), ("Wed, 21 Oct 2026 07:28:00 GMT", 200), ("nonsense", 200)],
)
def test_a_range_of_what_the_client_has_a_part_of(client: FlaskClient, tag: str, status: int) -> None:
    headers = {"Range": "bytes=5-9", "If-Range": tag.format(BLOB_DIGEST)}
    response = client.get(f"{NAME}/blobs/{BLOB_DIGEST}", headers=headers)
    assert (response.status_code, response.data) == (status, BLOB[5:10] if status == 206 else BLOB)


@pytest.mark.parametrize(
    ("query", "tags"), [("", ["1", "2"]), ("?n=1", ["1"]), ("?n=9&last=1", ["2"]), ("?n=x", ["1", "2"])]
)
def test_the_tags_of_a_repository(client: FlaskClient, query: str, tags: list[str]) -> None:
    assert client.get(f"{NAME}/tags/list{query}").json == {"name": "team/app", "tags": tags}
    assert client.get(f"/v2/quay.io/team/other/tags/list{query}").status_code == 404


@pytest.mark.parametrize("path", ["/v2/", "/v2"])
def test_it_is_a_registry(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    assert (response.status_code, response.json) == (200, {})


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", f"{NAME}/manifests/none", 404, "MANIFEST_UNKNOWN"),
        ("GET", f"{NAME}/blobs/{Digest.of(b'none')}", 404, "BLOB_UNKNOWN"),
        ("GET", f"{NAME}/blobs/sha256:12", 400, "DIGEST_INVALID"),
        ("GET", "/v2/quay.io/UPPER/manifests/1", 400, "NAME_INVALID"),
        ("GET", "/v2/quay.io/manifests/1", 400, "NAME_INVALID"),
        ("GET", "/v2/nginx/manifests/1", 404, "NAME_UNKNOWN"),
        ("GET", "/v2/_catalog", 404, "NAME_UNKNOWN"),
        ("GET", "/elsewhere", 404, "NAME_UNKNOWN"),
        ("POST", f"{NAME}/blobs/uploads/", 405, "UNSUPPORTED"),
        ("PUT", f"{NAME}/manifests/1", 405, "UNSUPPORTED"),
        ("PATCH", f"{NAME}/blobs/uploads/1", 405, "UNSUPPORTED"),
        ("DELETE", f"{NAME}/manifests/1", 405, "UNSUPPORTED"),
        ("OPTIONS", f"{NAME}/manifests/1", 405, "UNSUPPORTED"),
    ],
)
def test_what_is_refused_is_told_as_the_spec_s_json(
    client: FlaskClient, method: str, path: str, status: int, code: str
) -> None:
    response = client.open(path, method=method)
    assert response.status_code == status
    assert response.json
    assert [error["code"] for error in response.json["errors"]] == [code]
    assert len(response.json["errors"][0]["message"]) > 20
    assert ("Allow" in response.headers) == (status == 405)


def test_a_log_line_tells_what_was_asked_and_where_from(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", logger="kuik.pull"):
        client.get(f"{NAME}/manifests/1?token=s3cret").close()
        client.get(f"{NAME}/manifests/none").close()
        client.get(f"/v2/private/{'0123456789abcdef' * 2}/nothing?n=s3cret").close()
    found, missed, odd = (record.getMessage() for record in caplog.records)
    assert found.startswith(f"GET quay.io/team/app:1: 200, {len(BUILT.raw)} bytes from registry in ")
    assert missed.startswith("GET quay.io/team/app:none: 404 after ")
    assert "NotFound" in missed
    assert "/v2/private/" in odd
    assert "0123456789abcdef" not in caplog.text
    assert "s3cret" not in caplog.text
