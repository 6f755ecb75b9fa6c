"""The demo's upstream registry: an image layout folder served as `/v2/<repository>/...`, each request written down."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from wsgiref.types import StartResponse, WSGIApplication

from kuik.demo.images import BuiltImage
from kuik.lifeline import follow
from proxy.app import create_app
from proxy.chain import Chain
from proxy.server import Server
from proxy.sources.stored import Stored
from registry.layout import Layout
from registry.manifest import parse_manifest
from registry.reference import Reference


def fill(folder: Path, images: Mapping[str, BuiltImage]) -> None:
    """Make the folder hold these images, by their references."""
    layout = Layout(folder)
    for name, built in images.items():
        for digest, blob in built.blobs.items():
            layout.blobs.put(digest, blob)
        for digest, (_, raw) in built.manifests.items():
            layout.blobs.put(digest, raw)
        layout.tag(Reference.parse(name), parse_manifest(built.raw, built.media_type))


def app(folder: Path, host: str, log: Path) -> WSGIApplication:
    """The registry `host` as an application; every request becomes a line `METHOD path` in `log`."""
    registry = create_app(Chain(stores=(Stored(Layout(folder)),)))

    def serve(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        with log.open("a") as file:
            file.write(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}\n")
        # The proxy's mirror form names the registry in the query.
        answer: Iterable[bytes] = registry({**environ, "QUERY_STRING": urlencode({"ns": host})}, start_response)
        return answer

    return serve


def main(folder: str, host: str, log: str, sock: str, lifeline: str) -> None:
    """Serve until told to end."""
    ended = {"post_worker_init": lambda _worker: follow(int(lifeline))}
    Server([f"fd://{sock}"], lambda: app(Path(folder), host, Path(log)), **ended).run()


if __name__ == "__main__":
    mine, sys.argv = sys.argv[1:], sys.argv[:1]
    main(*mine)
