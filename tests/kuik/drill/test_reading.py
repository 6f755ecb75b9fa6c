"""Images read through a real node proxy from a real registry, while nobody else may be asked."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kuik.drill.__main__ import QUESTIONS, RATE, run
from kuik.drill.question import Question, Said
from kuik.drill.reading import NotForbidden, Reader, only_cached
from kuik.keeper.hashing import Pace
from registry.capability import capability
from registry.digest import Digest
from registry.manifest import Platform
from registry.reference import Reference
from tests.rig import faulty
from tests.rig.components import Component, proxy
from tests.rig.faulty import Relay
from tests.rig.images import image, multi_platform
from tests.rig.upstream import Upstream

KEY = b"the-key-of-capabilities"
APP, SECRET = "docker.io/library/app:1", "reg.example/secret:1"
BUILT, OWN = multi_platform("drilled"), image("secret")
AMD, ARM, RISC = (Platform("linux", one) for one in ("amd64", "arm64", "riscv64"))


@dataclass
class World:
    """A node proxy before a registry, and a shield that nobody may ask."""

    proxy: Component
    registry: Upstream
    shield: Relay

    def read(self, name: str, *platforms: Platform, opens: str = "") -> Said:
        reader = Reader(only_cached(self.proxy.host), self.proxy.host, Pace(1 << 30))
        *_, last = reader.read(Question(name, frozenset(platforms), opens))
        assert last.ends
        assert not [one for one in self.shield.requests if one.path.startswith("/v2/")]
        return last

    def reason(self, name: str, *platforms: Platform, opens: str = "") -> str:
        lack = self.read(name, *platforms, opens=opens).lack
        return lack.reason if lack else ""

    def file(self, digest: Digest) -> Path:
        return self.registry.folder / f"data/docker/registry/v2/blobs/sha256/{digest.hex[:2]}/{digest.hex}/data"


@pytest.fixture
def world(upstream: Upstream, tmp_path: Path) -> Iterator[World]:
    upstream.push(BUILT, "docker.io/library/app", "1")
    upstream.push(OWN, "private/reg.example/secret", "1")
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "current").write_bytes(KEY)
    with Relay() as shield:
        options = ("--registry", f"http://{upstream.host}", "--shield", f"http://{shield.host}")
        component = proxy(tmp_path / "proxy", *options, "--capability-keys", str(tmp_path / "keys")).start()
        yield World(component, upstream, shield)
        component.stop()


def test_images_are_read_whole_and_hashed(world: World) -> None:
    whole = world.read(APP, AMD, ARM)
    assert (whole.lack, whole.bytes) == (None, BUILT.size)
    assert world.read(APP, AMD).bytes < BUILT.size
    assert world.read(APP).bytes == BUILT.size
    assert world.read(f"docker.io/library/app@{BUILT.digest}", ARM).lack is None
    assert world.reason(APP, RISC) == "PlatformMissing"
    assert world.reason("docker.io/library/none:1", AMD) == "Incomplete"
    opens = capability(KEY, Reference.parse(SECRET))
    assert world.read(SECRET, AMD, opens=opens).lack is None
    refused = world.read(SECRET, AMD, opens="0" * 32)
    assert refused.lack is not None
    assert "0" * 32 not in refused.lack.message


def test_a_blob_that_is_lost_or_damaged_is_found(world: World) -> None:
    arm = image("drilled", platform="linux/arm64").blobs
    lost, changed = sorted(arm, key=lambda digest: len(arm[digest]))[-2:]
    world.file(changed).write_bytes(b"x" * len(arm[changed]))
    assert (world.reason(APP, ARM), world.reason(APP, AMD)) == ("Corrupt", "")
    world.file(lost).unlink()
    world.file(changed).unlink()
    said = world.read(APP, ARM)
    assert said.lack is not None
    assert said.lack.reason == "Incomplete"
    assert world.proxy.host not in said.lack.message


def test_the_program_of_the_job(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    asked = json.dumps([Question(APP, frozenset({AMD})).document(), Question("reg.example/none:1").document()])
    assert run({QUESTIONS: asked, RATE: "1e9"}, world.proxy.host) == 0
    said = [one for line in capsys.readouterr().out.splitlines() if (one := Said.parse(line)) and one.ends]
    assert [(one.image, one.lack and one.lack.reason) for one in said] == [
        (APP, None),
        ("reg.example/none:1", "Incomplete"),
    ]
    world.proxy.stop()
    assert run({QUESTIONS: asked, RATE: "1e9"}, world.proxy.host) == 0
    (one,) = (Said.parse(line) for line in capsys.readouterr().out.splitlines())
    assert one is not None
    assert (one.image, one.lack and one.lack.reason) == ("", "Unreachable")
    assert run({QUESTIONS: "{}", RATE: "fast"}) == 2


def test_a_proxy_that_may_ask_further_is_not_read_from() -> None:
    with Relay() as old:
        old.rule(faulty.answer(200, b"{}"), path="/v2/", times=None)
        with pytest.raises(NotForbidden):
            only_cached(old.host)
        assert len(old.requests) == 1
