"""Texts as Kubernetes' own tools read and write them."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kuik.local.documents import ManifestError, documents, plain, written


def read(text: str) -> list[Any]:
    return list(documents(text, "it"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\ufeffa: 1\n", [{"a": 1}]),
        ('{"a": 1}\n{"a": 2}\n', [{"a": 1}, {"a": 2}]),
        ("{a: 1}\n---\n{a: 2}\n", [{"a": 1}, {"a": 2}]),
        ("a: 2026-01-01T00:00:00Z\n", [{"a": "2026-01-01T00:00:00Z"}]),
        ("a: =\n", [{"a": "="}]),
        ("a: 1\r\nb: 2\r\n", [{"a": 1, "b": 2}]),
    ],
)
def test_forms_of_texts(text: str, expected: list[Any]) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(
    ("text", "says"), [("a: {{ .Values.image }}\nb: [", "helm template"), ("a:\tb: c: d", "line 1"), ("[" * 5000, "it")]
)
def test_what_cannot_be_read_is_named(text: str, says: str) -> None:
    with pytest.raises(ManifestError, match=says):
        read(text)


def test_keys_are_text_and_nulls_are_not_there() -> None:
    assert plain({True: 1, 2: {"a": None, "b": [None, 1.5]}}, "it") == {"true": 1, "2": {"b": [None, 1.5]}}


@pytest.mark.parametrize(
    "text", ["1e3", "y", "N", "0o17", "0b1", ".5", "on", "null", "1.10", "a: b", "two\nlines\n", ""]
)
def test_text_stays_text_for_every_reader(text: str) -> None:
    out = written([{"a": text}])
    assert read(out) == [{"a": text}]
    plain_scalar = out.strip().partition(": ")[2]
    assert plain_scalar[:1] in ("'", '"', "|"), f"{out!r}: a reader of YAML 1.2 may see something else"


leaves = st.text("abc:-#'\" \n1eyn", max_size=8) | st.integers(-9, 9) | st.booleans()
trees = st.recursive(leaves, lambda inner: st.dictionaries(st.text("ab1", max_size=4), inner, max_size=3))


@given(trees)
def test_what_is_written_is_read_back(value: Any) -> None:
    kept = plain({"a": value}, "it")
    assert yaml.safe_load(written([kept])) == kept
