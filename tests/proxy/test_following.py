"""What the shield takes from its cluster: settings as they change, pinned tags, and nothing that is in doubt."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from kube.client import Api, KubernetesError
from proxy.path import Kind, Route
from proxy.shield.asking import Asking
from proxy.shield.cluster import Following
from proxy.shield.origin import Shield
from proxy.shield.pins import pinned, what_pins
from proxy.shield.settings import Settings, read_settings
from proxy.shield.spool import Spool
from proxy.sources.message import Request
from registry.blobs import BlobFolder
from registry.digest import Digest
from registry.errors import NotFound
from registry.hosts import HostSettings
from registry.reference import Reference
from registry.settings import InvalidSettings
from tests.rig import reader
from tests.rig.faulty import Relay, error
from tests.rig.images import image
from tests.rig.processes import wait_until
from tests.rig.upstream import Upstream

DIGEST = Digest.of(b"as it was copied")
APP = Reference.parse("reg.example/team/app:1")


def cached(mode: str = "Ignore", image_: str = str(APP), digest: str = str(DIGEST), **meta: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "app", **meta},
        "spec": {"image": image_, "refresh": {"mode": mode}, "usedBy": ["a/Deployment/web"]},
        "status": {"digest": digest, "phase": "Cached"},
    }


def image_cache(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "default"}, "spec": spec}


class Cluster:
    """An API server in memory, whose watches end at once, so that it is listed again and again."""

    def __init__(self) -> None:
        self.objects: dict[str, list[dict[str, Any]]] = {"imagecaches": [], "cachedimages": []}
        self.away = False

    def get(self, path: str, _query: Mapping[str, str] | None = None) -> dict[str, Any]:
        if self.away:
            raise KubernetesError("no answer")
        return {"items": self.objects[path.rpartition("/")[2]], "metadata": {"resourceVersion": "1"}}

    def lines(self, *_arguments: object) -> Generator[bytes, None, None]:
        raise KubernetesError("too old", 410)
        yield b""


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def following(cluster: Cluster) -> Iterator[Following]:
    begun = Following(cast("Api", cluster)).start()
    yield begun
    begun.stop()


@pytest.mark.parametrize(
    ("obj", "found"),
    [
        (cached(), DIGEST),
        (cached("Warn"), DIGEST),
        (cached("Sync"), None),
        (cached(digest=""), None),
        (cached(digest="sha256:nothing"), None),
        (cached(image_="UPPER/case"), None),
        (cached(image_=f"{APP}@{DIGEST}"), None),
        ({"metadata": {"name": "app"}, "spec": {"image": str(APP)}, "status": {"digest": str(DIGEST)}}, None),
        ({"metadata": {"name": "app"}}, None),
    ],
)
def test_what_is_pinned_and_what_is_kept_of_it(obj: dict[str, Any], found: Digest | None) -> None:
    assert pinned([obj]).get(APP) == found
    kept = what_pins(obj)
    assert pinned([kept]) == pinned([obj])
    assert len(str(kept)) < 200 or found


def test_settings_count_as_they_change_and_what_makes_no_sense_changes_nothing(
    cluster: Cluster, following: Following
) -> None:
    assert following.settings() == Settings()
    plain = {"host": "reg.example", "plainHTTP": True}
    cluster.objects["imagecaches"] = [image_cache(freshness="5m", registries=[plain])]
    wait_until(lambda: following.settings().freshness == 300, "the new settings")
    assert following.settings().registries.of("reg.example").host == HostSettings(plain_http=True)
    for doubt in ({"registries": [{"host": "https://"}]}, {"freshness": "soon"}, {"registries": {"host": "x"}}):
        cluster.objects["imagecaches"] = [image_cache(**{"freshness": "9m", **doubt})]
        time.sleep(0.5)
        assert following.settings().freshness == 300
    cluster.away = True
    time.sleep(0.5)
    assert following.settings().freshness == 300
    cluster.away = False
    cluster.objects["imagecaches"] = []
    wait_until(lambda: following.settings() == Settings(), "the defaults again")


def test_an_api_server_that_is_away_at_the_start_holds_nobody_up_and_counts_once_it_is_there(cluster: Cluster) -> None:
    cluster.away = True
    cluster.objects["imagecaches"] = [image_cache(freshness="5m")]
    cluster.objects["cachedimages"] = [cached()]
    begun = Following(cast("Api", cluster)).start()
    try:
        assert (begun.settings(), begun.pinned(APP)) == (Settings(), None)
        cluster.away = False
        wait_until(lambda: begun.settings().freshness == 300 and begun.pinned(APP) == DIGEST, "its first word")
    finally:
        begun.stop()


def test_pins_count_as_they_change(cluster: Cluster, following: Following) -> None:
    assert following.pinned(APP) is None
    cluster.objects["cachedimages"] = [cached()]
    wait_until(lambda: following.pinned(APP) == DIGEST, "the pin")
    cluster.objects["cachedimages"] = [cached("Sync")]
    wait_until(lambda: following.pinned(APP) is None, "no pin")


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"registries": {"host": "x"}}, "spec.registries: "),
        ({"registries": [{"host": "a.example"}, {}]}, "spec.registries[1].host: "),
        ({"freshness": "soon"}, "spec.freshness: "),
    ],
)
def test_what_is_wrong_is_named(spec: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        read_settings(image_cache(**spec))
    assert str(refused.value).startswith(field)


class TestServing:
    """A shield with a pin, before a registry whose tag moved."""

    old, new = image("as it was copied"), image("as it is now")

    def pull(self, shield: Shield, relay: Relay, method: str = "GET") -> bytes:
        request = Request(Route(relay.host, "team/app", Kind.MANIFEST, "1"), method)
        answer = shield.fetch(request)
        assert answer.digest
        with closing(answer.body) as body:
            return b"".join(body) or str(answer.digest).encode()

    @pytest.fixture
    def relay(self, upstream: Upstream) -> Iterator[Relay]:
        upstream.push(self.old, "team/app", "1")
        upstream.push(self.new, "team/app", "1")
        with Relay(upstream.host) as between:
            yield between

    @pytest.fixture
    def make(self, tmp_path: Path, relay: Relay) -> Callable[[Digest | None], Shield]:
        def made(digest: Digest | None) -> Shield:
            rules = replace(Asking().rules(), pinned=lambda _reference: digest)
            return Shield(reader.client(), Spool(BlobFolder(tmp_path / "spool"), 1 << 30), rules)

        return made

    def test_all_get_what_is_pinned_and_upstream_is_not_asked_for_the_tag(
        self, relay: Relay, make: Callable[[Digest | None], Shield]
    ) -> None:
        shield = make(self.old.digest)
        assert [self.pull(shield, relay) for _ in range(3)] == [self.old.raw] * 3
        assert self.pull(shield, relay, "HEAD") == str(self.old.digest).encode()
        assert [seen.path.rpartition("/")[2] for seen in relay.requests] == [str(self.old.digest)]
        assert self.pull(make(None), relay) == self.new.raw

    def test_what_is_pinned_and_gone_is_no_reason_to_fail(
        self, relay: Relay, make: Callable[[Digest | None], Shield]
    ) -> None:
        relay.rule(error(404, "MANIFEST_UNKNOWN"), path=str(self.old.digest), times=None)
        assert self.pull(make(self.old.digest), relay) == self.new.raw
        relay.rule(error(404, "MANIFEST_UNKNOWN"), times=None)
        with pytest.raises(NotFound):
            self.pull(make(Digest.of(b"neither")), relay)
