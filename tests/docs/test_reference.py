"""docs/ tells what is there: the generated pages are current, and links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "policies").rglob("*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)(?:#([^)\s]+))?\)|\]\(#([^)\s]+)\)")


def test_the_references_are_what_their_sources_say() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/reference.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}: run `make docs`"


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as they are linked."""
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor, here in LINK.findall(page.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        file = page if here else (page.parent / target)
        assert file.exists(), f"{page.name} links to {target}"
        if (anchor or here) and file.suffix == ".md":
            assert (anchor or here) in headings(file), f"{page.name} links to {target}#{anchor or here}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_and_folders_that_are_named_are_there(page: Path) -> None:
    named = re.findall(
        r"`((?:docs|examples|policies|charts|metacontroller|tests|scripts)/[\w./-]*\w/?)", page.read_text()
    )
    assert [one for one in named if not (ROOT / one).exists()] == []
