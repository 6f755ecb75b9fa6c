"""References as people write them, and as kuik writes them back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.digest import Digest
from registry.reference import InvalidReference, Reference, check_repository, is_host, is_tag, names_a_host
from tests.registry.strategies import components, hosts, references

SHA = "sha256:" + "ab" * 32
SHA512 = "sha512:" + "cd" * 64


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.25", "docker.io/library/nginx:1.25"),
        (f"nginx@{SHA}", f"docker.io/library/nginx@{SHA}"),
        (f"nginx:1@{SHA512}", f"docker.io/library/nginx:1@{SHA512}"),
        ("bitnami/redis", "docker.io/bitnami/redis:latest"),
        ("docker.io/nginx", "docker.io/library/nginx:latest"),
        ("index.docker.io/library/nginx:1", "docker.io/library/nginx:1"),
        ("Docker.IO/nginx", "docker.io/library/nginx:latest"),
        ("docker.io", "docker.io/library/docker.io:latest"),
        ("registry-1.docker.io/library/nginx", "registry-1.docker.io/library/nginx:latest"),
        ("localhost/x", "localhost/x:latest"),
        ("LOCALHOST/x", "localhost/x:latest"),
        ("localhost:7439/docker.io/library/nginx:1", "localhost:7439/docker.io/library/nginx:1"),
        ("reg:5000/x", "reg:5000/x:latest"),
        (f"reg:5000/a/b:tag@{SHA}", f"reg:5000/a/b:tag@{SHA}"),
        ("ghcr.io/a/b/c/d:v1.0.0-rc.1", "ghcr.io/a/b/c/d:v1.0.0-rc.1"),
        ("GHCR.io/org/app", "ghcr.io/org/app:latest"),
        ("a.b/c__d/e-.-f".replace("-.-", "---"), "a.b/c__d/e---f:latest"),
        ("10.0.0.1:80/x", "10.0.0.1:80/x:latest"),
        ("[::1]:5000/x", "[::1]:5000/x:latest"),
        ("[2001:DB8::1]/x:y", "[2001:db8::1]/x:y"),
        ("reg.example/x:_weird.Tag-", "reg.example/x:_weird.Tag-"),
        ("r.io/" + "a" * 255, "r.io/" + "a" * 255 + ":latest"),
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com/app", "123456789012.dkr.ecr.eu-west-1.amazonaws.com/app:latest"),
    ],
)
def test_what_people_write(written: str, canonical: str) -> None:
    assert str(Reference.parse(written)) == canonical
    assert Reference.parse(canonical) == Reference.parse(written)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("", "empty"),
        (" nginx", "not a valid path component"),
        ("nginx\n", "not a valid path component"),
        ("nginx:", "'' is not a valid tag"),
        ("nginx:a b", "not a valid tag"),
        ("nginx:-x", "not a valid tag"),
        ("nginx:" + "a" * 129, "not a valid tag"),
        ("nginx@", "has no algorithm"),
        ("nginx@sha256:abc", "64 lower-case hex digits"),
        ("nginx@sha256:" + "AB" * 32, "64 lower-case hex digits"),
        ("nginx@md5:" + "a" * 32, "not one of sha256"),
        (f"nginx@{SHA}@{SHA}", "64 lower-case hex digits"),
        ("a" * 64, "image ID"),
        (SHA, "image ID"),
        ("docker.io/" + "a" * 64, "image ID"),
        ("NGINX", "repositories are lower case"),
        ("ghcr.io/Org/app", "'Org' is not a valid path component (repositories are lower case)"),
        ("Foo/bar", "'Foo' has capital letters"),
        ("/nginx", "''"),
        ("reg.example/", "names no repository"),
        ("reg.example//x", "''"),
        ("a/b/", "''"),
        ("reg.example/a..b", "'a..b'"),
        ("reg.example/a___b", "'a___b'"),
        ("reg.example/-a", "'-a'"),
        ("docker://nginx", "'docker:' is not a valid registry host"),
        ("https://reg.example/x", "'https:' is not a valid registry host"),
        ("reg.example:port/x", "not a valid registry host"),
        ("-reg.example/x", "not a valid registry host"),
        ("user@reg.example/x", "digest"),
        ("r.io/" + "a" * 256, "longer than 255"),
        ("münchen.example/x", "not a valid registry host"),
        ("reg.example/ünder", "not a valid path component"),
        ("reg.example/x\u0661", "not a valid path component"),
    ],
)
def test_what_cannot_be_is_named(written: str, said: str) -> None:
    with pytest.raises(InvalidReference) as error:
        Reference.parse(written)
    assert said in str(error.value)


@given(references())
def test_parse_and_format_are_inverse(reference: Reference) -> None:
    assert Reference.parse(str(reference)) == reference


@given(st.text(max_size=60) | st.from_regex(r"[a-zA-Z.:/@_0-9-]{1,40}"))
def test_any_text_parses_or_is_refused_in_words(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except InvalidReference as error:
        assert str(error)  # noqa: PT017  both outcomes are right; one must hold
    else:
        assert Reference.parse(str(reference)) == reference


@given(references(), references())
def test_references_sort(one: Reference, other: Reference) -> None:
    assert (one < other) + (other < one) + (one == other) == 1


def test_tag_and_digest_sort_together() -> None:
    ordered = [f"r.io/a@{SHA}", "r.io/a:1", f"r.io/a:1@{SHA}", "r.io/b:0"]
    assert [str(one) for one in sorted(map(Reference.parse, ordered[::-1]))] == ordered


@given(references())
def test_what_a_reference_is_asked_and_kept_by(reference: Reference) -> None:
    assert reference.target == str(reference.digest or reference.tag)
    assert is_tag(reference.anchor)
    assert reference.identity.digest == reference.digest
    assert reference.identity.tag == (None if reference.digest else reference.tag)
    assert reference.identity.identity == reference.identity
    digest = Digest.of(b"x")
    assert reference.with_digest(digest) == Reference(reference.host, reference.repository, None, digest)


@given(hosts())
def test_hosts_are_told_from_repositories(host: str) -> None:
    assert is_host(host)
    assert names_a_host(host)


@given(st.lists(components(), min_size=1, max_size=5))
def test_repositories_are_paths_of_components(parts: list[str]) -> None:
    check_repository("/".join(parts)[:255].rstrip("/._-") or "a")
    with pytest.raises(InvalidReference):
        check_repository("/".join([*parts, ""]))
