"""The demo's steps: the mission as a story in which every line is checked."""

import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import yaml
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape

from kuik.child import Child
from kuik.demo.images import BuiltImage, image, index
from kuik.demo.ports import free_port
from kuik.demo.pull import pull, puller
from kuik.demo.upstream import fill
from kuik.local.state import State
from registry.errors import RegistryError
from registry.proxied import proxied
from registry.reference import Reference

RETENTION = "1s"
_PATIENCE = 30.0
_LAYER = 3 << 20


class NotAsTold(Exception):
    """A step of the story did not come out as it should."""


class Play:
    """The stage of the demo: its upstream, its kuik, its manifests, all in one folder."""

    def __init__(self, folder: Path, console: Console, stack: ExitStack) -> None:
        self._folder = folder
        self._console = console
        self._stack = stack
        self._upstream_port, self._proxy_port = free_port(), free_port()
        self._upstream = f"127.0.0.1:{self._upstream_port}"
        self._proxy = f"127.0.0.1:{self._proxy_port}"
        self._images = _images()
        self._client = puller(self._upstream, self._proxy)
        self._log = folder / "upstream.log"
        self._pods = folder / "pods"
        self._said = folder / "said.log"

    def run(self) -> None:
        """Tell the whole story; raises NotAsTold at the first line that is not so."""
        upstream = self._start_upstream()
        kuik = self._start_kuik()
        self._cold_pull()
        self._cache_what_pods_use()
        self._end(upstream)
        self._outage("while the upstream is down")
        self._end(kuik)
        kuik = self._start_kuik()
        self._outage("after a restart, with the upstream still down")
        self._expire()
        self._end(kuik)

    def _end(self, child: Child) -> None:
        self._client.transport.close()  # a kept connection would be waited for
        child.close()

    def _start_upstream(self) -> Child:
        with self._step("an upstream registry with 3 images, each for linux/amd64 and linux/arm64") as said:
            fill(self._folder / "upstream", {f"{self._upstream}/{name}": built for name, built in self._images.items()})
            self._log.touch()
            child = self._stack.enter_context(Child(self._said))
            with socket.create_server(("127.0.0.1", self._upstream_port), backlog=128) as sock:
                words = [str(self._folder / "upstream"), self._upstream, str(self._log), str(sock.fileno())]
                child.start(["kuik.demo.upstream", *words, str(child.lifeline)], [sock.fileno()], {})
            for name, built in self._images.items():
                _expect(pull(self._client, self._name(name)) == built.digest, f"{name} can be pulled from it")
            said.append(decimal(sum(built.size for built in self._images.values())))
        return child

    def _start_kuik(self) -> Child:
        with self._step("kuik run: a store, and a proxy for pulls"):
            self._pods.mkdir(exist_ok=True)
            child = self._stack.enter_context(Child(self._said))
            words = ["kuik", "run", str(self._pods), "--store", str(self._store), "--listen", self._proxy]
            child.start([*words, "--plain-http", self._upstream, "--retention", RETENTION], [], {})
            self._until(self._answers, "kuik answers")
        return child

    def _cold_pull(self) -> None:
        with self._step("a cold pull through kuik: the same digest as upstream's, each byte asked for once") as said:
            self._log.write_text("")
            self._pulls("shop/web:1.0", "shop/web:1.0")
            asked = [line for line in self._log.read_text().splitlines() if "/blobs/" in line]
            _expect(
                len(asked) == len(set(asked)) == len(self._images["shop/web:1.0"].blobs), "one request for each blob"
            )
            said.append(f"{len(asked)} blobs")

    def _cache_what_pods_use(self) -> None:
        with self._step("pods that use them are applied: kuik copies every image") as said:
            for name in self._images:
                self._apply(name)
            self._until(lambda: self._cached() == len(self._images), "every image is cached")
            said.append(decimal(_bytes_in(self._store)))

    def _outage(self, when: str) -> None:
        with self._step(f"{when}, a direct pull fails"):
            for name in self._images:
                try:
                    pull(self._client, self._name(name))
                except RegistryError:
                    continue
                raise NotAsTold(f"{name} could be pulled from an upstream that is down")
        with self._step(f"{when}, pulls by tag and by digest give upstream's digests") as said:
            for name, built in self._images.items():
                self._pulls(name, name)
                self._pulls(name, f"{name.partition(':')[0]}@{built.digest}")
            said.append(f"{2 * len(self._images)} pulls")

    def _expire(self) -> None:
        with self._step(f"an image that no pod has used for {RETENTION} expires, and its space comes back") as said:
            before = _bytes_in(self._store)
            self._pod_file("shop/old:0.9").unlink()
            size = self._images["shop/old:0.9"].size
            self._until(lambda: self._cached() == len(self._images) - 1, "the image is gone")
            self._until(lambda: before - _bytes_in(self._store) >= size, "the space is free")
            said.append(f"{decimal(before - _bytes_in(self._store))} free")
        with self._step("images in use stay, and still pull; the expired one does not"):
            for name in ("shop/web:1.0", "shop/db:5"):
                self._pulls(name, name)
            try:
                pull(self._client, proxied(self._name("shop/old:0.9"), self._proxy))
            except RegistryError:
                return
            raise NotAsTold("the expired image could still be pulled")

    @contextmanager
    def _step(self, text: str) -> Iterator[list[str]]:
        """One line of the story: its text, and how it came out. What is put in the list is added to the line."""
        began = time.monotonic()
        said: list[str] = []
        try:
            yield said
        except (NotAsTold, RegistryError) as error:
            self._console.print(f"[red]not so[/]  {escape(text)}: {escape(str(error))}", soft_wrap=True)
            self._console.print(escape(self._said.read_text()[-4000:]), soft_wrap=True, style="dim")
            raise NotAsTold(str(error)) from error
        seconds = f"{time.monotonic() - began:.1f} s"
        aside = escape(", ".join([*said, seconds]))
        self._console.print(f"[green]ok[/]      {escape(text)} [dim]({aside})[/]", soft_wrap=True, highlight=False)

    def _pulls(self, name: str, asked: str) -> None:
        found = pull(self._client, proxied(self._name(asked), self._proxy))
        _expect(found == self._images[name].digest, f"{asked} came as {found}, not {self._images[name].digest}")

    def _name(self, name: str) -> Reference:
        return Reference.parse(f"{self._upstream}/{name}")

    @property
    def _store(self) -> Path:
        return self._folder / "store"

    def _cached(self) -> int:
        """How many images the store says are cached."""
        phases = [(obj.get("status") or {}).get("phase") for obj in State(self._store).load()]
        return sum(1 for phase in phases if phase == "Cached")

    def _apply(self, name: str) -> None:
        app = name.partition("/")[2].partition(":")[0]
        pod = {"containers": [{"name": app, "image": f"{self._upstream}/{name}"}]}
        template = {"metadata": {"labels": {"app": app}}, "spec": pod}
        selector = {"matchLabels": {"app": app}}
        spec = {"replicas": 2, "selector": selector, "template": template}
        deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": app}, "spec": spec}
        fresh = self._folder / "fresh.yaml"
        fresh.write_text(yaml.safe_dump(deployment))
        fresh.replace(self._pod_file(name))

    def _pod_file(self, name: str) -> Path:
        return self._pods / f"{name.partition('/')[2].replace(':', '-')}.yaml"

    def _answers(self) -> bool:
        try:
            self._client.ping(self._proxy)
        except RegistryError:
            return False
        return True

    @staticmethod
    def _until(holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not holds():
            if time.monotonic() > deadline:
                raise NotAsTold(f"{what}: not within {_PATIENCE:.0f} s")
            time.sleep(0.05)


def _images() -> dict[str, BuiltImage]:
    def both(name: str, *, docker: bool = False) -> BuiltImage:
        platforms = ("linux/amd64", "linux/arm64")
        return index([image(name, layer_size=_LAYER, platform=p, docker=docker) for p in platforms], docker=docker)

    return {"shop/web:1.0": both("web"), "shop/db:5": both("db", docker=True), "shop/old:0.9": both("old")}


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise NotAsTold(what)


def _bytes_in(folder: Path) -> int:
    """Bytes of the files below a folder; those that vanish while it is read do not count."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


def play(folder: Path, console: Console) -> None:
    """Run the demo in `folder`, which is removed at the end; raises NotAsTold."""
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        Play(folder, console, stack).run()
