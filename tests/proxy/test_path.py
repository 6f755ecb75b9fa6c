"""Paths of the distribution API, in both forms, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import DigestInvalid, MethodRefused, NameInvalid, NameUnknown
from proxy.path import BASE, Kind, Route, parse, shown
from registry.errors import NotFound, RegistryError

DIGEST = "sha256:" + "ab" * 32
CAPABILITY = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("path", "ns", "route"),
    [
        ("/v2/", None, BASE),
        ("/v2", "docker.io", BASE),
        ("/v2/quay.io/a/b/manifests/1.0", None, Route("quay.io", "a/b", Kind.MANIFEST, "1.0")),
        ("/v2/reg__5000/a/blobs/" + DIGEST, None, Route("reg:5000", "a", Kind.BLOB, DIGEST)),
        ("/v2/a/manifests/latest", "reg:5000", Route("reg:5000", "a", Kind.MANIFEST, "latest")),
        ("/v2/library/nginx/manifests/1", "docker.io", Route("docker.io", "library/nginx", Kind.MANIFEST, "1")),
        ("/v2/docker.io/nginx/manifests/1", None, Route("docker.io", "library/nginx", Kind.MANIFEST, "1")),
        ("/v2/index.docker.io/a/b/tags/list", None, Route("docker.io", "a/b", Kind.TAGS)),
        ("/v2/localhost/a/manifests/1", None, Route("localhost", "a", Kind.MANIFEST, "1")),
        ("/v2/quay.io/a/manifests/blobs/manifests/1", None, Route("quay.io", "a/manifests/blobs", Kind.MANIFEST, "1")),
        ("/v2/quay.io/a/tags/list/manifests/list", None, Route("quay.io", "a/tags/list", Kind.MANIFEST, "list")),
        ("/v2/quay.io/a/referrers/" + DIGEST, None, Route("quay.io", "a", Kind.REFERRERS, DIGEST)),
        ("/v2/private/quay.io/a/manifests/1", None, Route("quay.io", "a", Kind.MANIFEST, "1", private=True)),
        ("/v2/private/reg__5000/a/tags/list", None, Route("reg:5000", "a", Kind.TAGS, private=True)),
        (
            "/v2/private/docker.io/nginx/manifests/1",
            None,
            Route("docker.io", "library/nginx", Kind.MANIFEST, "1", True),
        ),
        ("/v2/private/localhost/a/manifests/1", None, Route("localhost", "a", Kind.MANIFEST, "1", private=True)),
        ("/v2/private/a/manifests/1", "quay.io", Route("quay.io", "private/a", Kind.MANIFEST, "1")),
        (
            f"/v2/private/{CAPABILITY}/a/manifests/1",
            "quay.io",
            Route("quay.io", f"private/{CAPABILITY}/a", Kind.MANIFEST, "1"),
        ),
    ],
)
def test_what_is_asked_for(path: str, ns: str | None, route: Route) -> None:
    assert parse(path, ns) == route


@pytest.mark.parametrize(
    ("path", "ns", "error", "words"),
    [
        ("/v2/quay.io/a/b", None, NameUnknown, "none of the distribution API"),
        ("/v1/quay.io/a/manifests/1", None, NameUnknown, "/v2/"),
        ("/v2/library/nginx/manifests/1", None, NameUnknown, "full name"),
        ("/v2/quay.io/manifests/1", None, NameInvalid, "no repository"),
        ("/v2/quay.io/A/manifests/1", None, NameInvalid, "lower case"),
        ("/v2/quay.io//manifests/1", None, NameInvalid, "no repository"),
        ("/v2/a/manifests/1", "no such host", NameInvalid, "ns="),
        ("/v2/a/manifests/1", "[::1]:5000", NameInvalid, "ns="),
        ("/v2/a/manifests/1", "library", NameInvalid, "ns="),
        ("/v2/quay.io/a/blobs/sha256:12", None, DigestInvalid, "64"),
        ("/v2/quay.io/a/blobs/latest", None, DigestInvalid, "algorithm"),
        ("/v2/quay.io/a/manifests/md5:12", None, DigestInvalid, "md5"),
        ("/v2/quay.io/a/manifests/.no-tag", None, NotFound, "tag"),
        ("/v2/quay.io/a/blobs/uploads/", None, MethodRefused, "push"),
        ("/v2/quay.io/a/blobs/uploads/some-id", None, MethodRefused, "push"),
        ("/v2/private/manifests/1", None, NameUnknown, "full name"),
        ("/v2/private/library/nginx/manifests/1", None, NameUnknown, "capability"),
        (f"/v2/private/{CAPABILITY[1:]}/quay.io/a/manifests/1", None, NameUnknown, "capability"),
        (f"/v2/private/{CAPABILITY.upper()}/quay.io/a/manifests/1", None, NameUnknown, "capability"),
        (f"/v2/private/{CAPABILITY}/manifests/1", None, NameUnknown, "full name"),
        (f"/v2/private/{CAPABILITY}/quay.io/manifests/1", None, NameInvalid, "no repository"),
        (f"/v2/private/{CAPABILITY}/private/{CAPABILITY}/quay.io/a/manifests/1", None, NameUnknown, "full name"),
        ("/v2/" + "a/" * 600 + "manifests/1", "quay.io", NameUnknown, "/v2/"),
    ],
)
def test_what_is_refused_and_in_which_words(path: str, ns: str | None, error: type[RegistryError], words: str) -> None:
    with pytest.raises(error) as raised:
        parse(path, ns)
    assert type(raised.value) is error
    assert words in str(raised.value)


component = st.from_regex(r"[a-z0-9]+([._-][a-z0-9]+)?", fullmatch=True) | st.sampled_from(
    ["manifests", "blobs", "tags", "list", "referrers"]
)
hosts = st.sampled_from(["docker.io", "quay.io", "reg:5000", "localhost", "127.0.0.1:49152"])
repositories = st.lists(component, min_size=2, max_size=5).map("/".join)
targets = st.tuples(st.just(Kind.MANIFEST), st.sampled_from(["1.0", "list", "uploads", DIGEST])) | st.tuples(
    st.sampled_from([Kind.BLOB, Kind.REFERRERS]), st.just(DIGEST)
)


def test_a_capability_is_carried_and_is_no_part_of_the_route() -> None:
    route = parse(f"/v2/private/{CAPABILITY}/quay.io/a/manifests/1")
    assert route == Route("quay.io", "a", Kind.MANIFEST, "1", private=True)
    assert route != Route("quay.io", "a", Kind.MANIFEST, "1")
    assert (route.capability, route.path) == (CAPABILITY, "/v2/private/quay.io/a/manifests/1")
    assert CAPABILITY not in f"{route} {route!r}"


@pytest.mark.parametrize("given_out", [CAPABILITY, CAPABILITY[1:], CAPABILITY.upper(), f"{CAPABILITY}ff", "sesame"])
@pytest.mark.parametrize("rest", ["/quay.io/a/manifests/1", "/quay.io/A/manifests/1", "/x", "", "/private/f00"])
def test_a_path_is_shown_without_its_capability_and_so_is_the_error_about_it(given_out: str, rest: str) -> None:
    path = f"/v2/private/{given_out}{rest}"
    assert given_out not in shown(path)
    try:
        parse(path)
    except RegistryError as error:
        assert given_out not in str(error)  # noqa: PT017  either it is a route, or the words hold nothing


def test_other_paths_are_shown_as_they_are() -> None:
    for path in ("/v2/private/quay.io/a/manifests/1", "/v2/private/reg.io__5000/a/blobs/x", "/v2/quay.io/own/private"):
        assert shown(path) == path


@given(hosts, repositories, targets)
def test_a_route_s_path_names_that_route(host: str, repository: str, target: tuple[Kind, str]) -> None:
    for private in (False, True):
        route = Route(host, repository, *target, private)
        assert parse(route.path) == route
    route = Route(host, repository, *target)
    assert parse(f"/v2/{repository}/{target[0]}/{target[1]}", host) == route


@given(st.text(max_size=80), st.none() | st.text(max_size=20))
def test_nothing_but_the_spec_s_errors(path: str, ns: str | None) -> None:
    try:
        parse(f"/v2/{path}", ns)
    except RegistryError as error:
        assert 400 <= error.status < 500  # noqa: PT017  whichever it is, it is the client's mistake
