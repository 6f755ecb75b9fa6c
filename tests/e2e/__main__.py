"""`python -m tests.e2e [PYTEST ARGUMENTS]`: the scenarios on a real node, in a sandbox of which nothing is left.

To work on one, let a cluster stay, in the background or in a terminal of its own, and try again in another:

    python -m tests.e2e --stay                      # boots, installs kuik, and stays until Ctrl-C or --end
    python -m tests.e2e --again -k private          # brings our image up to date in it, and runs these
    python -m tests.e2e --shell [kubectl get pods]  # a shell in it, or one command: kubectl and helm know the cluster
    python -m tests.e2e --end
"""

import json
import os
import sys
import tempfile
from pathlib import Path

from tests.e2e.rig import image, needs, sandbox
from tests.rig.built import cache

_INSTALLS = ("-k", "test_a_pod_runs or installing_restarts_nothing")


def main(arguments: list[str]) -> int:
    """Say what is missing, or run the scenarios."""
    missing = needs.missing()
    if missing:
        sys.exit("\n- ".join(["the scenarios on a real node need what is not here:", *missing]))
    match arguments:
        case ["--again", *chosen]:
            stay, folder = _staying()
            _build()
            return stay.enter(folder, _pytest(chosen), **{sandbox.STAY: "1"})
        case ["--shell", *command]:
            stay, folder = _staying()
            path = f"{cache()}:{cache() / 'containerd2'}:{os.environ['PATH']}"
            kubeconfig = str(folder / "control-plane" / "admin.kubeconfig")
            return stay.enter(folder, command or ["bash"], PATH=path, KUBECONFIG=kubeconfig)
        case ["--end"]:
            _staying()[0].end()
            return 0
        case ["--stay", *chosen]:
            os.environ[sandbox.STAY] = "1"
            return _run(chosen or list(_INSTALLS))
        case chosen:
            return _run(chosen)


def _run(chosen: list[str]) -> int:
    folder = Path(tempfile.gettempdir()) / f"kuik-e2e-{os.getpid()}"
    _build()
    return sandbox.run(_pytest(chosen), folder)


def _build() -> None:
    built = image.build()
    sizes = f"{built.size / 1e6:.0f} MB, of which its base has {built.base_size / 1e6:.0f}"
    sys.stdout.write(f"our image: {sizes}\n{built.packages}\n")
    sys.stdout.flush()
    os.environ["KUIK_E2E_SIZE"] = sizes
    os.environ["KUIK_E2E_IMAGE"] = json.dumps(built.config)
    os.environ["KUIK_E2E_IMAGES"] = str(built.archive)


def _staying() -> tuple[sandbox.Stay, Path]:
    found = sandbox.Stay.of(sandbox.ROOT)
    if not found:
        sys.exit("no cluster stays for this tree: `python -m tests.e2e --stay`")
    return found


def _pytest(chosen: list[str]) -> list[str]:
    return [sys.executable, "-m", "pytest", "-q", "tests/e2e", "-p", "no:cacheprovider", "--timeout=300", *chosen]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
