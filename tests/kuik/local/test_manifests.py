"""Manifests as people keep them."""

import os
from pathlib import Path

import pytest

from kuik.local.documents import ManifestError
from kuik.local.manifests import Watched, files_in, parse

JSON_POD = '{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}'
POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\n"


def names(watched: Watched) -> list[str]:
    return [obj["metadata"]["name"] for obj in watched.objects()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("---\n---\n# a comment\n", []),
        (POD % "a" + "---\n" + POD % "b", ["a", "b"]),
        ("just text", []),
        ("- a\n- list\n", []),
        ("replicaCount: 3\nimage: {repository: nginx}\n", []),
        (JSON_POD, ["a"]),
        (f'{{"kind": "List", "apiVersion": "v1", "items": [{JSON_POD}]}}', ["a"]),
        ('{"kind": "PodList", "apiVersion": "v1", "items": [{"metadata": {"name": "a"}}]}', ["a"]),
        ('{"kind": "PodList", "apiVersion": "v1", "items": null}', []),
        ("apiVersion: v1\nkind: Pod\nmetadata: {generateName: a-}\n", ["?"]),
        ("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [a.yaml]\n", []),
    ],
)
def test_what_is_read(text: str, expected: list[str]) -> None:
    assert [obj["metadata"].get("name", "?") for obj in parse(text, "it")] == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "it: line"),
        ("a: b: c", "it: line 1"),
        ("apiVersion: v1\nkind: Pod\n", "metadata.name"),
        ('{"kind": "PodList", "apiVersion": "v1", "items": ["x"]}', r"items\[0\]"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: 1}\n", "metadata.name is not text"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nx: " + "[" * 150 + "]" * 150, "deep"),
    ],
)
def test_what_is_wrong_is_named(text: str, says: str) -> None:
    with pytest.raises(ManifestError, match=says):
        parse(text, "it")


def test_aliases_that_multiply_are_refused() -> None:
    lines = ["apiVersion: v1", "kind: Pod", "metadata: {name: a}", "a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(ManifestError, match="more than"):
        parse("\n".join(lines), "it")


def test_folders_are_read_to_their_depth_without_hidden_files(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", "deep/er/c.json", ".git/x.yaml", "notes.txt", ".hidden.yaml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert [str(path.relative_to(tmp_path)) for path in files_in(tmp_path)] == ["a.yml", "b.yaml", "deep/er/c.json"]
    with pytest.raises(ManifestError, match="no such file"):
        files_in(tmp_path / "none")


def test_files_that_come_change_and_go(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(POD % "a")
    watched = Watched([str(tmp_path)], str)
    watched.load()
    assert names(watched) == ["a"]
    assert not watched.refresh()
    (tmp_path / "b.yaml").write_text(POD % "b")
    (tmp_path / "a.yaml").write_text(POD % "changed")
    assert watched.refresh()
    assert names(watched) == ["changed", "b"]
    (tmp_path / "a.yaml").unlink()
    assert watched.refresh()
    assert names(watched) == ["b"]


def test_a_broken_file_keeps_what_it_had_until_it_is_mended_or_gone(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(POD % "a")
    watched = Watched([str(tmp_path)], str)
    watched.load()
    file.write_text("a: [")
    watched.refresh()
    assert names(watched) == ["a"]
    assert len(watched.errors) == 1
    file.write_text(POD % "mended")
    watched.refresh()
    assert names(watched) == ["mended"]
    assert not watched.errors
    file.write_text("a: [")
    watched.refresh()
    file.unlink()
    watched.refresh()
    assert names(watched) == []
    assert not watched.errors


def test_a_folder_that_is_away_takes_nothing_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "pods"
    folder.mkdir()
    (folder / "a.yaml").write_text(POD % "a")
    watched = Watched([str(folder)], str)
    watched.load()
    folder.rename(tmp_path / "moved")
    watched.refresh()
    assert names(watched) == ["a"]
    assert "no such file or folder" in watched.errors[0]
    (tmp_path / "moved").rename(folder)
    (folder / "a.yaml").unlink()
    watched.refresh()
    assert names(watched) == []
    assert not watched.errors


def test_the_first_read_must_be_whole(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: [")
    with pytest.raises(ManifestError, match=r"a\.yaml"):
        Watched([str(tmp_path)], str).load()


def test_standard_input_is_read_once() -> None:
    watched = Watched(["-"], lambda: POD % "a")
    watched.load()
    watched.refresh()
    assert names(watched) == ["a"]


def test_a_file_replaced_within_the_clocks_tick_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(POD % "a")
    stamp = file.stat()
    watched = Watched([str(file)], str)
    watched.load()
    fresh = tmp_path / "fresh"
    fresh.write_text(POD % "b")
    os.utime(fresh, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    fresh.replace(file)
    watched.refresh()
    assert names(watched) == ["b"]
