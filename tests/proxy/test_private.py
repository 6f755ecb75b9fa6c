"""Private images through processes of their own: what opens them, and all that does not."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from registry.capability import capability
from registry.proxied import host_to_segment
from registry.reference import Reference
from tests.rig import skopeo
from tests.rig.components import Component, Reply, proxy
from tests.rig.images import image
from tests.rig.processes import wait_until
from tests.rig.upstream import Upstream

KEY, OLD = "a-capability-key-of-tests", "the-key-before-it"
OWN = Reference.parse("127.0.0.1:9/team/own:1")
BUILT = image("own")


def place(reference: Reference, key: str) -> str:
    """The repository's path at the proxy, by a capability of this key."""
    inside = f"{host_to_segment(reference.host)}/{reference.repository}"
    return f"private/{capability(key.encode(), reference)}/{inside}"


def write_keys(folder: Path, current: str, previous: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, key in {"current": current, "previous": previous}.items():
        fresh = folder / f".{name}"
        fresh.write_text(key)
        fresh.replace(folder / name)


def nothing(reply: Reply) -> bool:
    return reply.status == 404 and b"there is no such image here" in reply.body


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Upstream]:
    """The cluster's registry, with an image that is private and one that is public."""
    component = Upstream(tmp_path / "registry").start()
    component.push(BUILT, f"private/{host_to_segment(OWN.host)}/{OWN.repository}", "1")
    component.push(image("open"), "quay.io/open/app", "1")
    yield component
    component.stop()


@pytest.fixture
def a_proxy(tmp_path: Path, registry: Upstream) -> Iterator[Component]:
    write_keys(tmp_path / "keys", KEY, OLD)
    options = ["--registry", f"http://{registry.host}", "--capability-keys", str(tmp_path / "keys")]
    component = proxy(tmp_path / "proxy", *options).start()
    yield component
    component.stop()


@pytest.mark.needs("skopeo")
@pytest.mark.parametrize("key", [KEY, OLD])
def test_a_capability_of_either_key_opens_the_repository(a_proxy: Component, tmp_path: Path, key: str) -> None:
    assert skopeo.pull(f"{a_proxy.host}/{place(OWN, key)}:1", tmp_path / "own") == str(BUILT.digest)


def test_without_the_right_capability_there_is_nothing(a_proxy: Component, registry: Upstream) -> None:
    inside = f"{host_to_segment(OWN.host)}/{OWN.repository}"
    ends = ["manifests/1", f"manifests/{BUILT.digest}", f"blobs/{next(iter(BUILT.blobs))}", "tags/list"]
    names = [
        place(OWN, "a wrong key"),
        f"private/{inside}",
        place(Reference.parse("127.0.0.1:9/team/other"), KEY).replace("team/other", "team/own"),
        place(Reference.parse("127.0.0.1/team/own"), KEY).replace("127.0.0.1/", "127.0.0.1__9/"),
    ]
    registry.forget_requests()
    for name in names:
        for end in ends:
            for method in ("GET", "HEAD"):
                reply = a_proxy.get(f"/v2/{name}/{end}", method=method)
                assert reply.status == 404
                assert method == "HEAD" or nothing(reply) or b"BLOB_UNKNOWN" in reply.body
    for end in ends:  # nor by the public name, in either form
        assert a_proxy.get(f"/v2/{inside}/{end}").status in (404, 503)
        assert a_proxy.get(f"/v2/{OWN.repository}/{end}?ns={OWN.host}").status in (404, 503)
    assert not [path for _, path, _ in registry.requests() if "/private/" in path], "nobody was even asked"


@pytest.mark.needs("skopeo")
def test_the_key_is_changed_while_both_are_served_and_then_the_old_one_opens_nothing(
    a_proxy: Component, tmp_path: Path
) -> None:
    fresh = "a-fresh-capability-key"
    for current, previous, opening in [(fresh, KEY, [fresh, KEY]), (fresh, "", [fresh])]:
        write_keys(tmp_path / "keys", current, previous)
        shut = [key for key in (OLD, KEY, fresh) if key not in opening]
        for key in opening:
            wait_until(partial(_opens, a_proxy, key), "the new keys are read")
        for key in shut:
            wait_until(partial(_shut, a_proxy, key), "the old key opens nothing")


def _opens(a_proxy: Component, key: str) -> bool:
    reply = a_proxy.get(f"/v2/{place(OWN, key)}/manifests/1")
    assert reply.status == 200 or nothing(reply)
    return reply.status == 200


def _shut(a_proxy: Component, key: str) -> bool:
    return not _opens(a_proxy, key)


def test_what_is_served_from_memory_is_asked_for_its_capability_too(a_proxy: Component) -> None:
    by_digest = f"manifests/{BUILT.digest}"
    for _ in range(2):
        assert a_proxy.get(f"/v2/{place(OWN, KEY)}/{by_digest}").status == 200
    assert nothing(a_proxy.get(f"/v2/{place(OWN, 'wrong')}/{by_digest}"))
    inside = f"{host_to_segment(OWN.host)}/{OWN.repository}"
    assert a_proxy.get(f"/v2/{inside}/{by_digest}").status != 200


def test_no_capability_and_no_key_is_in_the_log(a_proxy: Component) -> None:
    shown = capability(KEY.encode(), OWN)
    for path in ("manifests/1", "manifests/2", "manifests/" + "x" * 200, "nonsense", "blobs/uploads/", "manifests/%FF"):
        a_proxy.get(f"/v2/{place(OWN, KEY)}/{path}")
        a_proxy.get(f"/v2/private/{shown}/UPPER/{path}")
    a_proxy.get(f"/v2/{place(OWN, KEY)}/manifests/1", method="PUT")
    said = a_proxy.log.read_text()
    assert "/v2/private/…/" in said
    assert not [secret for secret in (shown, KEY, OLD) if secret in said]
