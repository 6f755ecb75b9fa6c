"""Our image, built by the Dockerfile itself on a base made on this machine: no image can be pulled here.

What is made stays in the rig's cache: the base, buildah's layers, and the archive that containerd imports, so that
nothing is built anew of what has not changed. The package index is the machine's own.
"""

import fcntl
import hashlib
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.rig.built import cache, program

ROOT = Path(__file__).parents[3]
NAME = "docker.io/library/kube-image-keeper:dev"
_BASE = "localhost/kuik-base"
_SUITE = "bookworm"
_PACKAGES = "python3,python3-venv,ca-certificates"
_MIRROR = "http://deb.debian.org/debian"
_USED = 7200.0
"""Seconds after which no run loads an archive any more."""


@dataclass(frozen=True)
class OurImage:
    """The archive, and what buildah says of the image: `inspected` as `buildah inspect` prints it."""

    archive: Path
    inspected: dict[str, Any]
    size: int
    """Bytes unpacked."""
    base_size: int
    """Of these, those of what the Dockerfile builds on."""
    packages: str
    """Name and version of each Python package in it, a comma between."""

    @property
    def config(self) -> dict[str, Any]:
        """The image's configuration, as the OCI specifies it."""
        found: dict[str, Any] = self.inspected["OCIv1"]
        return found


def build(name: str = NAME, version: str = "e2e") -> OurImage:
    """Build the image where something of it has changed; one build at a time, as all give it the same name."""
    home().mkdir(parents=True, exist_ok=True)
    with (home() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        base, distribution = _base(), _distribution()
        told = home() / f"built-{_content(name, version, base, distribution)}.pickle"
        if told.exists():
            built: OurImage = pickle.loads(told.read_bytes())  # noqa: S301  our own file
            if built.archive.exists():
                os.utime(built.archive)
                return built
        built = _build(name, version, base, distribution)
        told.write_bytes(pickle.dumps(built))
        return built


def _content(*words: str) -> str:
    """What names all that an image is built from, these words too."""
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    places = [ROOT / name for name in ("Dockerfile", ".dockerignore", *kept)]
    files = [file for place in places for file in (place.rglob("*") if place.is_dir() else [place])]
    hashed = hashlib.sha256("\0".join(words).encode())
    for file in sorted(file for file in files if file.is_file() and "__pycache__" not in file.parts):
        hashed.update(f"\0{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return hashed.hexdigest()[:20]


def _build(name: str, version: str, base: str, distribution: str) -> OurImage:
    words = ["--layers", "--isolation", "chroot", "--network", "host", "--pull-never", "--format", "oci"]
    said = {"PYTHON": base, "DISTRIBUTION": distribution, "VERSION": version}
    arguments = [word for name_, value in said.items() for word in ("--build-arg", f"{name_}={value}")]
    with tempfile.TemporaryDirectory() as folder:
        _buildah("bud", *words, *_volumes(Path(folder)), *arguments, "--tag", name, str(ROOT))
    inspected = json.loads(_buildah("inspect", "--type", "image", name))
    archive = (
        home() / "archives" / f"{inspected['FromImageID'][:20]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}.tar"
    )
    if not archive.exists():
        archive.parent.mkdir(exist_ok=True)
        for old in archive.parent.glob("*.tar"):
            if time.time() - old.stat().st_mtime > _USED:  # another run, of another tree, may still load it
                old.unlink()
        _buildah("push", "--disable-compression", name, f"oci-archive:{archive}:{name}")
    return OurImage(archive, inspected, _size(name), _size(base), _packages(name))


def home() -> Path:
    """Where buildah's storage and the archives are kept."""
    return cache() / "buildah"


def _buildah(*words: str) -> str:
    """What buildah prints, with storage of its own; fails with its own words."""
    place = home()
    place.mkdir(parents=True, exist_ok=True)
    places = ["--root", str(place / "root"), "--runroot", str(place / "run"), "--storage-driver", "overlay"]
    done = subprocess.run(["buildah", *places, *words], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, f"buildah {' '.join(words)}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def _base() -> str:
    """The name of the image that stands for Docker Hub's python: a small Debian with its Python."""
    recipe = f"{_SUITE} {_PACKAGES} {_MIRROR}"
    name = f"{_BASE}:{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if f'"{name}"' in _buildah("images", "--json"):
        return name
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        command = ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", _SUITE, str(root), _MIRROR]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"debootstrap: {done.stdout[-3000:]}{done.stderr[-1000:]}"
        (root / "usr/bin/python").symlink_to("python3")
        container = _buildah("from", "scratch").strip()
        _buildah("add", container, str(root), "/")
        _buildah("config", "--cmd", "python3", "--env", "PATH=/usr/local/bin:/usr/bin:/bin", container)
        _buildah("commit", "--rm", container, name)
    return name


def _distribution() -> str:
    """The name of the image that stands for the distribution project's: its registry, as the rig has built it."""
    binary = Path(program("registry"))
    name = f"localhost/kuik-distribution:{hashlib.sha256(binary.read_bytes()).hexdigest()[:12]}"
    if f'"{name}"' not in _buildah("images", "--json"):
        container = _buildah("from", "scratch").strip()
        _buildah("add", container, str(binary), "/bin/registry")
        _buildah("commit", "--rm", container, name)
    return name


def _volumes(folder: Path) -> list[str]:
    """The machine's settings of pip and its authorities, as pip in the build sees them; no layer keeps them."""
    told = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    settings = [line.split("=", 1) for line in told.splitlines() if "=" in line]
    kept = {name.rsplit(".", 1)[-1]: value.strip("'\"") for name, value in settings}
    kept = {name: value for name, value in kept.items() if name not in ("user", "require-virtualenv", "target")}
    pip = folder / "pip.conf"
    pip.write_text("[global]\n" + "".join(f"{name} = {value}\n" for name, value in kept.items()))
    found = {str(pip): "/etc/pip.conf", "/etc/ssl/certs": "/etc/ssl/certs"}
    links = kept.get("find-links", "")
    if links.startswith("/") and Path(links).is_dir():
        found[links] = links
    return [word for here, there in found.items() for word in ("--volume", f"{here}:{there}:ro")]


def _packages(name: str) -> str:
    container = _buildah("from", "--pull-never", name).strip()
    try:
        listed = _buildah("run", "--isolation", "chroot", container, "--", "pip", "list", "--format=freeze")
    finally:
        _buildah("rm", container)
    return ", ".join(listed.split())


def _size(name: str) -> int:
    """Bytes of an image, of which buildah says `502 MB`."""
    number, unit = json.loads(_buildah("images", "--json", name))[0]["size"].split()
    return int(float(number) * {"KB": 1e3, "MB": 1e6, "GB": 1e9}[unit])
