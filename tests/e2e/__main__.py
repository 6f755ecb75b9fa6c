"""`python -m tests.e2e [PYTEST ARGUMENTS]`: the scenarios on a real node, in a sandbox of which nothing is left."""

import json
import os
import sys
import tempfile
from pathlib import Path

from tests.e2e.rig import image, needs, sandbox


def main(arguments: list[str]) -> int:
    """Say what is missing, or run the scenarios."""
    missing = needs.missing()
    if missing:
        sys.exit("\n- ".join(["the scenarios on a real node need what is not here:", *missing]))
    folder = Path(tempfile.gettempdir()) / f"kuik-e2e-{os.getpid()}"
    built = image.build()
    sizes = f"{built.size / 1e6:.0f} MB, of which its base has {built.base_size / 1e6:.0f}"
    sys.stdout.write(f"our image: {sizes}\n{built.packages}\n")
    sys.stdout.flush()
    os.environ["KUIK_E2E_SIZE"] = sizes
    os.environ["KUIK_E2E_IMAGE"] = json.dumps(built.config)
    os.environ["KUIK_E2E_IMAGES"] = str(built.archive)
    pytest = [sys.executable, "-m", "pytest", "-q", "tests/e2e", "-p", "no:cacheprovider", "--timeout=300", *arguments]
    return sandbox.run(pytest, folder)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
