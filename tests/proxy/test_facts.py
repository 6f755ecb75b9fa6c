"""The facts endpoint: one suite for the real shield, over a real registry, and for the double that other tests use."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hooks.facts import ImageFacts, Known, Proof, Unknown
from hooks.shield import Shield
from tests.rig.components import TOKEN, Component, shield
from tests.rig.facts import Facts
from tests.rig.images import BuiltImage, image
from tests.rig.kubernetes import Kubernetes
from tests.rig.manifests import pull_secret
from tests.rig.upstream import Upstream

SECRET = ("team", "regcred")
BUILT = image("fact")
MOVED = image("moved")


class World(ABC):
    """A facts endpoint, and an upstream that can be changed behind it."""

    url: str
    open_: Upstream
    closed: Upstream

    @abstractmethod
    def push(self, built: BuiltImage) -> str:
        """Have this image upstream, for anybody, under one tag; returns its name."""

    @abstractmethod
    def push_private(self, built: BuiltImage) -> str:
        """Have this image upstream behind a password; returns its name."""

    @abstractmethod
    def secret(self, name: str, built: BuiltImage, *, right: bool) -> None:
        """Have the image's users pull it with Secret team/regcred, whose password is right or wrong."""

    @abstractmethod
    def delete(self, name: str, built: BuiltImage) -> None:
        """Delete the image upstream, with its tag."""

    def facts(self, name: str) -> ImageFacts:
        return Shield(self.url, TOKEN).facts(name)

    def until(self, name: str, holds: Callable[[ImageFacts], bool]) -> ImageFacts:
        """The first answer that holds, within seconds."""
        until = time.monotonic() + 15
        while time.monotonic() < until:
            found = self.facts(name)
            if holds(found):
                return found
            time.sleep(0.05)
        raise AssertionError(f"the last answer was {found}")


class Double(World):
    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self.url = facts.url

    def push(self, built: BuiltImage) -> str:
        self._facts.public("reg.example.com/app:1")
        self._facts.points("reg.example.com/app:1", str(built.digest))
        return "reg.example.com/app:1"

    def push_private(self, built: BuiltImage) -> str:
        self._facts.private("reg.example.com/own:1")
        return "reg.example.com/own:1"

    def secret(self, name: str, built: BuiltImage, *, right: bool) -> None:
        self._facts.private(name, [SECRET] if right else [])
        if right:
            self._facts.points(name, str(built.digest))
        else:
            self._facts._upstream.pop(name, None)

    def delete(self, name: str, built: BuiltImage) -> None:
        self._facts.gone(name)


class Real(World):
    def __init__(self, running: Component, upstream: Upstream, private: Upstream, cluster: Kubernetes) -> None:
        self._cluster = cluster
        self.url = running.url
        self.open_ = upstream
        self.closed = private

    def push(self, built: BuiltImage) -> str:
        return self.open_.push(built, "team/app", "1")

    def push_private(self, built: BuiltImage) -> str:
        return self.closed.push(built, "team/own", "1")

    def secret(self, name: str, built: BuiltImage, *, right: bool) -> None:
        password = self.closed.password if right else "wrong"
        made = pull_secret(SECRET[1], self.closed.host, self.closed.user, password, SECRET[0])
        self._cluster.use(name, self._cluster.secret(made))

    def delete(self, name: str, built: BuiltImage) -> None:
        self.open_.delete_manifest("team/app", built)


@pytest.fixture
def double() -> Iterator[Double]:
    facts = Facts().start()
    yield Double(facts)
    facts.stop()


@pytest.fixture
def real(tmp_path: Path, upstream: Upstream, private_upstream: Upstream) -> Iterator[Real]:
    plain = ["--plain-http", upstream.host, "--plain-http", private_upstream.host]
    cluster = Kubernetes().start()
    kubeconfig = ["--kubeconfig", str(cluster.kubeconfig(tmp_path / "kubeconfig"))]
    running = shield(tmp_path / "shield", *plain, *kubeconfig, "--freshness", "0.2").start()
    running.get("/v2/")  # it listens before it can answer
    yield Real(running, upstream, private_upstream, cluster)
    running.stop()
    cluster.stop()


