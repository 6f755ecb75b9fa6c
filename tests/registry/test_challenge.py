"""WWW-Authenticate, as registries write it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.challenge import Challenge, parse_challenges, strongest

HUB = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull"'


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, []),
        ("", []),
        (" , ,", []),
        ("Basic", [("basic", {})]),
        ('Basic realm="rig"', [("basic", {"realm": "rig"})]),
        ('basic REALM="a, b=c \\"d\\""', [("basic", {"realm": 'a, b=c "d"'})]),
        (
            HUB,
            [
                (
                    "bearer",
                    {
                        "realm": "https://auth.docker.io/token",
                        "service": "registry.docker.io",
                        "scope": "repository:library/nginx:pull",
                    },
                )
            ],
        ),
        ('Bearer realm = "x" , service= y', [("bearer", {"realm": "x", "service": "y"})]),
        (
            "Bearer realm=https://a.b/token?x=1,service=s",
            [("bearer", {"realm": "https://a.b/token?x=1", "service": "s"})],
        ),
        ('Basic realm="a", Bearer realm="b"', [("basic", {"realm": "a"}), ("bearer", {"realm": "b"})]),
        ('Negotiate, Basic realm="a"', [("negotiate", {}), ("basic", {"realm": "a"})]),
        ('Negotiate abc==, Basic realm="a"', [("negotiate", {}), ("basic", {"realm": "a"})]),
        (
            'Bearer realm="b" , error="invalid_token", Basic realm="a"',
            [("bearer", {"realm": "b", "error": "invalid_token"}), ("basic", {"realm": "a"})],
        ),
        ('Bearer realm="never closed', [("bearer", {"realm": "never closed"})]),
        ('Bearer realm="first",realm="second"', [("bearer", {"realm": "first"})]),
        ('Bearer scope="a b"', [("bearer", {"scope": "a b"})]),
    ],
)
def test_what_registries_write(header: str | None, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert list(parse_challenges(header)) == [Challenge(scheme, parameters) for scheme, parameters in expected]


@given(st.text(max_size=200) | st.text('Bb =",\\realm x', max_size=60))
def test_any_header_is_read_without_failing(header: str) -> None:
    for challenge in parse_challenges(header):
        assert challenge.scheme == challenge.scheme.lower()


TOKENS = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


@given(st.lists(st.tuples(TOKENS, st.dictionaries(TOKENS, VALUES, max_size=4)), max_size=4))
def test_what_is_written_by_the_rules_is_read_back(wanted: list[tuple[str, dict[str, str]]]) -> None:
    def quoted(value: str) -> str:
        return value.replace("\\", "\\\\").replace('"', '\\"')

    header = ", ".join(
        f"{scheme} " + ", ".join(f'{name}="{quoted(value)}"' for name, value in parameters.items())
        for scheme, parameters in wanted
    )
    assert [(one.scheme, one.parameters) for one in parse_challenges(header)] == wanted


def test_a_header_of_any_length_is_bounded() -> None:
    assert len(parse_challenges("Basic, " * 100_000)) < 2000


@pytest.mark.parametrize(
    ("header", "scheme"),
    [
        (f'Basic realm="x", {HUB}', "bearer"),
        ('Bearer service="no realm", Basic realm="x"', "basic"),
        ("Bearer", None),
        ("Negotiate", None),
        ("", None),
    ],
)
def test_the_challenge_to_answer(header: str, scheme: str | None) -> None:
    found = strongest(parse_challenges(header))
    assert (found.scheme if found else None) == scheme
