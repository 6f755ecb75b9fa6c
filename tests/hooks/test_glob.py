"""Patterns with stars and question marks, and what they cost."""

import fnmatch
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hooks.glob import fits, glob

TEXTS = st.text("ab/:[", max_size=12)
PATTERNS = st.text("ab/:[*?", max_size=10)


@given(PATTERNS, TEXTS)
def test_it_means_what_the_stars_say(pattern: str, name: str) -> None:
    words = "".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in pattern)
    assert glob(pattern).matches(name) == (re.fullmatch(words, name, re.DOTALL) is not None)


@pytest.mark.parametrize(
    ("pattern", "name", "does"),
    [
        ("docker.io/library/*:*", "docker.io/library/nginx:1.27", True),
        ("docker.io/library/*:*", "docker.io/library/a/b:1", True),
        ("docker.io/library/*:*", "docker.io/library/nginx@sha256:" + "1" * 64, True),
        ("*.example.com/*", "reg.example.com/a:1", True),
        ("*.example.com/*", "example.com/a:1", False),
        ("[a-z].io/*", "b.io/x", False),
        ("[::1]:5000/*", "[::1]:5000/x:1", True),
        ("a*a", "a", False),
        ("*", "", True),
        ("?", "", False),
    ],
)
def test_examples(pattern: str, name: str, does: bool) -> None:
    assert glob(pattern).matches(name) is does


def test_no_patterns_are_all() -> None:
    assert fits((), "anything")
    assert not fits((glob("a"), glob("b")), "c")


@pytest.mark.parametrize("pattern", ["a*" * 256, "a*" * 250 + "b", "?*" * 250 + "b", "*" * 512, "*a?" * 170 + "b"])
def test_no_pattern_takes_long(pattern: str) -> None:
    name = "a" * 512
    begun = time.perf_counter()
    for _ in range(10):
        glob(pattern).matches(name)
    assert time.perf_counter() - begun < 0.5
    assert glob(pattern).matches(name) == fnmatch.fnmatchcase(name, pattern)