@pytest.fixture(params=["double", "real"])
def world(request: pytest.FixtureRequest) -> World:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, World)
    return found


def known(facts: ImageFacts) -> bool:
    return isinstance(facts.access, Known) and isinstance(facts.upstream, Known)


def test_a_public_tag_is_known_soon_and_followed(world: World) -> None:
    name = world.push(BUILT)
    assert world.until(name, known) == ImageFacts(Known(Proof("public")), Known(str(BUILT.digest)))
    world.push(MOVED)
    world.until(name, lambda facts: facts.upstream == Known(str(MOVED.digest)))


def test_a_tag_that_was_deleted_is_gone(world: World) -> None:
    name = world.push(BUILT)
    world.until(name, known)
    world.delete(name, BUILT)
    world.until(name, lambda facts: facts.upstream == Known(None))


def test_a_private_image_is_private_and_its_tag_not_known(world: World) -> None:
    name = world.push_private(BUILT)
    found = world.until(name, lambda facts: isinstance(facts.access, Known))
    assert found.access == Known(Proof("private"))
    assert isinstance(found.upstream, Unknown), "a 404 of somebody without credentials is no proof"


def test_a_secret_that_opens_an_image_is_proven_and_its_tag_known(world: World) -> None:
    name = world.push_private(BUILT)
    world.secret(name, BUILT, right=True)
    found = world.until(name, known)
    assert found == ImageFacts(Known(Proof("private", frozenset({SECRET}))), Known(str(BUILT.digest)))


def test_a_secret_that_opens_nothing_proves_nothing(world: World) -> None:
    name = world.push_private(BUILT)
    world.secret(name, BUILT, right=False)
    found = world.until(name, lambda facts: isinstance(facts.access, Known))
    assert found.access == Known(Proof("private"))
    assert isinstance(found.upstream, Unknown)


def test_what_was_never_there_is_not_known(world: World) -> None:
    world.push(BUILT)
    host = world.open_.host if isinstance(world, Real) else "reg.example.com"
    for _ in range(4):
        found = world.facts(f"{host}/team/never:1")
        assert isinstance(found.access, Unknown)
        assert isinstance(found.upstream, Unknown)
        time.sleep(0.1)


def test_an_image_named_by_digest_has_access_alone(world: World) -> None:
    name = world.push(BUILT).rsplit(":", 1)[0] + f"@{BUILT.digest}"
    found = world.until(name, lambda facts: isinstance(facts.access, Known))
    assert found.access == Known(Proof("public"))
    assert isinstance(found.upstream, Unknown)


@pytest.mark.parametrize(("shown", "status"), [("other", 401), (TOKEN, 400)])
def test_who_may_ask_and_for_what(world: World, shown: str, status: int) -> None:
    found, body = Shield(world.url, shown)._get("/facts/image?image=Bad%20Name", 4096)
    assert (found, b"errors" in body) == (status, True)


def test_an_upstream_that_is_silent_costs_no_answer_its_time(real: Real) -> None:
    client = Shield(real.url, TOKEN, timeout=30.0)
    took = []
    for at in range(30):
        begun = time.monotonic()
        client._get(f"/facts/image?image=10.255.255.1/app-{at}:1", 4096)
        took.append(time.monotonic() - begun)
    assert sorted(took)[len(took) // 2] < 2.0, "half of them, since a busy machine may hold one up"


def test_many_who_ask_are_one_head(real: Real) -> None:
    name = real.push(BUILT)
    real.open_.forget_requests()
    answers: list[Any] = [real.facts(name) for _ in range(3)]
    assert isinstance(answers[0].upstream, Unknown), "from memory alone"
    real.until(name, known)
    assert real.open_.count("HEAD", "/team/app/") <= 4
