"""kuik's data plane before a registry: a shield, a proxy with the registry's readers, and copies by the copy Job."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.own_registry import TOKEN as REGISTRY_TOKEN
from tests.dataplane.rig.distribution import READERS_TOKEN, WRITERS_TOKEN, Distribution
from tests.dataplane.rig.registry import Registry
from tests.rig import components
from tests.rig.components import Component, proxy, shield
from tests.rig.upstream import Upstream


@dataclass(frozen=True)
class Plane:
    """Processes that run. `proxy.image(reference)` is what clients pull."""

    registry: Registry
    shield: Component
    proxy: Component

    def copy(self, image: str) -> dict[str, Any]:
        """The result of the copy Job of an image."""
        words = ["--image", image, "--source", self.shield.url, "--target", self.registry.writer.url]
        environment = os.environ | {"KUIK_TOKEN": components.TOKEN, REGISTRY_TOKEN: WRITERS_TOKEN}
        command = [sys.executable, "-m", "kuik.copy_job", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
        assert done.stdout, done.stderr
        result: dict[str, Any] = json.loads(done.stdout)
        return result


@contextmanager
def plane(
    folder: Path,
    registry: Registry,
    upstream: Upstream | Distribution,
    shields: Sequence[str] = (),
    proxies: Sequence[str] = (),
) -> Iterator[Plane]:
    """Shield and proxy in front of an upstream and of a registry that run already; both end with the block.

    `shields` and `proxies` are further options of theirs.
    """
    plain = ("--plain-http", upstream.host)
    a_shield = shield(folder / "shield", *plain, "--freshness", "0", *shields)
    readers = [word for reader in registry.readers for word in ("--registry", reader.url)]
    a_proxy = proxy(folder / "proxy", *readers, "--shield", a_shield.url, *plain, *proxies)
    a_proxy.environment = {REGISTRY_TOKEN: READERS_TOKEN}
    with ExitStack() as stack:
        for component in (a_shield, a_proxy):
            stack.callback(component.stop)
            component.start()
        yield Plane(registry, a_shield, a_proxy)
