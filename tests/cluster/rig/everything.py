"""All of kuik on a real API server: the stages, copy Jobs' pods, a keeper with its registry, a shield, an upstream."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from hooks.conditions import holds
from kuik.keeper.distribution import Filesystem
from registry.own_registry import TOKEN as REGISTRY_TOKEN
from tests.cluster.rig.api import Object
from tests.cluster.rig.control_plane import ControlPlane
from tests.cluster.rig.copies import CopyRunner
from tests.cluster.rig.kept import VOLUME, Scene
from tests.cluster.rig.source import Source
from tests.cluster.scale.drivers import Loop
from tests.cluster.scale.setting import started
from tests.dataplane.rig.distribution import WRITERS_TOKEN, reader, writer
from tests.rig.components import TOKEN, Component, shield
from tests.rig.images import BuiltImage


@dataclass
class Cluster:
    """All that runs; `built` are the images by their names."""

    plane: ControlPlane
    source: Source
    shield: Component
    scene: Scene
    runner: CopyRunner
    built: dict[str, BuiltImage]

    @property
    def images(self) -> dict[str, Object]:
        """The CachedImages by the images that they are for."""
        return {one["spec"]["image"]: one for one in self.plane.api.list("CachedImage")}

    def done(self) -> int:
        """How many are cached and verified."""
        return sum(holds(one, "Cached") and holds(one, "Verified") for one in self.images.values())


@contextmanager
def cluster(folder: Path, images: Mapping[str, BuiltImage], *keeper: str) -> Iterator[Cluster]:
    """All of it runs until the block ends; `images` are upstream, by repository, each with tag 1. `keeper` are further
    options of the keeper."""
    with ExitStack() as ends:
        source = Source(folder / "upstream")
        ends.callback(source.stop)
        built = {f"{source.relay.host}/{repository}:1": one for repository, one in images.items()}
        for repository, one in images.items():
            source.registry.push(one, repository, "1")
        front = shield(folder / "shield", "--plain-http", source.relay.host).start()
        ends.callback(front.stop)
        storage = Filesystem(str(folder / "storage"))
        copies = ends.enter_context(reader(folder / "reader", storage))
        document = writer(folder / "writer", storage)
        settings = {
            "KUIK_SHIELD_URL": front.url,
            "KUIK_TARGET_URLS": document.url,
            "KUIK_VOLUMES": VOLUME,
            "KUIK_PLAIN_HTTP": source.relay.host,
        }
        plane, hooks = ends.enter_context(started(folder, settings))
        scene = Scene(plane, folder, document, copies)
        document.folder.mkdir(parents=True, exist_ok=True)
        scene.start(*keeper)
        ends.callback(scene.stop)
        runner = CopyRunner(plane, folder, {"KUIK_TOKEN": TOKEN, REGISTRY_TOKEN: WRITERS_TOKEN})
        runner.start()
        ends.callback(runner.stop)
        loop = Loop(plane, hooks)
        loop.start()
        ends.callback(loop.stop)
        yield Cluster(plane, source, front, scene, runner, built)
