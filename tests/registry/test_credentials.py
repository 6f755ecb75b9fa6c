"""Pull secrets as people and tools write them, matched as kubelet matches them."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.credentials import Credentials, DockerConfig, InvalidDockerConfig, no_credentials
from registry.reference import Reference


def entry(user: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:pass:{user}".encode()).decode()}


def config(*keys: str) -> DockerConfig:
    """A config whose users are named after their keys."""
    return DockerConfig.parse({"auths": {key: entry(key) for key in keys}})


def users(found: tuple[Credentials, ...]) -> list[str]:
    return [credentials.username for credentials in found]


@pytest.mark.parametrize(
    "document",
    [
        {"auths": {"r.io": {"auth": base64.b64encode(b"u:p:w").decode()}}},
        {"auths": {"r.io": {"auth": base64.b64encode(b"u:p:w").decode().rstrip("=")}}},
        {"auths": {"r.io": {"username": "u", "password": "p:w"}}},
        {"auths": {"r.io": {"username": "x", "password": "y", "auth": base64.b64encode(b"u:p:w").decode()}}},
        {"auths": {"https://r.io/v2/": {"username": "u", "password": "p:w", "email": "e@x"}}},
        {"r.io": {"username": "u", "password": "p:w"}},
    ],
)
def test_forms_of_pull_secrets(document: dict[str, Any]) -> None:
    for data in (document, json.dumps(document), json.dumps(document).encode()):
        assert DockerConfig.parse(data).match("r.io", "a/b") == (Credentials("u", "p:w"),)


def test_tokens_of_a_login_are_kept() -> None:
    document = {"auths": {"r.io": {"identitytoken": "i"}, "s.io": {"registrytoken": "r"}, "empty.io": {}}}
    read = DockerConfig.parse(document)
    assert read.match("r.io", "x")[0].identity_token == "i"
    assert read.match("s.io", "x")[0].registry_token == "r"
    assert read.match("empty.io", "x") == ()


@pytest.mark.parametrize(
    ("keys", "image", "expected"),
    [
        (["r.io"], "r.io/a/b", ["r.io"]),
        (["https://r.io"], "r.io/a", ["https://r.io"]),
        (["http://r.io/v1/"], "r.io/a", ["http://r.io/v1/"]),
        (["R.io"], "r.io/a", ["R.io"]),
        (["r.io"], "other.io/a", []),
        (["r.io"], "x.r.io/a", []),
        (["r.io"], "r.io:5000/a", []),
        (["r.io:5000"], "r.io:5000/a", ["r.io:5000"]),
        (["r.io:5000"], "r.io/a", []),
        (["*.r.io"], "x.r.io/a", ["*.r.io"]),
        (["*.r.io"], "x.y.r.io/a", []),
        (["*.r.io"], "r.io/a", []),
        (["*.*.r.io"], "x.y.r.io/a", ["*.*.r.io"]),
        (["reg*.r.io"], "reg1.r.io/a", ["reg*.r.io"]),
        (["*.r.io:5000"], "x.r.io:5000/a", ["*.r.io:5000"]),
        (["r.io/team"], "r.io/team/app", ["r.io/team"]),
        (["r.io/team"], "r.io/other/app", []),
        (["r.io", "r.io/team", "r.io/team/app"], "r.io/team/app", ["r.io/team/app", "r.io/team", "r.io"]),
        (["https://index.docker.io/v1/"], "docker.io/library/nginx", ["https://index.docker.io/v1/"]),
        (["docker.io"], "docker.io/library/nginx", ["docker.io"]),
        (["docker.io", "index.docker.io"], "docker.io/library/nginx", ["docker.io"]),
        (["registry-1.docker.io"], "docker.io/team/app", []),
        (["index.docker.io/team"], "docker.io/team/app", []),
        (["index.docker.io"], "quay.io/team/app", []),
        (
            ["123.dkr.ecr.eu-west-1.amazonaws.com"],
            "123.dkr.ecr.eu-west-1.amazonaws.com/x",
            ["123.dkr.ecr.eu-west-1.amazonaws.com"],
        ),
        (["*"], "localhost/a", ["*"]),
        ([""], "r.io/a", []),
    ],
)
def test_matching(keys: list[str], image: str, expected: list[str]) -> None:
    host, _, repository = image.partition("/")
    # A user name cannot hold a colon: what comes after the first one is the password.
    assert users(config(*keys).match(host, repository)) == [key.partition(":")[0] for key in expected]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "not a JSON object"),
        ({"auths": []}, "auths is not an object"),
        ({"auths": {"r.io": "topsecret"}}, "auths['r.io'] is not an object"),
        ({"auths": {"r.io": {"auth": "topsecret!"}}}, "auths['r.io'].auth is not base64"),
        ({"auths": {"r.io": {"auth": "dG9wc2VjcmV0"}}}, "auths['r.io'].auth is not base64 of user:password"),
        ({"auths": {"r.io": {"username": 5}}}, "auths['r.io'].username is not text"),
        ("x" * (2 << 20), "larger than"),
    ],
)
def test_what_cannot_be_read_is_named_without_its_value(data: Any, said: str) -> None:
    with pytest.raises(InvalidDockerConfig) as error:
        DockerConfig.parse(data)
    assert said in str(error.value)
    assert "topsecret" not in str(error.value)


# As kubelet 1.34 does it: pkg/credentialprovider, read there.
KUBELET_MATCHES = [
    # pattern, image, whether it matches
    ("*.example.io", "a.example.io/x", True),
    ("a.*.io", "a.example.io/x", True),
    ("a.example.*", "a.example.io/x", True),
    ("*-good.example.io", "very-good.example.io/x", True),
    ("*-good.example.io", "bad.example.io/x", False),
    ("*example.io", "example.io/x", True),
    ("*example.io", "a.example.io/x", False),
    ("*.*.example.io", "a.b.example.io/x", True),
    ("*.*.example.io", "a.example.io/x", False),
    ("*.example.io", "example.io/x", False),
    ("a.*.io/foo", "a.example.io/foo/bar", True),
    ("a.*.io/foo", "a.example.io/food/bar", True),  # a prefix of the text, not of the segments
    ("a.*.io/foo", "a.example.io/fo", False),
    ("a.example.io/foo/", "a.example.io/foo/bar", True),
    ("*.example.io:1111/foo", "a.example.io:1111/foo/bar", True),
    ("*.example.io:1111", "a.example.io:2222/foo", False),
    ("*.example.io", "a.example.io:1111/foo", False),
    ("*.example.io:1111", "a.example.io/foo", False),
    ("a.example.io:", "a.example.io/foo", True),
    ("https://*.example.io/v1/", "a.example.io/foo", True),
    ("https://*.example.io/v2/", "a.example.io/foo", True),
    ("https://a.example.io/v2/foo", "a.example.io/foo/bar", True),
    ("https://a.example.io/v2", "a.example.io/foo", False),  # without the last slash it is a path
    ("https://a.example.io/v2", "a.example.io/v2/foo", True),
    ("https://a.example.io/*", "a.example.io/foo", False),  # no wildcards in paths
    ("a.example.io/?x", "a.example.io/foo", True),  # a query is not looked at
    ("user@a.example.io", "a.example.io/foo", True),
    ("HTTPS://a.example.io", "a.example.io/foo", False),  # kubelet knows schemes in lower case alone
    ("a.example.io:http", "a.example.io/foo", False),
    ("[::1]:5000", "[::1]:5000/foo", True),
    ("[::1]:5000", "[::1]:5001/foo", False),
    ("[::1", "[::1]/foo", False),
    ("", "a.example.io/foo", False),
    ("https:///foo", "a.example.io/foo", False),
    ("https://index.docker.io/v1/", "docker.io/library/nginx", True),
    ("https://index.docker.io/v1/", "docker.io/team/app", True),
    ("https://index.docker.io/v1/", "other.example.io/team/app", False),
    ("https://index.docker.io/v1", "docker.io/team/app", False),
    ("index.docker.io", "docker.io/team/app", True),
    ("docker.io", "docker.io/team/app", True),
    ("docker.io/team", "docker.io/team/app", True),
    ("*.docker.io", "docker.io/team/app", False),
    ("registry-1.docker.io", "docker.io/team/app", False),
    # Here we differ: kubelet would give Docker Hub's password to a host without a dot, which is not Docker Hub.
    ("https://index.docker.io/v1/", "localhost/team/app", False),
    # And names of hosts are the same in any case: kuik's references have them in lower case.
    ("A.Example.io", "a.example.io/foo", True),
]


@pytest.mark.parametrize(("pattern", "image", "matches"), KUBELET_MATCHES)
def test_what_kubelet_matches(pattern: str, image: str, matches: bool) -> None:
    host, _, repository = image.partition("/")
    read = DockerConfig.parse({"auths": {pattern: {"username": "u", "password": "p"}}})
    assert bool(read.match(host, repository)) is matches


def test_several_that_match_are_tried_in_turn_the_more_specific_first_across_secrets() -> None:
    one = config("r.io", "*.r.io/team", "r.io/team/app")
    two = config("r.io/team", "r.io", "q.io")
    assert users(DockerConfig.joined([one, two]).match("r.io", "team/app")) == [
        "r.io/team/app",
        "r.io/team",
        "r.io",
    ], "the same login is tried once"
    other = DockerConfig.parse({"auths": {"r.io": {"username": "second", "password": "x"}}})
    assert users(DockerConfig.joined([one, other]).match("r.io", "x")) == ["r.io", "second"]
    assert users(DockerConfig.joined([other, one]).match("r.io", "x")) == ["second", "r.io"]
    hub = DockerConfig.joined([config("https://index.docker.io/v1/"), config("docker.io/team")])
    assert users(hub.match("docker.io", "team/app")) == ["docker.io/team"]
    assert users(hub.match("docker.io", "library/nginx")) == ["https"]


@pytest.mark.parametrize(
    ("entry_", "expected"),
    [
        ({"auth": "Zm9vOmJhcg=="}, [Credentials("foo", "bar")]),
        ({"auth": "Zm9vOmJhcg"}, [Credentials("foo", "bar")]),
        ({"auth": "Zm9vOm\nJhcg==\n"}, [Credentials("foo", "bar")]),
        ({"auth": "Zm9vOmJhcjpiYXo="}, [Credentials("foo", "bar:baz")]),
        ({"username": "a", "password": "b", "auth": "Zm9vOmJhcg=="}, [Credentials("foo", "bar")]),
        ({"Username": "foo", "PASSWORD": "bar"}, [Credentials("foo", "bar")]),
        ({"username": "foo"}, [Credentials("foo")]),
        ({"password": "bar"}, []),
        ({"email": "foo@example.io"}, []),
        (None, []),
        ({"auth": "Zm9vOmJhcg==", "identitytoken": "i"}, [Credentials("foo", "bar"), Credentials(identity_token="i")]),
        ({"auth": "Zm9vOg==", "identitytoken": "i"}, [Credentials(identity_token="i")]),
        ({"username": "<token>", "identitytoken": "i"}, [Credentials(identity_token="i")]),
        ({"registrytoken": "r"}, [Credentials(registry_token="r")]),
    ],
)
def test_the_logins_of_an_entry_in_kubelet_s_order_and_then_tokens(entry_: Any, expected: list[Credentials]) -> None:
    assert list(DockerConfig.parse({"auths": {"r.io": entry_}}).match("r.io", "a")) == expected


def secret(kind: str, **data: str) -> dict[str, Any]:
    encoded = {f".{key}": base64.b64encode(text.encode()).decode() for key, text in data.items()}
    return {"type": f"kubernetes.io/{kind}", "data": encoded}


ENTRIES = json.dumps({"r.io": {"username": "u", "password": "p"}})
AUTHS = f'{{"auths": {ENTRIES}}}'


@pytest.mark.parametrize(
    ("found", "opens"),
    [
        (secret("dockerconfigjson", dockerconfigjson=AUTHS), True),
        (secret("dockerconfigjson", dockerconfigjson=AUTHS.replace("auths", "Auths")), True),
        (secret("dockercfg", dockercfg=ENTRIES), True),
        (secret("dockerconfigjson", dockerconfigjson=ENTRIES), False),  # kubelet looks for auths in this type
        (secret("dockercfg", dockercfg=AUTHS), False),
        (secret("dockerconfigjson", dockerconfigjson="{}"), False),
        ({"type": "kubernetes.io/dockercfg", "stringData": {".dockercfg": ENTRIES}}, True),
    ],
)
def test_a_secret_s_type_says_what_is_in_it(found: dict[str, Any], opens: bool) -> None:
    assert bool(DockerConfig.of_secret(found).match("r.io", "a")) is opens


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (secret("dockerconfigjson", dockercfg=ENTRIES), "no data['.dockerconfigjson']"),
        (secret("basic-auth", dockercfg=ENTRIES), "no pull secret"),
        ({"type": "kubernetes.io/dockercfg"}, "no data['.dockercfg']"),
        ({"type": "kubernetes.io/dockercfg", "data": {".dockercfg": "topsecret!"}}, "not base64"),
        ({"type": "kubernetes.io/dockercfg", "data": {".dockercfg": 7}}, "not text"),
        (secret("dockercfg", dockercfg="topsecret"), "not valid JSON"),
        ({}, "no pull secret"),
    ],
)
def test_secrets_without_credentials_are_told_without_their_content(found: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidDockerConfig) as error:
        DockerConfig.of_secret(found)
    assert said in str(error.value)
    assert "topsecret" not in str(error.value)


@pytest.mark.parametrize("document", [{}, {"auths": {}}, {"credsStore": "desktop"}, {"auths": {"r.io": {"auth": ""}}}])
def test_nothing_usable_is_nothing(document: dict[str, Any]) -> None:
    assert DockerConfig.parse(document).match("r.io", "a") == ()


@given(
    st.recursive(st.none() | st.text(max_size=5), lambda inner: st.dictionaries(st.text(max_size=9), inner, max_size=3))
)
def test_any_document_is_read_or_refused(document: Any) -> None:
    try:
        read = DockerConfig.parse(json.dumps({"auths": document}))
    except InvalidDockerConfig as error:
        assert str(error)  # noqa: PT017  both outcomes are right; one must hold
    else:
        read.match("r.io", "a/b")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
)


@given(
    st.sampled_from(["kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg"]),
    anything | st.builds(lambda inner: {"auths": inner, "r.io": inner}, anything),
)
def test_any_secret_is_read_or_refused(kind: str, document: Any) -> None:
    encoded = base64.b64encode(json.dumps(document).encode()).decode()
    for data in (document, {f".{kind.partition('/')[2]}": encoded}, {f".{kind.partition('/')[2]}": document}):
        try:
            read = DockerConfig.of_secret({"type": kind, "data": data})
        except InvalidDockerConfig as error:
            assert str(error)  # noqa: PT017  both outcomes are right; one must hold
        else:
            read.match("r.io", "a/b")


def test_secrets_do_not_show() -> None:
    shown = repr(config("r.io")) + str(Credentials("u", "p-word", "i-token", "r-token"))
    assert "pass:" not in shown
    assert not [secret for secret in ("p-word", "i-token", "r-token") if secret in shown]


def test_no_keyring_offers_nothing() -> None:
    assert no_credentials(Reference.parse("nginx")) == ()
