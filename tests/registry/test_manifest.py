"""Manifests and indexes: read as they are, refused when they are something else."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.digest import Digest
from registry.errors import Corrupt, RegistryError, Unsupported
from registry.manifest import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    MAX_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Manifest,
    Platform,
    parse_manifest,
)
from tests.rig.images import image, multi_platform

BLOB = {"mediaType": "application/octet-stream", "digest": str(Digest.of(b"x")), "size": 1}


def read(document: Any, declared: str = "") -> Manifest:
    return parse_manifest(json.dumps(document).encode(), declared)


@pytest.mark.parametrize("docker", [False, True])
def test_an_image_and_an_index_are_read(docker: bool) -> None:
    one, many = image("m", layers=3, docker=docker), multi_platform("m", docker=docker)
    manifest, index = parse_manifest(one.raw, one.media_type, one.digest), parse_manifest(many.raw)
    assert {blob.digest: blob.size for blob in manifest.blobs} == {d: len(b) for d, b in one.blobs.items()}
    assert not manifest.is_index
    assert manifest.descriptor.size == len(one.raw)
    assert index.is_index
    assert index.digest == many.digest
    assert [str(child.platform) for child in index.manifests] == ["linux/amd64", "linux/arm64"]
    assert index.blobs == ()


@pytest.mark.parametrize(
    ("document", "declared", "kind"),
    [
        ({"mediaType": OCI_INDEX, "manifests": []}, OCI_MANIFEST, OCI_INDEX),
        ({"manifests": []}, "", OCI_INDEX),
        ({"manifests": []}, DOCKER_LIST, DOCKER_LIST),
        ({"config": BLOB, "layers": [BLOB]}, "text/plain", OCI_MANIFEST),
        ({"config": BLOB, "layers": []}, f"{DOCKER_MANIFEST}; charset=utf-8", DOCKER_MANIFEST),
        ({"mediaType": {}, "layers": []}, "", OCI_MANIFEST),
        ({"mediaType": ["x"], "layers": []}, "", OCI_MANIFEST),
    ],
)
def test_kinds(document: Any, declared: str, kind: str) -> None:
    assert read(document, declared).media_type == kind


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], "not a JSON object"),
        ({}, "no image manifest or index"),
        ({"mediaType": "text/html"}, "text/html"),
        ({"layers": "x", "config": BLOB}, "layers is not a list"),
        ({"layers": [BLOB] * 10_001}, "at most 10000"),
        ({"layers": [None]}, "layers[0] is not an object"),
        ({"layers": [BLOB, {**BLOB, "size": -1}]}, "layers[1].size"),
        ({"layers": [{**BLOB, "size": True}]}, "layers[0].size"),
        ({"layers": [{**BLOB, "size": "1"}]}, "layers[0].size"),
        ({"layers": [{**BLOB, "digest": "sha256:../../x"}]}, "layers[0].digest"),
        ({"layers": [], "config": {}}, "config.size"),
        ({"manifests": [], "layers": []}, "index and an image at once"),
        ({"mediaType": OCI_INDEX, "manifests": [], "config": BLOB}, "index and an image at once"),
    ],
)
def test_what_is_no_manifest_is_named(document: Any, said: str) -> None:
    with pytest.raises(Corrupt) as error:
        read(document)
    assert said in str(error.value)


def test_bytes_are_bounded_and_proven() -> None:
    with pytest.raises(Corrupt, match="at most"):
        parse_manifest(b" " * (MAX_MANIFEST + 1))
    with pytest.raises(Corrupt, match="not valid JSON"):
        parse_manifest(b"[" * MAX_MANIFEST)
    raw = image("m").raw
    with pytest.raises(Corrupt, match="have digest"):
        parse_manifest(raw + b" ", expected=Digest.of(raw))
    assert parse_manifest(raw, expected=Digest.of(raw, "sha512")).digest.algorithm == "sha512"


def test_schema_1_is_unsupported() -> None:
    with pytest.raises(Unsupported, match="schema 1"):
        read({"schemaVersion": 1, "fsLayers": []})


def test_a_blob_named_twice_is_one_blob() -> None:
    assert len(read({"config": BLOB, "layers": [BLOB, BLOB]}).blobs) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)
FIELDS = st.sampled_from(["mediaType", "schemaVersion", "manifests", "layers", "config", "subject", "size", "digest"])


@given(st.binary(max_size=50) | st.dictionaries(FIELDS, JSON).map(lambda value: json.dumps(value).encode()), st.text())
def test_anything_is_a_manifest_or_an_error_of_ours(raw: bytes, declared: str) -> None:
    try:
        manifest = parse_manifest(raw, declared)
    except RegistryError as error:
        assert str(error)  # noqa: PT017  both outcomes are right; one must hold
    else:
        assert manifest.raw == raw


@pytest.mark.parametrize(
    ("has", "wanted", "serves"),
    [
        ("linux/amd64", "linux/amd64", True),
        ("linux/arm64/v8", "linux/arm64", True),
        ("linux/arm64", "linux/arm64/v8", True),
        ("linux/arm", "linux/arm/v7", True),
        ("linux/arm/v6", "linux/arm/v7", False),
        ("linux/arm/v6", "linux/arm", True),
        ("windows/amd64", "linux/amd64", False),
        ("unknown/unknown", "linux/amd64", False),
        ("linux/amd64/v3", "linux/amd64/v2", False),
    ],
)
def test_platforms(has: str, wanted: str, serves: bool) -> None:
    assert Platform.parse(has).satisfies(Platform.parse(wanted)) is serves
    assert Platform.parse(str(Platform.parse(has))) == Platform.parse(has)


@pytest.mark.parametrize("text", ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux//v8"])
def test_what_is_no_platform(text: str) -> None:
    with pytest.raises(ValueError, match="os/architecture"):
        Platform.parse(text)
