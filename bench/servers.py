"""The servers that are measured: `kuik run`, the hooks, and docker-registry, alone or as a pull-through cache."""

import contextlib
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kuik.demo.images import BuiltImage
from registry.proxied import host_to_segment
from tests.rig.processes import free_port, stop, wait_until
from tests.rig.upstream import Upstream

REGISTRY = "docker-registry"
_HOOKS = (sys.executable, "-m", "hooks")
_KUIK_RUN = (sys.executable, "-m", "kuik", "run")


class CannotStart(RuntimeError):
    """A server that is to be measured did not start; the message holds its last words."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server; its process and all that it started are found from `pid`."""

    pid: int
    host: str


@contextmanager
def upstream(folder: Path) -> Iterator[Upstream]:
    """The registry where images come from, with its access log."""
    registry = Upstream(folder)
    try:
        yield registry.start()
    finally:
        registry.stop()


@contextmanager
def registry(
    folder: Path,
    *,
    storage: Path,
    remote: str = "",
    program: str = REGISTRY,
    inside: Sequence[str] = (),
    address: str = "127.0.0.1",
) -> Iterator[Server]:
    """A registry on `storage`, written by another one before; with `remote` a pull-through cache of that.

    It may listen at another `address`, in the network namespace that the words of `inside` lead to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(storage)}},
        "http": {"addr": f"{address}:{port}"},
        **({"proxy": {"remoteurl": f"http://{remote}"}} if remote else {}),
    }
    path = folder / "config.yml"
    path.write_text(json.dumps(config))  # JSON is YAML
    with running([*inside, program, "serve", str(path)], port, folder / "log", address=address) as server:
        yield server


@contextmanager
def kuik(store: Path, upstream_host: str) -> Iterator[Server]:
    """`kuik run`, serving the store."""
    port = free_port()
    words = ["--listen", f"127.0.0.1:{port}", *_store_words(store, upstream_host)]
    with running([*_KUIK_RUN, *words], port, store.with_name(f"{store.name}.log")) as server:
        yield server


@contextmanager
def hooks(folder: Path) -> Iterator[Server]:
    """The hooks as their Deployment runs them, with no API server and no shield to ask."""
    port = free_port()
    command = [*_HOOKS, "--listen", f"127.0.0.1:{port}", "--log-level", "warning"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("KUIK_", "KUBERNETES_"))}
    with running(command, port, folder / "hooks.log", health="/readyz", environment=environment) as server:
        yield server


def _store_words(store: Path, upstream_host: str) -> list[str]:
    """The options of `kuik run` for a store and an upstream on loopback."""
    return ["--store", str(store), "--plain-http", upstream_host]


def kuik_once(store: Path, upstream_host: str, image: str) -> list[str]:
    """The command that caches one image; the manifest of the pod that uses it is written beside the store."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "bench", "namespace": "default"},
        "spec": {"containers": [{"name": "app", "image": image}]},
    }
    manifest = store.with_name("pod.json")
    manifest.write_text(json.dumps(pod))
    return [*_KUIK_RUN, str(manifest), "--once", *_store_words(store, upstream_host)]


def path_at_kuik(upstream_host: str, path: str) -> str:
    """Where kuik's proxy serves what the registry has at `path` (`/v2/...`)."""
    return f"/v2/{host_to_segment(upstream_host)}/{path.removeprefix('/v2/')}"


def largest_blob(built: BuiltImage, repository: str) -> str:
    """The path of the image's largest layer at its registry."""
    digest = max(built.blobs, key=lambda one: len(built.blobs[one]))
    return f"/v2/{repository}/blobs/{digest}"


@contextmanager
def running(  # noqa: PLR0913  all but three are optional
    command: Sequence[str],
    port: int,
    log: Path,
    health: str = "/v2/",
    environment: Mapping[str, str] | None = None,
    *,
    status: int = 200,
    address: str = "127.0.0.1",
) -> Iterator[Server]:
    """A process, once it answers `health` with `status`."""
    with log.open("ab") as file:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment)
    host = f"{address}:{port}"
    try:
        wait_until(lambda: _answers(process, host, log, health, status), f"{command[0]} answers")
        yield Server(process.pid, host)
    finally:
        stop(process)


def _answers(process: "subprocess.Popen[bytes]", host: str, log: Path, health: str, status: int) -> bool:
    if process.poll() is not None:
        raise CannotStart(f"a server ended at its start: {log.read_text(errors='replace')[-500:]}")
    connection = http.client.HTTPConnection(host, timeout=5)
    with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
        connection.request("GET", health)
        return connection.getresponse().status == status
    return False
