"""A private image's whole way: from its registry through shield, copy Job and node proxy, all processes of their own.

Whoever has the secret gets it, nobody else does, and no secret shows in anything that any of the processes says.
"""

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from hooks.access import access
from hooks.directory import access_only, proofs
from hooks.facts import PRIVATE, ImageFacts, Known, Proof, Settings, access_unknown
from hooks.rewrite import Rewrite, Rules, plan
from hooks.shield import Shield as Facts
from registry.capability import capability
from registry.proxied import host_to_segment, proxied
from registry.reference import Reference
from tests.rig import faulty, skopeo
from tests.rig.components import TOKEN, Component, proxy, shield
from tests.rig.faulty import Relay, TokenServer, guarded
from tests.rig.images import image
from tests.rig.kubernetes import Kubernetes
from tests.rig.manifests import pull_secret
from tests.rig.processes import wait_until
from tests.rig.upstream import Upstream

USER, PASSWORD, NEXT = "alice", "s3cret-enough", "an0ther-s3cret"
KEY = "the-key-of-capabilities"
BUILT = image("own", layers=1, layer_size=60_000)
BLOB = next(iter(BUILT.blobs))


@dataclass
class World:
    """A cluster's data path before one private registry."""

    folder: Path
    cluster: Kubernetes
    upstream: Upstream
    registry: Upstream
    shield: Component
    proxy: Component
    said: list[str] = field(default_factory=list)

    def image(self, host: str = "", repository: str = "team/own") -> Reference:
        return Reference.parse(f"{host or self.upstream.host}/{repository}:1")

    def private(self, reference: Reference, key: str = KEY) -> str:
        """The name that admission gives to pods with a proven secret."""
        return str(proxied(reference, self.proxy.host, capability(key.encode(), reference)))

    def path(self, name: str, target: str) -> str:
        return f"/v2/{Reference.parse(name).repository}/{target}"

    def facts(self, reference: Reference) -> ImageFacts:
        return Facts(self.shield.url, TOKEN, timeout=2).facts(str(reference))

    def proof(self, reference: Reference, *secrets: tuple[str, str]) -> None:
        """Wait until exactly these secrets are proven to open the image's repository."""
        wanted = Known(Proof(PRIVATE, frozenset(secrets)))
        wait_until(lambda: self.facts(reference).access == wanted, f"{secrets} are proven for {reference}", 20)

    def copy(self, reference: Reference, *words: str) -> dict[str, object]:
        """Run a copy Job; its result."""
        command = [sys.executable, "-m", "kuik.copy_job", "--image", str(reference), "--source", self.shield.url]
        command += ["--target", f"http://{self.registry.host}", *words]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "KUIK_TOKEN": TOKEN}
        )
        self.said += [done.stdout, done.stderr, " ".join(command)]
        result: dict[str, object] = json.loads(done.stdout)
        return result

    def everything_said(self) -> str:
        """Logs, results and arguments of all processes of ours."""
        processes = [one.process for one in (self.shield, self.proxy) if one.process]
        arguments = [Path(f"/proc/{process.pid}/cmdline").read_bytes().decode() for process in processes]
        return "\n".join([self.shield.log.read_text(), self.proxy.log.read_text(), *arguments, *self.said])


@pytest.fixture
def start(tmp_path: Path, private_upstream: Upstream) -> Iterator[Callable[..., World]]:
    """Starts the data path; further registries that have no TLS are named."""
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "current").write_text(KEY)
    cluster, registry = Kubernetes().start(), Upstream(tmp_path / "registry").start()
    running: list[Component] = []

    def world(*plain: str) -> World:
        hosts = [word for host in (private_upstream.host, *plain) for word in ("--plain-http", host)]
        kubeconfig = ["--kubeconfig", str(cluster.kubeconfig(tmp_path / "kubeconfig"))]
        running.append(shield(tmp_path / "shield", *hosts, *kubeconfig, "--freshness", "0").start())
        options = ["--registry", f"http://{registry.host}", "--shield", running[0].url]
        running.append(proxy(tmp_path / "proxy", *options, *hosts, "--capability-keys", str(tmp_path / "keys")).start())
        private_upstream.push(BUILT, "team/own", "1")
        return World(tmp_path, cluster, private_upstream, registry, running[0], running[1])

    yield world
    for component in running:
        component.stop()
    registry.stop()
    cluster.stop()


def use(world: World, reference: Reference, password: str = PASSWORD, namespace: str = "a") -> None:
    """Have pods of a namespace that pull the image with a secret."""
    secret = world.cluster.secret(pull_secret("regcred", reference.host, USER, password, namespace))
    world.cluster.use(str(reference), secret)


def opens(world: World, name: str) -> bool:
    return world.proxy.get(world.path(name, "manifests/1")).status == 200


