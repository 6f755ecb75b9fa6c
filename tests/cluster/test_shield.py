"""The shield's process on a real API server: it takes settings and pins as they change, by its own rights."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from kube.types import API_VERSION
from tests.cluster.rig.api import Object
from tests.cluster.rig.control_plane import ControlPlane
from tests.rig.components import TOKEN, Component, shield
from tests.rig.faulty import Relay, certificate
from tests.rig.images import BuiltImage, image
from tests.rig.processes import wait_until
from tests.rig.upstream import Upstream

OLD: BuiltImage = image("as it was copied")
NEW: BuiltImage = image("as it is now")
SHOWN = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def secure(upstream: Upstream, tmp_path: Path) -> Iterator[tuple[Relay, str]]:
    """A registry behind a CA of its own, and that CA."""
    pem = certificate(tmp_path / "tls")
    with Relay(upstream.host, tls=pem) as relay:
        yield relay, pem[0].read_text()


@pytest.fixture
def following(installed: ControlPlane, tmp_path: Path) -> Iterator[Component]:
    token = installed.kubectl("create", "token", "-n", "kuik-system", "kuik-shield").strip()
    component = shield(tmp_path / "shield", "--kubeconfig", str(installed.kubeconfig("kuik-shield", token))).start()
    yield component
    component.stop()
    for kind in ("imagecaches", "cachedimages"):
        installed.kubectl("delete", kind, "--all", "--ignore-not-found")


def apply(plane: ControlPlane, kind: str, name: str, spec: Object) -> Object:
    obj = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(obj))
    return obj


def pulled(component: Component, host: str) -> bytes:
    return component.get(f"/v2/{host.replace(':', '__')}/team/app/manifests/1", SHOWN).body


def test_settings_and_pins_count_as_they_change(
    installed: ControlPlane, upstream: Upstream, secure: tuple[Relay, str], following: Component
) -> None:
    relay, ca = secure
    upstream.push(OLD, "team/app", "1")
    assert b"configure the CA" in pulled(following, relay.host)
    apply(installed, "ImageCache", "default", {"freshness": "0s", "registries": [{"host": relay.host, "ca": ca}]})
    wait_until(lambda: pulled(following, relay.host) == OLD.raw, "the CA is known")

    pinned = apply(
        installed, "CachedImage", "app", {"image": f"{relay.host}/team/app:1", "refresh": {"mode": "Ignore"}}
    )
    installed.api.patch(pinned, {"status": {"phase": "Cached", "digest": str(OLD.digest)}}, "status")
    upstream.push(NEW, "team/app", "1")
    wait_until(lambda: pulled(following, relay.host) == OLD.raw, "the pin is known")
    asked = len(relay.requests)
    assert [pulled(following, relay.host) for _ in range(3)] == [OLD.raw] * 3
    assert len(relay.requests) == asked

    installed.api.patch(pinned, {"spec": {"refresh": {"mode": "Sync"}}})
    wait_until(lambda: pulled(following, relay.host) == NEW.raw, "the tag follows upstream again")


def test_the_shield_s_rights_are_what_it_follows(installed: ControlPlane) -> None:
    token = installed.kubectl("create", "token", "-n", "kuik-system", "kuik-shield").strip()
    rights = installed.kubeconfig("kuik-shield-rights", token)

    def may(*question: str) -> bool:
        return installed.try_kubectl("auth", "can-i", *question, kubeconfig=rights).stdout.strip() == "yes"

    for kind in ("imagecaches", "cachedimages"):
        assert all(may(verb, f"{kind}.kuik.dev") for verb in ("list", "watch"))
        assert not any(may(verb, f"{kind}.kuik.dev") for verb in ("patch", "update", "create", "delete"))
    assert not any(may(verb, kind, "-A") for verb in ("get", "list") for kind in ("secrets", "pods", "configmaps"))
