"""README's walk is one that `make e2e` can type: its parts, its names, and what it shows."""

import re

from hooks.wanted import name_of
from tests.e2e.rig.readme import HEADING, Command, page, parts, shows, steps


def test_the_walk_has_its_three_parts_and_each_says_what_it_must() -> None:
    found = parts(page())
    typed = {name: [one.typed for one in part if isinstance(one, Command)] for name, part in found.items()}
    assert any("helm install kuik" in one for one in typed["install"])
    for said in ("kubectl get ci", "kubectl describe ci", "rollout restart", "kuik.dev/cache=false", "cache remove"):
        assert any(said in one for one in typed["use"]), said
    assert any("helm uninstall kuik" in one for one in typed["leave"])
    assert [one for one in found["use"] if isinstance(one, str)] == ["upstream is down", "upstream is back"]


def test_names_are_those_that_images_have() -> None:
    for name in re.findall(r"nginx-latest-[0-9a-f]+", page()):
        assert name == name_of("docker.io/library/nginx:latest")


def test_commands_go_over_lines_and_keep_what_the_page_shows() -> None:
    walk = "<!-- a -->\n```console\n$ x \\\n    y\nout\n$ z\n```\n"
    text = f"{HEADING}\n\n{walk}\n### Next\n```console\n$ n\n```\n"
    assert list(steps(text)) == ["a", Command("x \\\n    y", ["out"]), Command("z")]


def test_numbers_sizes_and_ages_may_differ_and_words_may_not() -> None:
    shown = ["NAME  PHASE   SIZE    AGE", "web   Cached  72 MB   13s"]
    assert shows("NAME PHASE SIZE AGE\nother Cached 1 B 1s\nweb Cached 4.1 kB 2m3s\n", shown)
    assert not shows("NAME PHASE SIZE AGE\nweb Failed 4.1 kB 2m3s\n", shown)
    assert not shows("web Cached 4.1 kB 2m3s\nNAME PHASE SIZE AGE\n", shown)
