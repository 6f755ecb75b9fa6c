"""One upstream, one registry that holds copies, and the links between them and kuik: the setting of the fault matrix.

The links and the registries stay; each trial of a fault gets a shield and a proxy of its own, which know nothing of
the trial before. Images are pushed once, and two of them are copied by the real copy Job program.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.dataplane.disk import SmallDisk
from tests.dataplane.rig.holder import READS, Holder
from tests.rig.components import Component, proxy, shield
from tests.rig.images import BuiltImage, image
from tests.rig.link import Link
from tests.rig.puller import Image
from tests.rig.upstream import Upstream

LAYER = 300_000
REGISTRY_DISK = 32 << 20
IMAGES = ("cached-tag", "cached-digest", "cold-tag", "cold-digest", "warm")


@dataclass
class Lane:
    """`start()` it, hold `trial()`s one after another, `stop()` it. `tls` is what the links may speak."""

    folder: Path
    authority: "Path"
    built: dict[str, BuiltImage] = field(default_factory=dict)

    def start(self) -> Self:
        self.upstream = Upstream(self.folder / "upstream").start()
        self.registry = Holder(self.folder / "registry")
        self.disk = SmallDisk(self.registry.storage, REGISTRY_DISK)
        self.registry.start()
        self.to_upstream = Link(self.upstream.host)
        self.to_registry = Link(self.registry.host)
        for name in IMAGES:
            self.built[name] = image(name, layer_size=LAYER)
            self.upstream.push(self.built[name], f"team/{name}", "1")
        with self._running(shield(self.folder / "filling", "--plain-http", self.to_upstream.host)) as filling:
            for name in IMAGES:
                if name.startswith("cached"):
                    done = self.copy(name, filling)
                    assert "digest" in done, done
        return self

    def stop(self) -> None:
        for link in (self.to_upstream, self.to_registry):
            link.close()
        self.upstream.stop()
        self.registry.stop()
        self.disk.close()

    def copy(self, name: str, source: Component) -> dict[str, str]:
        """Run the copy Job program for one of the images; its result."""
        return self.registry.copy(f"{self.to_upstream.host}/team/{name}:1", source)

    def direct(self, name: str) -> Image:
        """How a client without kuik asks for an image."""
        return Image(f"team/{name}", self._target(name))

    def through_kuik(self, name: str) -> Image:
        """How a client asks the proxy for it."""
        prefix = self.to_upstream.host.replace(":", "__") + "/"
        return Image(f"team/{name}", self._target(name), prefix)

    def content(self, name: str) -> dict[str, int]:
        """Digests and sizes of all that a pull must bring."""
        built = self.built[name]
        return {str(digest): len(blob) for digest, blob in built.blobs.items()} | {str(built.digest): len(built.raw)}

    def _target(self, name: str) -> str:
        return str(self.built[name].digest) if name.endswith("digest") else "1"

    @contextmanager
    def trial(self, folder: Path, *, tls: str = "", shield_disk: int = 0) -> "Iterator[Trial]":
        """A shield and a proxy that start healthy and know nothing; `tls` names the link that speaks TLS."""
        disk = SmallDisk(folder / "shield" / "spool", shield_disk) if shield_disk else None
        plain = [] if tls == "upstream" else ["--plain-http", self.to_upstream.host]
        trusted = {"SSL_CERT_FILE": str(self.authority)}
        a_shield = shield(folder / "shield", *plain)
        a_shield.environment = trusted
        to_shield = Link(a_shield.host)
        scheme = {place: "https" if tls == place else "http" for place in ("shield", "registry")}
        words = ["--registry", f"{scheme['registry']}://{self.to_registry.host}"]
        words += ["--shield", f"{scheme['shield']}://{to_shield.host}", *plain]
        a_proxy = proxy(folder / "proxy", *words)
        a_proxy.environment = trusted | READS
        try:
            with to_shield, self._running(a_shield), self._running(a_proxy):
                yield Trial(self, a_shield, a_proxy, to_shield)
        finally:
            self.to_upstream.heal()
            self.to_registry.heal()
            if disk:
                disk.close()

    @contextmanager
    def _running(self, component: Component) -> Iterator[Component]:
        component.start()
        try:
            yield component
        finally:
            with suppress(ProcessLookupError):
                component.kill()


@dataclass(frozen=True)
class Trial:
    """What one fault is tried on."""

    lane: Lane
    shield: Component
    proxy: Component
    to_shield: Link

    def link(self, place: str) -> Link:
        """The link to upstream, shield or registry."""
        return {"upstream": self.lane.to_upstream, "shield": self.to_shield, "registry": self.lane.to_registry}[place]
