"""The OCI distribution-spec's own conformance suite, and what it finds: by the difference of two runs."""

import os
import re
import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.rig.built import program

NO_DELETES = {
    "OCI_API_BLOBS_DELETE": "false",
    "OCI_API_MANIFESTS_DELETE": "false",
    "OCI_API_TAGS_DELETE": "false",
}
PULLS_ONLY = {"OCI_API_PUSH": "false", **NO_DELETES}

_LINE = re.compile(
    r'msg="(?P<what>passing|failed) test" name="(?P<name>[^"]*)"(?: error="(?P<error>(?:[^"\\]|\\.)*)")?'
)


@dataclass(frozen=True)
class Findings:
    """How often each test passed and failed, by its name, and what the failed ones complained of."""

    passed: Counter[str]
    failed: Counter[str]
    complaints: Mapping[str, str]


def conformance(folder: Path, host: str, repository: str, options: Mapping[str, str]) -> Findings:
    """Run the suite against a repository of the registry at `host`, over plain HTTP."""
    folder.mkdir(parents=True)
    place = {"OCI_REGISTRY": host, "OCI_TLS": "disabled", "OCI_REPO1": repository, "OCI_REPO2": f"{repository}-2"}
    environment = {"PATH": os.environ["PATH"], "OCI_RESULTS_DIR": str(folder), "OCI_LOG": "info", **place, **options}
    done = subprocess.run(
        [program("conformance")], cwd=folder, capture_output=True, text=True, timeout=110, env=environment, check=False
    )
    # Not from its reports: without pushes it ends in a panic while it writes them.
    told = [match for line in done.stderr.splitlines() if (match := _LINE.search(line))]
    assert told, f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
    passed = Counter(match["name"] for match in told if match["what"] == "passing")
    failed = [match for match in told if match["what"] == "failed"]
    complaints = {match["name"]: match["error"] or "" for match in failed}
    return Findings(passed, Counter(match["name"] for match in failed), complaints)


def worse(direct: Findings, through: Findings) -> dict[str, str]:
    """What fails more often through something than directly, or passes less often."""
    names = [name for name, count in through.failed.items() if count > direct.failed[name]]
    names += [name for name, count in direct.passed.items() if through.passed[name] < count]
    return {name: through.complaints.get(name, "not tried") for name in names}
