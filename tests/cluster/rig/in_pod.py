"""`python -m tests.cluster.rig.in_pod FOLDER MODULE [ARGUMENT...]`: the module as in a pod whose service account's
files are in FOLDER."""

import runpy
import sys
from pathlib import Path

from kubernetes.config import incluster_config


def main() -> None:
    """Be that module; pods find the files at a path that only pods have."""
    _, folder, module, *arguments = sys.argv
    incluster_config.SERVICE_TOKEN_FILENAME = str(Path(folder) / "token")
    incluster_config.SERVICE_CERT_FILENAME = str(Path(folder) / "ca.crt")
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
