"""Programs that `tests/rig/build` has built."""

import os
from pathlib import Path

from tests.rig.processes import find


def cache() -> Path:
    """Where `tests/rig/build` leaves its programs."""
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kuik-rig"
    return Path(os.environ.get("KUIK_RIG_CACHE") or usual)


def program(name: str) -> str:
    """A program of the rig, from the cache or PATH; raises AssertionError, saying how to get it."""
    built = cache() / name
    found = str(built) if built.exists() else find(name)
    assert found, f"{name} is neither in {built.parent} nor on PATH: run `tests/rig/build`, which builds it"
    return found
