"""Kill -9 in the middle of things: afterwards nothing is wrong, and the work goes on."""

import hashlib
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from registry.durable import file_size
from tests.rig import skopeo
from tests.rig.faulty import Relay, corrupt, hold
from tests.rig.images import image
from tests.rig.kuik import Running, cache_list, kuik, proxied
from tests.rig.manifests import deployment, write
from tests.rig.processes import wait_until
from tests.rig.upstream import Upstream

pytestmark = pytest.mark.needs("skopeo")

LAYER = 8 << 20


def wrong_blobs(store: Path) -> list[Path]:
    """Files of the store and the spool whose content is not what their name says."""
    named = [path for folder in ("blobs", "spool") for path in (store / folder).glob("sha256/*")]
    return [path for path in named if hashlib.sha256(path.read_bytes()).hexdigest() != path.name]


def test_killed_in_the_middle_of_a_copy(upstream: Upstream, tmp_path: Path) -> None:
    built = image("big", layers=1, layer_size=LAYER)
    upstream.push(built, "a/big", "1")
    store, go = tmp_path / "store", threading.Event()
    with Relay(upstream.host) as relay:
        relay.rule(hold(go, LAYER // 2), method="GET", path="/blobs/")
        relay.rule(hold(go, LAYER // 2), method="GET", path="/blobs/")
        name = f"{relay.host}/a/big:1"
        pods = write(tmp_path / "pods.yaml", deployment("app", name))
        words = ("run", pods, "--store", str(store), "--plain-http", relay.host, "--once")
        first = Running(store, (pods, "--plain-http", relay.host))
        with first:
            wait_until(lambda: _bytes_in(store) > LAYER // 4, "half of the layer came")
            assert cache_list(store)[name]["phase"] != "Cached"
            first.kill()
        go.set()
        assert wrong_blobs(store) == []
        assert '"manifests":[]' in (store / "index.json").read_text().replace(" ", "")
        done = kuik(*words)
        assert done.returncode == 0, done.stderr
        assert any(seen.headers.get("Range") for seen in relay.requests), "what had come was not asked for again"
    assert wrong_blobs(store) == []
    with Running(store) as running:
        assert skopeo.pull(proxied(running.host, name), tmp_path / "out") == str(built.digest)


def test_killed_in_the_middle_of_a_pull(upstream: Upstream, tmp_path: Path) -> None:
    built = image("big", layers=1, layer_size=LAYER)
    upstream.push(built, "a/big", "1")
    store, go = tmp_path / "store", threading.Event()
    with Relay(upstream.host) as relay:
        relay.rule(hold(go, LAYER // 2), method="GET", path="/blobs/")
        relay.rule(hold(go, LAYER // 2), method="GET", path="/blobs/")
        name = f"{relay.host}/a/big:1"
        words = ("--plain-http", relay.host)
        first = Running(store, words)
        with first:
            source = f"docker://{proxied(first.host, name)}"
            target = f"dir:{tmp_path / 'broken'}"
            command = ["skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", source, target]
            client = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            wait_until(lambda: _bytes_in(store) > LAYER // 4, "half of the layer came")
            first.kill()
            go.set()
            assert client.wait(60) != 0
        assert wrong_blobs(store) == []
        with Running(store, words) as running:
            assert skopeo.pull(proxied(running.host, name), tmp_path / "out") == str(built.digest)
    assert wrong_blobs(store) == []


def test_the_serving_process_ends_with_the_command(tmp_path: Path) -> None:
    first = Running(tmp_path / "store")
    with first:
        family = first.family()
        assert len(family) > 1
        first.kill_command_only()
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in family[1:]), "all processes are gone", 30)
        with Running(tmp_path / "store", port=first.port):
            pass


def test_a_damaged_blob_is_refused_and_not_kept(upstream: Upstream, tmp_path: Path) -> None:
    built = image("one", layers=1)
    upstream.push(built, "a/one", "1")
    layer = max(built.blobs, key=lambda digest: len(built.blobs[digest]))
    store = tmp_path / "store"
    with Relay(upstream.host) as relay:
        relay.rule(corrupt(100), method="GET", path=str(layer), times=None)
        name = f"{relay.host}/a/one:1"
        pods = write(tmp_path / "pods.yaml", deployment("app", name))
        words = ("run", pods, "--store", str(store), "--plain-http", relay.host, "--once")
        done = kuik(*words)
        assert done.returncode == 1
        assert "Corrupt" in done.stdout
        assert not [path for path in store.rglob("*") if path.name == layer.hex]
        with Running(store, ("--plain-http", relay.host)) as running:
            assert skopeo.fails_to_pull(proxied(running.host, name), tmp_path / "damaged")
        assert wrong_blobs(store) == []
        relay.rules.clear()
        assert kuik(*words).returncode == 0
        with Running(store, ("--plain-http", relay.host)) as running:
            assert skopeo.pull(proxied(running.host, name), tmp_path / "whole") == str(built.digest)


def test_an_index_json_that_is_damaged_is_said_and_not_replaced(tmp_path: Path) -> None:
    store = tmp_path / "store"
    assert kuik("run", "--store", str(store), "--once").returncode == 0
    (store / "index.json").write_text("{half")
    done = subprocess.run(
        [sys.executable, "-m", "kuik", "run", "--store", str(store), "--once"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1)
    assert (store / "index.json").read_text() == "{half"


def _bytes_in(store: Path) -> int:
    return sum(file_size(path) or 0 for path in store.rglob("*") if path.is_file())  # files come and go
