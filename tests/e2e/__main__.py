"""`python -m tests.e2e [PYTEST ARGUMENTS]`: the scenarios on a real node, in a sandbox of which nothing is left."""

import os
import sys
import tempfile
from pathlib import Path

from tests.e2e.rig import needs, sandbox


def main(arguments: list[str]) -> int:
    """Say what is missing, or run the scenarios."""
    missing = needs.missing()
    if missing:
        sys.exit("\n- ".join(["the scenarios on a real node need what is not here:", *missing]))
    folder = Path(tempfile.gettempdir()) / f"kuik-e2e-{os.getpid()}"
    pytest = [sys.executable, "-m", "pytest", "-q", "tests/e2e", "-p", "no:cacheprovider", *arguments]
    return sandbox.run(pytest, folder)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
