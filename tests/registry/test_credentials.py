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
        (["registry-1.docker.io"], "docker.io/team/app", ["registry-1.docker.io"]),
        (["index.docker.io/team"], "docker.io/team/app", ["index.docker.io/team"]),
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
        ({"auths": {"https://[r.io": {"username": "u"}}}, "auths['https://[r.io']"),
        ("x" * (2 << 20), "larger than"),
    ],
)
def test_what_cannot_be_read_is_named_without_its_value(data: Any, said: str) -> None:
    with pytest.raises(InvalidDockerConfig) as error:
        DockerConfig.parse(data)
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


def test_secrets_do_not_show() -> None:
    shown = repr(config("r.io")) + str(Credentials("u", "p-word", "i-token", "r-token"))
    assert "pass:" not in shown
    assert not [secret for secret in ("p-word", "i-token", "r-token") if secret in shown]


def test_no_keyring_offers_nothing() -> None:
    assert no_credentials(Reference.parse("nginx")) == ()