def shut(world: World, name: str) -> None:
    """Nothing of the image can be had by this name, by tag or by digest."""
    for target in ("manifests/1", f"manifests/{BUILT.digest}", f"blobs/{BLOB}", "tags/list"):
        status = world.proxy.get(world.path(name, target)).status
        assert status in (401, 404), f"{name} {target}: {status}"


@pytest.mark.needs("skopeo")
def test_who_has_the_secret_pulls_and_nobody_else_does(start: Callable[..., World]) -> None:
    world = start()
    own = world.image()
    use(world, own)
    world.proof(own, ("a", "regcred"))
    name = world.private(own)
    assert skopeo.pull(name, world.folder / "cold") == str(BUILT.digest)
    assert world.copy(own)["visibility"] == "Private"
    assert [path for _, path, _ in world.registry.requests() if "/manifests/" in path]
    assert not [
        p for _, p, _ in world.registry.requests() if not p.startswith(("/v2/private/", "/v2/ ")) and p != "/v2/"
    ]
    # A pod of another namespace is admitted without a proof and has the public name at best; so has a reference that
    # somebody writes by hand or patches into a pod, and a capability of another repository or key.
    closed = [
        str(proxied(own, world.proxy.host)),
        world.private(own, "another key"),
        world.private(world.image(repository="team/other")).replace("team/other", "team/own"),
        f"{world.proxy.host}/private/{host_to_segment(own.host)}/{own.repository}:1",
    ]
    for one in closed:
        shut(world, one)
    for target in ("manifests/1", f"blobs/{BLOB}"):
        mirrored = world.proxy.get(f"/v2/{own.repository}/{target}?ns={own.host}")
        assert mirrored.status == 404, "containerd asks upstream then, with the pod's own credentials"
    # Upstream and shield gone: the copy is served to the same, and to nobody else.
    world.upstream.stop()
    world.shield.stop()
    assert skopeo.pull(name, world.folder / "cached") == str(BUILT.digest)
    for one in closed[1:]:
        shut(world, one)


@pytest.mark.needs("skopeo")
def test_admission_opens_it_to_the_pods_whose_secret_is_proven_and_to_no_others(start: Callable[..., World]) -> None:
    world = start()
    own = world.image()
    use(world, own)
    world.proof(own, ("a", "regcred"))
    image_ = {"spec": {"image": str(own)}, "status": {"access": access({}, world.facts(own).access)}}
    proven = proofs([access_only(image_)])
    settings = Settings(proxy=world.proxy.host, plain_http=frozenset({own.host}))

    def admitted(namespace: str, *secrets: str) -> Rewrite:
        rules = Rules(settings, access_unknown, {"metadata": {"name": namespace}}, key=KEY.encode())
        rules = replace(rules, proof=lambda reference: proven.get(reference.name))
        named = [{"name": name} for name in secrets]
        return plan({"spec": {"containers": [{"name": "c", "image": str(own)}], "imagePullSecrets": named}}, rules)

    (change,) = admitted("a", "other", "regcred").changes
    assert skopeo.pull(change.after, world.folder / "admitted") == str(BUILT.digest)
    for namespace, secrets in (("a", ()), ("a", ("other",)), ("b", ("regcred",)), ("b", ())):
        (left,) = admitted(namespace, *secrets).left
        assert (left.why.rule, left.image) == ("PrivateNoProof", str(own))


def test_what_is_not_cached_does_not_come_while_the_shield_is_down_and_upstream_is_never_asked_as_nobody(
    start: Callable[..., World],
) -> None:
    world = start()
    own = world.image()
    use(world, own)
    world.proof(own, ("a", "regcred"))
    world.shield.stop()
    world.registry.stop()
    world.upstream.forget_requests()
    for target in ("manifests/1", f"manifests/{BUILT.digest}", f"blobs/{BLOB}"):
        assert world.proxy.get(world.path(world.private(own), target)).status == 503
    assert world.upstream.requests() == []


@pytest.mark.needs("skopeo")
def test_a_secret_that_is_changed_is_noticed_when_the_registry_refuses_the_old_one(start: Callable[..., World]) -> None:
    world = start()
    own = world.image()
    use(world, own)
    world.proof(own, ("a", "regcred"))
    assert opens(world, world.private(own))
    world.upstream.stop()
    world.upstream.password = NEXT
    world.upstream.start()
    assert not opens(world, world.private(own)), "the password is wrong now"
    use(world, own, NEXT)
    wait_until(lambda: opens(world, world.private(own)), "the new password is used", 20)


