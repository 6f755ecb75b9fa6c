"""skopeo, the real client: pulls into a folder and tells digests."""

import hashlib
import json
import subprocess
from pathlib import Path


def run(*arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    """Run skopeo without any policy or credentials of this machine."""
    command = ["skopeo", "--insecure-policy", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    if check:
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
    return done


def pull(image: str, target: Path, *options: str) -> str:
    """Pull `image` (without docker://) over plain HTTP into a `dir:` folder; returns the manifest's digest.

    skopeo checks the digest of every blob it writes; the manifest's is computed here, from the bytes it kept.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    run("copy", "--src-tls-verify=false", "--src-no-creds", *options, f"docker://{image}", f"dir:{target}")
    return "sha256:" + hashlib.sha256((target / "manifest.json").read_bytes()).hexdigest()


def fails_to_pull(image: str, target: Path) -> bool:
    """Whether skopeo cannot pull `image`."""
    options = ("--src-tls-verify=false", "--src-no-creds")
    return run("copy", *options, f"docker://{image}", f"dir:{target}", check=False).returncode != 0


def raw_digest(image: str) -> str:
    """The digest of what the registry answers for `image`, index or manifest, as it is."""
    done = subprocess.run(
        ["skopeo", "inspect", "--raw", "--tls-verify=false", "--no-creds", f"docker://{image}"],
        capture_output=True,
        timeout=60,
        check=True,
    )
    return "sha256:" + hashlib.sha256(done.stdout).hexdigest()


def inspect(image: str) -> dict[str, object]:
    """`skopeo inspect` of any transport, as data."""
    found: dict[str, object] = json.loads(run("inspect", image).stdout)
    return found
