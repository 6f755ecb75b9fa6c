"""hosts.toml files: the proxy comes first, all else stays, and the way back is exact."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuik.mirror.hosts_file import MAX_FILE, Unchangeable, with_mirror, without_mirror

PROXY = "http://127.0.0.1:7439"
OTHERS = [
    "",
    'server = "https://registry.example"',
    'server = "https://registry.example"\n',
    '# ours\nserver = "https://registry.example"\r\n\r\nca = "/etc/ca.pem"\r\n',
    'server = "https://r.example"\n\n[host."https://mirror.example"]\n  capabilities = ["pull"]\n',
    'server = "https://r.example"\n  [host."https://a.example"]\n  [host."https://a.example".header]\n    x = ["y"]',
    'client = [\n  ["/etc/client.crt", "/etc/client.key"],\n]\n[host]\n[host."https://a.example"]\nca = "x"\n',
    'server = """https://r.example\n[host.x]\n"""\n[host."https://a.example"]\n',
    "\n\n",
    "# nothing but words",
]


@pytest.mark.parametrize("text", OTHERS)
def test_the_proxy_comes_before_all_hosts_and_the_way_back_is_exact(text: str) -> None:
    changed = with_mirror(text, PROXY)
    before, after = tomllib.loads(text), tomllib.loads(changed)
    assert list(after["host"]) == [PROXY, *before.get("host", {})], "hosts in the order of their tables"
    assert after["host"].pop(PROXY) == {"capabilities": ["pull", "resolve"]}
    assert {"host": {}, **after} == {"host": {}, **before}
    assert with_mirror(changed, PROXY) == changed
    assert without_mirror(changed) == text
    assert without_mirror(text) == text
    moved = with_mirror(changed, "http://127.0.0.1:7539")
    assert PROXY not in moved
    assert without_mirror(moved) == text


@given(
    st.lists(
        st.sampled_from(
            ["a = 1", "", "# [host]", "[x]", '[host."b"]', "[[y]]", "  c = '''", "'''", "z = [", "[1],", "]"]
        )
    )
)
def test_whatever_stands_there_is_kept_or_left_alone(lines: list[str]) -> None:
    for text in ("\n".join(lines), "\n".join([*lines, ""])):
        try:
            changed = with_mirror(text, PROXY)
        except Unchangeable:
            continue
        assert without_mirror(changed) == text
        assert next(iter(tomllib.loads(changed)["host"])) == PROXY


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("server = ", "not valid TOML"),
        ('host = "x"', "not a table"),
        (f'[host."{PROXY}"]\n', "by itself"),
        (f'host."{PROXY}".capabilities = ["pull"]\n', "by itself"),
        ('host = {"https://a.example" = {}}\n', "add it by hand"),
        ("#" * (MAX_FILE + 1), "larger than"),
    ],
)
def test_what_cannot_be_changed_with_certainty_is_left_alone(text: str, why: str) -> None:
    with pytest.raises(Unchangeable, match=why):
        with_mirror(text, PROXY)