def test_secrets_that_cannot_be_used_are_named_in_the_copy_s_result(start: Callable[..., World]) -> None:
    world = start()
    own = world.image()
    closed = world.cluster.secret(pull_secret("closed", own.host, USER, PASSWORD, "b"))
    world.cluster.forbidden.add(closed)
    world.cluster.use(str(own), "a/gone", closed)
    wait_until(lambda: len(world.cluster.reads) > 1, "the secrets are asked for")
    result = world.copy(own)
    assert result["reason"] == "Unauthorized"
    assert "Secret a/gone does not exist" in str(result["message"])
    assert "Secret b/closed cannot be read by kuik (403)" in str(result["message"])
    for target in ("manifests/1", f"blobs/{BLOB}"):
        told = world.proxy.get(world.path(world.private(own), target))
        assert told.status == 401
        assert b"no pull secret in use opens it upstream" in told.body
        assert not [name for name in (b"b/closed", b"a/gone") if name in told.body], "pods of one learn of no other's"


def test_proofs_are_of_repositories_and_secrets_and_go_with_their_use(start: Callable[..., World]) -> None:
    world = start()
    own, other = world.image(), world.image(repository="team/other")
    world.upstream.push(image("other"), "team/other", "1")
    use(world, own)
    wrong = world.cluster.secret(pull_secret("wrong", own.host, USER, "a-wrong-password", "b"))
    world.cluster.use(str(own), "a/regcred", wrong, "c/gone")
    world.proof(own, ("a", "regcred"))
    wait_until(lambda: world.facts(own).upstream == Known(str(BUILT.digest)), "its tag is known", 20)
    wait_until(lambda: world.facts(other).access == Known(Proof(PRIVATE)), "nobody's secret is for it", 20)
    world.upstream.delete_manifest("team/own", BUILT)
    wait_until(lambda: world.facts(own).upstream == Known(None), "its tag is gone, as who may pull was told", 20)
    assert world.facts(own).access == Known(Proof(PRIVATE, frozenset({("a", "regcred")}))), "the proof stays"
    world.cluster.use(str(own), wrong)
    wait_until(lambda: world.facts(own).access == Known(Proof(PRIVATE)), "a secret that is not used proves nothing", 20)


def test_a_registry_that_says_404_to_strangers_is_private_where_a_secret_opens_it(
    start: Callable[..., World], private_upstream: Upstream
) -> None:
    def hide(exchange: faulty.Exchange) -> None:
        if exchange.headers.get("Authorization"):
            faulty.pass_on(exchange)
        else:
            faulty.error(404, "NAME_UNKNOWN")(exchange)

    with Relay(private_upstream.host) as hiding:
        hiding.rule(hide, path="/v2/team/", times=None)
        world = start(hiding.host)
        own = world.image(hiding.host)
        use(world, own)
        world.proof(own, ("a", "regcred"))
        assert opens(world, world.private(own))
        assert world.copy(own)["visibility"] == "Private"
        shut(world, str(proxied(own, world.proxy.host)))


def test_a_token_server_elsewhere_gets_the_password_and_the_registry_never_does(
    start: Callable[..., World], upstream: Upstream
) -> None:
    with TokenServer({USER: PASSWORD}) as tokens, Relay(upstream.host) as registry:
        registry.rule(guarded(tokens), path="/v2/", times=None)
        world = start(tokens.host, registry.host)
        upstream.push(BUILT, "team/own", "1")
        own = world.image(registry.host)
        use(world, own)
        # Without a password it gives no tokens, as Docker Hub gives none for what is private.
        world.proof(own, ("a", "regcred"))
        assert opens(world, world.private(own))
        assert [seen for seen in tokens.requests if "Basic" in seen.headers.get("Authorization", "")]
        assert not [seen for seen in registry.requests if "Basic" in seen.headers.get("Authorization", "")]
        assert PASSWORD not in str([(seen.path, dict(seen.headers)) for seen in registry.requests])
    check_silence(world)


def test_nothing_that_is_said_anywhere_holds_a_password_or_a_key(start: Callable[..., World]) -> None:
    world = start()
    own = world.image()
    use(world, own)
    world.proof(own, ("a", "regcred"))
    use(world, own, "a-wrong-password")
    time.sleep(0.1)
    world.copy(own)
    world.copy(world.image(repository="team/none"), "--private")
    for name in (world.private(own), world.private(own, "another key"), world.private(world.image(repository="x/y"))):
        for target in ("manifests/1", "manifests/2", f"blobs/{BLOB}", "nonsense", "blobs/uploads/", "manifests/%00"):
            world.proxy.get(world.path(name, target))
        world.proxy.get(world.path(name, "manifests/1"), method="PUT")
    world.upstream.stop()
    world.proxy.get(world.path(world.private(own), "manifests/3"))
    world.proxy.get(world.path(world.private(own), "manifests/x")[:-12] + "\\u00e9/manifests/1")
    check_silence(world)
    assert "team/own" in world.everything_said(), "something was said"


def check_silence(world: World) -> None:
    said = world.everything_said()
    basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    hidden = [PASSWORD, NEXT, basic, "a-wrong-password", KEY, TOKEN, capability(KEY.encode(), world.image())]
    assert [one for one in hidden if one in said] == []
