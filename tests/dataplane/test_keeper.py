"""The keeper starts the writer, says whether the registry will do, and ends with it."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kuik.keeper import distribution
from kuik.keeper.distribution import Filesystem
from tests.dataplane.rig.distribution import READERS_TOKEN, WRITERS_TOKEN, public, reader, writer
from tests.rig.built import program
from tests.rig.processes import listening, wait_until


@contextmanager
def keeper(folder: Path, document: Mapping[str, Any], url: str, *more: str) -> Iterator[tuple[Any, Path]]:
    """The process with its writer, and its log."""
    folder.mkdir(parents=True, exist_ok=True)
    config, log = folder / "writer.yaml", folder / "keeper.log"
    config.write_text(distribution.text(document))
    environment = {
        **os.environ,
        **distribution.environment("a-secret-of-the-rig"),
        "KUIK_REGISTRY_TOKEN": WRITERS_TOKEN,
        "KUIK_READER_TOKEN": READERS_TOKEN,
    }
    command = [sys.executable, "-m", "kuik.keeper", "--url", url, *more, "--", program("registry"), "serve"]
    with log.open("wb") as told:
        process = subprocess.Popen([*command, str(config)], stdout=told, stderr=told, env=environment)
    try:
        yield process, log
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(40)


def test_a_registry_as_it_is_configured_will_do(tmp_path: Path) -> None:
    storage = Filesystem(str(tmp_path / "storage"))
    document = writer(tmp_path / "writer", storage)
    with reader(tmp_path / "reader", storage) as copies:
        with keeper(tmp_path / "keeper", document.document, document.url, "--reader", copies.url) as (process, log):
            wait_until(lambda: "is what kuik needs" in log.read_text(), "it is checked")
            assert listening(document.port)
            process.terminate()
            assert process.wait(40) == 0
        assert not listening(document.port)
    said = log.read_text()
    assert "FAILS" not in said
    assert WRITERS_TOKEN not in said
    assert READERS_TOKEN not in said


def test_one_that_will_not_do_is_told_with_what_to_do_and_goes_on(tmp_path: Path) -> None:
    plain = public(tmp_path / "plain")
    with keeper(tmp_path / "keeper", plain.document, plain.url) as (process, log):
        wait_until(lambda: "is not what kuik needs" in log.read_text(), "it is checked")
        assert "FAILS    sparse" in log.read_text()
        assert process.poll() is None
        assert listening(plain.port)


def test_it_ends_as_the_writer_ends(tmp_path: Path) -> None:
    with keeper(tmp_path, {"version": 0.1}, "http://127.0.0.1:9") as (process, log):
        assert process.wait(40) not in (0, None)
        assert "is what kuik needs" not in log.read_text()


def test_a_url_that_is_none_starts_nothing(tmp_path: Path) -> None:
    with keeper(tmp_path, {}, "registry:5000") as (process, log):
        assert process.wait(40) == 2
        assert "'registry:5000' is not a URL" in log.read_text()
