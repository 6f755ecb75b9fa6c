"""The shield's private half before real registries: what a credential brought is given only to who could get it."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from proxy.path import Kind, Route
from proxy.shield.origin import Opened, Rules, Shield
from proxy.shield.pull_secrets import Held, Secret
from proxy.shield.spool import Spool
from proxy.sources.message import Answer, Request
from registry.blobs import BlobFolder
from registry.client import Client
from registry.credentials import Credentials, DockerConfig
from registry.digest import Digest
from registry.errors import NotFound, RegistryError, Unauthorized, Unreachable
from registry.reference import Reference
from tests.rig import faulty, reader
from tests.rig.faulty import Relay
from tests.rig.images import BuiltImage, image
from tests.rig.processes import wait_until
from tests.rig.upstream import Upstream

BUILT: BuiltImage = image("hidden", layers=1, layer_size=100_000)
DIGEST, BLOB = max(BUILT.blobs.items(), key=lambda item: len(item[1]))


@dataclass
class Secrets:
    """Pull secrets by repository, as a test sets them."""

    by_repository: dict[str, dict[Secret, DockerConfig]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    synced: bool = True

    def add(self, repository: str, secret: Secret, user: str, password: str) -> None:
        host = repository.partition("/")[0]
        config = DockerConfig.parse({"auths": {host: {"username": user, "password": password}}})
        self.by_repository.setdefault(repository, {})[secret] = config

    def of(self, repository: str) -> Sequence[Secret]:
        return sorted(self.by_repository.get(repository, {}))

    def held(self, secret: Secret) -> Held:
        for configs in self.by_repository.values():
            if secret in configs:
                return Held(configs[secret], str(configs[secret].entries))
        return Held()

    def problems(self, reference: Reference) -> list[str]:
        return self.wrong

    def keyring(self, reference: Reference) -> Sequence[Credentials]:
        configs = self.by_repository.get(reference.name, {}).values()
        return DockerConfig.joined(configs).match(reference.host, reference.repository)


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class World:
    shield: Shield
    secrets: Secrets
    folder: Path
    clock: Clock

    def get(self, repository: str, target: str | Digest, *, private: bool = True, method: str = "GET") -> bytes:
        host, _, name = repository.partition("/")
        kind = Kind.BLOB if target == DIGEST else Kind.MANIFEST
        return read(self.shield.fetch(Request(Route(host, name, kind, str(target), private), method)))

    def refused(self, repository: str, target: str | Digest, *, private: bool = True) -> RegistryError:
        with pytest.raises((NotFound, Unauthorized)) as error:
            self.get(repository, target, private=private)
        return error.value


def read(answer: Answer) -> bytes:
    with closing(answer.body):
        return b"".join(answer.body)


def make(folder: Path, secrets: Secrets) -> World:
    transport = reader.transport()
    public = Spool(BlobFolder(folder / "blobs"), 1 << 24)
    private = Spool(BlobFolder(folder / "private" / "blobs"), 1 << 24)
    opened = Opened(Client(transport, secrets.keyring), private, folder / "private" / "owners", secrets)
    clock = Clock()
    return World(Shield(Client(transport), public, Rules(lambda: 0), clock, opened=opened), secrets, folder, clock)


@pytest.fixture
def secrets() -> Secrets:
    return Secrets()


@pytest.fixture
def world(tmp_path: Path, secrets: Secrets) -> World:
    return make(tmp_path / "shield", secrets)


@pytest.fixture
def own(private_upstream: Upstream, secrets: Secrets) -> str:
    """A repository that is opened by the secret of one namespace."""
    private_upstream.push(BUILT, "team/own", "1")
    secrets.add(f"{private_upstream.host}/team/own", ("a", "regcred"), "alice", "s3cret-enough")
    return f"{private_upstream.host}/team/own"


def test_the_users_secret_opens_a_repository_and_each_byte_is_asked_for_once(
    world: World, own: str, private_upstream: Upstream
) -> None:
    private_upstream.forget_requests()
    for _ in range(3):
        assert world.get(own, "1") == BUILT.raw
        assert world.get(own, BUILT.digest) == BUILT.raw
        assert world.get(own, DIGEST) == BLOB
        world.get(own, DIGEST, method="HEAD")
    assert private_upstream.count("GET", "/blobs/") == 1
    assert private_upstream.count("GET", "/manifests/") == 1


def test_what_a_secret_brought_is_never_told_to_the_public(world: World, own: str) -> None:
    world.get(own, "1")
    world.get(own, DIGEST)
    for target in ("1", BUILT.digest, DIGEST):
        assert isinstance(world.refused(own, target, private=False), Unauthorized)


def test_another_repository_of_the_same_registry_does_not_get_it_by_its_digest(
    world: World, own: str, private_upstream: Upstream
) -> None:
    world.get(own, "1")
    world.get(own, DIGEST)
    private_upstream.push(image("another"), "team/another", "1")
    another = f"{private_upstream.host}/team/another"
    world.secrets.add(another, ("b", "regcred"), "alice", "s3cret-enough")
    for target in (BUILT.digest, DIGEST):
        assert isinstance(world.refused(another, target), NotFound)
    private_upstream.forget_requests()
    private_upstream.push(BUILT, "team/another", "2")
    private_upstream.forget_requests()
    assert world.get(another, "2") == BUILT.raw
    # What was told a moment ago is told for some seconds; a fresh look has none of that.
    fresh = make(world.folder, world.secrets)
    assert fresh.get(another, DIGEST) == BLOB
    assert private_upstream.count("GET", "/blobs/") == 0, (
        "the bytes are shared once the registry has said that it has them"
    )


@pytest.mark.parametrize("again", [False, True])
def test_a_registry_that_lies_gets_nothing_that_is_another_s(world: World, own: str, again: bool) -> None:
    """It claims to have whatever it is asked for; the bytes it cannot send."""
    world.get(own, "1")
    world.get(own, DIGEST)
    if again:
        world = make(world.folder, world.secrets)
    size = {"Content-Type": BUILT.media_type, "Docker-Content-Digest": str(BUILT.digest)}
    with Relay() as liar:
        liar.rule(faulty.answer(200, b"x" * len(BUILT.raw), size), method="HEAD", path="/manifests/", times=None)
        liar.rule(faulty.answer(200, b"x" * len(BLOB)), method="HEAD", path="/blobs/", times=None)
        evil = f"{liar.host}/evil/app"
        world.secrets.add(evil, ("evil", "regcred"), "eve", "mallory")
        world.get(evil, "1", method="HEAD")
        for target in ("1", BUILT.digest, DIGEST):
            for private in (True, False):
                assert isinstance(world.refused(evil, target, private=private), NotFound)
        assert not [seen for seen in liar.requests if "Basic" in seen.headers.get("Authorization", "")]


def test_who_lied_first_takes_nothing_from_the_one_who_has_it(world: World, own: str) -> None:
    with Relay() as liar:
        liar.rule(faulty.answer(200, b"x" * len(BLOB)), method="HEAD", path="/blobs/", times=None)
        evil = f"{liar.host}/evil/app"
        world.secrets.add(evil, ("evil", "regcred"), "eve", "mallory")
        world.refused(evil, DIGEST)
        assert world.get(own, DIGEST) == BLOB
        assert isinstance(world.refused(evil, DIGEST), NotFound)


def test_what_the_public_may_have_anyway_is_shared(world: World, own: str, upstream: Upstream) -> None:
    upstream.push(BUILT, "team/open", "1")
    assert world.get(f"{upstream.host}/team/open", DIGEST, private=False) == BLOB
    upstream.stop()
    assert world.get(own, DIGEST) == BLOB


def test_a_repository_without_secrets_stays_closed_and_says_why(world: World, private_upstream: Upstream) -> None:
    private_upstream.push(BUILT, "team/closed", "1")
    refused = world.refused(f"{private_upstream.host}/team/closed", "1")
    assert isinstance(refused, Unauthorized)
    assert "no workload names a pull secret for it" in str(refused)


def test_secrets_that_are_of_no_use_are_named_and_are_the_reason(world: World, upstream: Upstream) -> None:
    name = f"{upstream.host}/team/none"
    world.secrets.by_repository[name] = {("a", "gone"): DockerConfig()}
    world.secrets.wrong = ["Secret a/gone does not exist"]
    refused = world.refused(name, "1")
    assert isinstance(refused, Unauthorized), "a 404 may hide what is private, and nobody was asked with a credential"
    assert str(refused).endswith("; Secret a/gone does not exist")


def test_while_it_is_not_known_which_secrets_are_in_use_nothing_is_refused_and_no_proof_withdrawn(
    world: World, own: str
) -> None:
    world.secrets.synced = False
    with pytest.raises(Unreachable, match="does not know yet"):
        world.get(own, "1")
    image_ = Reference.parse(f"{own}:1")
    wait_until(lambda: world.shield.access(image_) == "private", "strangers are refused")
    secrets, world.secrets.by_repository = world.secrets.by_repository, {}
    for _ in range(20):
        assert world.shield.facts(image_)["access"] is None
        time.sleep(0.02)
    world.secrets.by_repository, world.secrets.synced = secrets, True
    proven = {"visibility": "private", "secrets": [{"namespace": "a", "secret": "regcred"}]}
    wait_until(lambda: world.shield.facts(image_)["access"] == proven, "the secret is proven")
    assert world.get(own, "1") == BUILT.raw


def facts(world: World, name: str) -> object:
    """What is said of the image once nothing more is learned of it."""
    image_ = Reference.parse(name)
    said = world.shield.facts(image_)["access"]
    for _ in range(20):
        time.sleep(0.03)
        said = world.shield.facts(image_)["access"]
    return said


@pytest.fixture
def open_(world: World, upstream: Upstream) -> Iterator[Relay]:
    """A public repository whose users also have a secret, which the registry takes as it takes everything."""
    upstream.push(BUILT, "team/open", "1")
    upstream.push(image("stays"), "team/open", "2")
    with Relay(upstream.host) as relay:
        world.secrets.add(f"{relay.host}/team/open", ("a", "regcred"), "alice", "s3cret-enough")
        yield relay


def test_a_public_image_that_was_deleted_is_not_private_to_those_who_have_a_secret(
    world: World, open_: Relay, upstream: Upstream
) -> None:
    upstream.delete_manifest("team/open", BUILT)
    assert facts(world, f"{open_.host}/team/open:1") is None


@pytest.mark.parametrize("status", [429, 503])
def test_a_registry_that_gives_strangers_no_clear_answer_makes_nothing_private(
    world: World, open_: Relay, status: int
) -> None:
    """As Docker Hub: whoever asks gets a token, and strangers' tokens are used up sooner."""

    def act(exchange: faulty.Exchange) -> None:
        given = exchange.headers.get("Authorization", "")
        if exchange.path.startswith("/token"):
            fault = faulty.answer(200, b'{"token": "alice"}' if given else b'{"token": "nobody"}')
        elif not given:
            challenge = {"WWW-Authenticate": f'Bearer realm="{open_.url}/token"'}
            fault = faulty.error(401, "UNAUTHORIZED", headers=challenge)
        else:
            fault = faulty.pass_on if given == "Bearer alice" else faulty.error(status, "TOOMANYREQUESTS")
        fault(exchange)

    open_.rule(act, times=None)
    assert facts(world, f"{open_.host}/team/open:1") is None


