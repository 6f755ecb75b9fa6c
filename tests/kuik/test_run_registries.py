"""Local mode takes registries' settings from an ImageCache among its manifests, as a cluster does."""

import http.client
from pathlib import Path
from typing import Any

import pytest

from tests.rig.faulty import Relay, certificate
from tests.rig.images import image
from tests.rig.kuik import Running, cache_list, kuik, proxied
from tests.rig.manifests import deployment, write
from tests.rig.processes import free_port
from tests.rig.upstream import Upstream


def image_cache(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "kuik.dev/v1alpha1", "kind": "ImageCache", "metadata": {"name": "default"}, "spec": spec}


def told(running: Running, name: str) -> bytes:
    repository, _, tag = proxied(running.host, name).partition("/")[2].rpartition(":")
    connection = http.client.HTTPConnection(running.host, timeout=60)
    connection.request("GET", f"/v2/{repository}/manifests/{tag}")
    return connection.getresponse().read()


@pytest.mark.needs("openssl")
def test_a_ca_and_a_mirror_for_a_registry_that_is_down(upstream: Upstream, tmp_path: Path) -> None:
    upstream.push(image("behind tls"), "team/app", "1")
    upstream.push(image("at a mirror"), "hub/team/other", "1")
    pem, down = certificate(tmp_path / "tls"), f"127.0.0.1:{free_port()}"
    with Relay(upstream.host, tls=pem) as secure:
        names = (f"{secure.host}/team/app:1", f"{down}/team/other:1")
        registries = [
            {"host": secure.host, "ca": pem[0].read_text()},
            {"host": down, "mirrors": [{"host": secure.host, "prefix": "hub"}]},
        ]
        pods = write(tmp_path / "pods.yaml", deployment("app", *names), image_cache(registries=registries))
        done = kuik("run", pods, "--store", str(tmp_path / "store"), "--once")
        assert done.returncode == 0, done.stderr
        assert cache_list(tmp_path / "store").keys() == set(names)


def test_a_setting_that_comes_later_counts_without_a_restart(upstream: Upstream, tmp_path: Path) -> None:
    name = upstream.push(image("plain"), "team/app", "1")
    pods = tmp_path / "pods.yaml"
    write(pods, deployment("app", name))
    with Running(tmp_path / "store", (str(pods),)) as running:
        assert b"does not speak TLS" in told(running, name)
        write(pods, deployment("app", name), image_cache(registries=[{"host": upstream.host, "plainHTTP": True}]))
        running.until_cached(name)


def test_an_image_cache_that_makes_no_sense_is_refused_by_field(tmp_path: Path) -> None:
    both = [{"host": "reg.example", "plainHTTP": True, "mirrors": [{"host": "reg.example"}]}]
    for registries, field in ((both, "spec.registries[0].mirrors[0].host"), ([{}], "spec.registries.0")):
        pods = write(tmp_path / "pods.yaml", image_cache(registries=registries))
        done = kuik("run", pods, "--store", str(tmp_path / "store"), "--once")
        assert done.returncode == 2
        assert f"ImageCache default: {field}" in done.stderr
