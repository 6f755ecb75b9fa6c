"""The pull secrets in use: noticed, read by name, read again, and forgotten."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kube.client import Api
from proxy.shield.pull_secrets import FORBIDDEN_FOR, LOOK_EVERY, RENEW_AFTER, PullSecrets
from registry.reference import Reference
from tests.rig.kubernetes import Kubernetes
from tests.rig.manifests import pull_secret
from tests.rig.processes import wait_until

IMAGE = Reference.parse("reg.example.com/team/app:1")
HOST = IMAGE.host


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def cluster() -> Iterator[Kubernetes]:
    double = Kubernetes().start()
    yield double
    double.stop()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def secrets(cluster: Kubernetes, clock: Clock, tmp_path: Path) -> Iterator[PullSecrets]:
    """Watches, and looks when the test says so."""
    found = PullSecrets(Api.from_kubeconfig(str(cluster.kubeconfig(tmp_path / "kubeconfig"))), clock)
    found._images.start()
    wait_until(lambda: found.synced, "the images are listed")
    yield found
    found.stop()


def logins(secrets: PullSecrets, image: Reference = IMAGE) -> list[str]:
    return [f"{one.username}:{one.password}" for one in secrets.keyring(image)]


def use(cluster: Kubernetes, secrets: PullSecrets, image: Reference, *names: str) -> None:
    cluster.use(str(image), *names)
    wait_until(lambda: secrets.of(image.name) == tuple(tuple(n.split("/")) for n in sorted(names)), "the use is known")


def test_exactly_the_secrets_in_use_are_read_and_forgotten_with_their_use(
    cluster: Kubernetes, secrets: PullSecrets
) -> None:
    mine = cluster.secret(pull_secret("regcred", HOST, "alice", "one", "a"))
    cluster.secret(pull_secret("other", HOST, "bob", "two", "a"))
    secrets.look()
    assert (cluster.reads, logins(secrets)) == ([], [])
    use(cluster, secrets, IMAGE, mine)
    secrets.look()
    assert (cluster.reads, logins(secrets)) == ([mine], ["alice:one"])
    assert logins(secrets, Reference.parse(f"{HOST}/team/another:1")) == [], "its users have no secret"
    cluster.unuse(str(IMAGE))
    wait_until(lambda: not secrets.of(IMAGE.name), "the use has ended")
    secrets.look()
    assert logins(secrets) == []
    assert secrets.held(("a", "regcred")).config is None
    assert cluster.reads == [mine]


def test_all_namespaces_that_use_a_repository_open_it_the_more_specific_entry_first(
    cluster: Kubernetes, secrets: PullSecrets
) -> None:
    wide = cluster.secret(pull_secret("wide", HOST, "alice", "one", "a"))
    narrow = cluster.secret(pull_secret("narrow", f"{HOST}/team", "bob", "two", "b"))
    use(cluster, secrets, IMAGE, wide)
    cluster.use(f"{HOST}/team/app:2", narrow)
    wait_until(lambda: len(secrets.of(IMAGE.name)) == 2, "both tags' secrets count for the repository")
    secrets.look()
    assert logins(secrets) == ["bob:two", "alice:one"]


def test_a_change_is_noticed_in_time_and_at_once_when_a_registry_refuses(
    cluster: Kubernetes, secrets: PullSecrets, clock: Clock
) -> None:
    mine = cluster.secret(pull_secret("regcred", HOST, "alice", "one", "a"))
    use(cluster, secrets, IMAGE, mine)
    secrets.look()
    cluster.secret(pull_secret("regcred", HOST, "alice", "two", "a"))
    assert not secrets.renew(IMAGE), "it was read a moment ago"
    clock.now += RENEW_AFTER
    assert secrets.renew(IMAGE)
    assert logins(secrets) == ["alice:two"]
    clock.now += RENEW_AFTER
    assert not secrets.renew(IMAGE), "nothing new"
    reads = len(cluster.reads)
    for _ in range(20):
        secrets.renew(IMAGE)
    assert len(cluster.reads) == reads, "registries that refuse again and again cost no more reads"
    cluster.secret(pull_secret("regcred", HOST, "alice", "three", "a"))
    secrets.look()
    assert logins(secrets) == ["alice:two"]
    clock.now += LOOK_EVERY
    secrets.look()
    assert logins(secrets) == ["alice:three"]


def test_what_cannot_be_read_is_told_by_name_and_nothing_else(
    cluster: Kubernetes, secrets: PullSecrets, caplog: pytest.LogCaptureFixture
) -> None:
    bad = pull_secret("bad", HOST, "alice", "hidden", "a")
    bad["data"][".dockerconfigjson"] = "bm90IGpzb24gaGlkZGVu"  # not json hidden
    elsewhere = cluster.secret(pull_secret("elsewhere", "other.example.com", "alice", "hidden", "a"))
    closed = cluster.secret(pull_secret("closed", HOST, "alice", "hidden", "a"))
    cluster.forbidden.add(closed)
    use(cluster, secrets, IMAGE, "a/gone", closed, cluster.secret(bad), elsewhere)
    secrets.look()
    assert secrets.problems(IMAGE) == [
        "Secret a/bad cannot be used, as the pull secret is not valid JSON",
        "Secret a/closed cannot be read by kuik (403): its Role may not be there yet",
        "Secret a/elsewhere has no entry for reg.example.com/team/app",
        "Secret a/gone does not exist",
    ]
    assert logins(secrets) == []
    assert "hidden" not in caplog.text + repr(secrets._held)
    assert "Secret a/gone does not exist" in caplog.text


def test_a_role_that_comes_later_is_found_soon(cluster: Kubernetes, secrets: PullSecrets, clock: Clock) -> None:
    mine = cluster.secret(pull_secret("regcred", HOST, "alice", "one", "a"))
    cluster.forbidden.add(mine)
    use(cluster, secrets, IMAGE, mine)
    secrets.look()
    cluster.forbidden.clear()
    clock.now += 10
    secrets.look()
    assert (logins(secrets), secrets.problems(IMAGE)) == (["alice:one"], [])


def test_while_the_api_server_is_away_what_was_read_is_used_on(
    cluster: Kubernetes, secrets: PullSecrets, clock: Clock
) -> None:
    mine = cluster.secret(pull_secret("regcred", HOST, "alice", "one", "a"))
    use(cluster, secrets, IMAGE, mine)
    secrets.look()
    cluster.away = True
    for _ in range(3):
        clock.now += 10 * FORBIDDEN_FOR
        secrets.look()
        assert not secrets.renew(IMAGE)
    assert (logins(secrets), secrets.problems(IMAGE)) == (["alice:one"], [])
    cluster.away = False
    cluster.secret(pull_secret("regcred", HOST, "alice", "two", "a"))
    clock.now += LOOK_EVERY
    secrets.look()
    assert logins(secrets) == ["alice:two"]


def test_an_api_server_that_forbids_for_a_moment_takes_nothing_away_and_one_that_goes_on_does(
    cluster: Kubernetes, secrets: PullSecrets, clock: Clock
) -> None:
    mine = cluster.secret(pull_secret("regcred", HOST, "alice", "one", "a"))
    use(cluster, secrets, IMAGE, mine)
    secrets.look()
    cluster.forbidden.add(mine)
    clock.now += LOOK_EVERY
    secrets.look()
    assert logins(secrets) == ["alice:one"]
    clock.now += FORBIDDEN_FOR
    secrets.look()
    assert logins(secrets) == []


def test_a_secret_that_is_deleted_opens_nothing_more(cluster: Kubernetes, secrets: PullSecrets, clock: Clock) -> None:
    mine = cluster.secret(pull_secret("regcred", HOST, "alice", "one", "a"))
    use(cluster, secrets, IMAGE, mine)
    secrets.look()
    cluster.delete_secret(mine)
    clock.now += LOOK_EVERY
    secrets.look()
    assert logins(secrets) == []
    assert secrets.problems(IMAGE) == ["Secret a/regcred does not exist"]


@pytest.mark.parametrize("name", ["../../x/y", "a/..", "a/b%2fc", "A/b", "a/"])
def test_names_that_would_lead_elsewhere_are_not_asked_for(
    cluster: Kubernetes, secrets: PullSecrets, name: str
) -> None:
    namespace, _, secret = name.rpartition("/") if name.startswith("..") else name.partition("/")
    cluster._write(
        cluster._images,
        "odd",
        "ADDED",
        {
            "metadata": {"name": "odd"},
            "spec": {"image": str(IMAGE), "pullSecrets": [{"namespace": namespace, "secret": secret}]},
        },
    )
    use(cluster, secrets, Reference.parse(f"{HOST}/seen:1"), "a/seen")
    secrets.look()
    assert cluster.reads == ["a/seen"]
