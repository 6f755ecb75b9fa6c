"""Every policy in `policies/` does what its cases say."""

from pathlib import Path

import pytest

from kuik.cases.run import Case, failures, read
from kuik.plan.tree import Disk, policies_in

FOLDER = Path(__file__).parents[2] / "policies"
CASES = [
    pytest.param(path.parent, case, id=f"{path.parent.name}: {case.reason}")
    for path in sorted(FOLDER.glob("*/cases.yaml"))
    for case in read(path.read_text(), str(path))
]


@pytest.mark.parametrize(("folder", "case"), CASES)
def test_case(folder: Path, case: Case) -> None:
    assert not failures(case, policies_in(Disk(), str(folder), whole=True))


def test_every_policy_has_its_parts_and_is_listed() -> None:
    listed = (FOLDER / "README.md").read_text()
    for folder in (path for path in FOLDER.iterdir() if path.is_dir()):
        parts = {"policy.yaml", "cases.yaml", "kustomization.yaml"}
        if folder.name == "defaults":
            parts = {"kustomization.yaml"}  # it is made of other folders
        assert parts <= {path.name for path in folder.iterdir()}
        assert f"[{folder.name}]({folder.name})" in listed


def test_the_page_on_prefetch_shows_the_policy_as_it_is() -> None:
    page = (FOLDER.parent / "docs" / "prefetch.md").read_text()
    _, _, policy = (FOLDER / "pull-images-ahead" / "policy.yaml").read_text().partition("\n")
    assert f"```yaml\n{policy}```" in page