def test_what_was_public_is_private_once_a_secret_opens_it_and_not_because_all_are_refused(
    world: World, open_: Relay
) -> None:
    name, public = f"{open_.host}/team/open:1", {"visibility": "public", "secrets": []}
    wait_until(lambda: world.shield.facts(Reference.parse(name))["access"] == public, "it is public")
    world.clock.now += 400
    open_.rule(faulty.error(403, "DENIED"), path="/v2/team/", times=None)
    assert facts(world, name) is None
    open_.rules.clear()

    def ask(exchange: faulty.Exchange) -> None:
        header = {"WWW-Authenticate": 'Basic realm="r"'}
        fault = (
            faulty.pass_on
            if exchange.headers.get("Authorization")
            else faulty.error(401, "UNAUTHORIZED", headers=header)
        )
        fault(exchange)

    open_.rule(ask, path="/v2/", times=None)
    world.clock.now += 700
    proven = {"visibility": "private", "secrets": [{"namespace": "a", "secret": "regcred"}]}
    wait_until(lambda: world.shield.facts(Reference.parse(name))["access"] == proven, "the secret opens it")


def test_no_more_proofs_are_told_than_a_status_holds_and_copies_of_a_secret_are_one_question(
    world: World, own: str, private_upstream: Upstream
) -> None:
    for number in range(1_003):
        world.secrets.by_repository[own][f"n{number:04}", "empty"] = DockerConfig()
    world.secrets.by_repository[own] |= {
        (f"z{n:04}", "same"): world.secrets.by_repository[own]["a", "regcred"] for n in range(1_001)
    }
    image_ = Reference.parse(f"{own}:1")

    def told() -> bool:
        said = world.shield.facts(image_)["access"]
        return said is not None and len(said["secrets"]) == 1_000

    wait_until(told, "all are judged", 100)
    assert private_upstream.count("HEAD", "/manifests/") < 5


def test_a_shield_without_secrets_has_nothing_private(tmp_path: Path, upstream: Upstream) -> None:
    upstream.push(BUILT, "team/open", "1")
    shield = Shield(reader.client(), Spool(BlobFolder(tmp_path / "spool"), 1 << 20))
    with pytest.raises(NotFound, match="no pull secrets"):
        shield.fetch(Request(Route(upstream.host, "team/open", Kind.MANIFEST, "1", private=True)))


@pytest.fixture
def hiding(private_upstream: Upstream) -> Iterator[Relay]:
    """A registry that answers 404 to whoever does not log in, and asks nobody to."""

    def hide(exchange: faulty.Exchange) -> None:
        if exchange.headers.get("Authorization"):
            faulty.pass_on(exchange)
        else:
            faulty.error(404, "NAME_UNKNOWN")(exchange)

    private_upstream.push(BUILT, "team/own", "1")
    with Relay(private_upstream.host) as relay:
        yield relay.rule(hide, path="/v2/team/", times=None)


def test_a_registry_that_hides_what_is_private_is_opened(world: World, hiding: Relay) -> None:
    name = f"{hiding.host}/team/own"
    world.secrets.add(name, ("a", "regcred"), "alice", "s3cret-enough")
    assert world.get(name, "1") == BUILT.raw
    assert world.get(name, DIGEST) == BLOB
    assert isinstance(world.refused(name, DIGEST, private=False), NotFound)
