"""Which running workloads would not survive an outage, and what of it has to be read."""

from datetime import UTC, datetime
from typing import Any

from kuik.check.copies import Lack
from kuik.drill.choice import chosen
from kuik.drill.needs import Need, Seen, needs
from kuik.drill.question import MOST_BYTES, Question, Said, batches, written
from kuik.drill.verdict import verdicts
from registry.capability import capability
from registry.manifest import Platform
from registry.reference import Reference
from tests.kuik.plan.world import cached, deployment, image_cache, namespace, pod, policy, rule

NOW = datetime(2026, 1, 15, tzinfo=UTC)
A, B, PRIVATE = "reg.example/a:1", "reg.example/b:1", "reg.example/team/secret:1"
PUBLIC = {"visibility": "Public"}
VERIFIED = {"type": "Verified", "status": "True"}
AMD, ARM = Platform("linux", "amd64"), Platform("linux", "arm64")


def node(name: str, arch: str = "amd64") -> dict[str, Any]:
    info = {"operatingSystem": "linux", "architecture": arch}
    ready = {"type": "Ready", "status": "True"}
    meta = {"name": name, "labels": {"kubernetes.io/os": "linux"}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": meta, "status": {"nodeInfo": info, "conditions": [ready]}}


def proxy(on: str, *, ready: bool = True) -> dict[str, Any]:
    made = pod("kuik-system", f"kuik-proxy-{on}", "kuik:1")
    made["spec"]["nodeName"] = on
    return {**made, "status": {"conditions": [{"type": "Ready", "status": str(ready)}]}}


def on(name: str, made: dict[str, Any], pull: str = "IfNotPresent") -> dict[str, Any]:
    made["spec"]["nodeName"] = name
    for container in made["spec"]["containers"]:
        container["imagePullPolicy"] = pull
    return made


def known(image: str, *, verified: bool = True, **fields: Any) -> dict[str, Any]:
    made = cached(image, **{"access": PUBLIC, **fields})
    made["status"]["conditions"] += [VERIFIED] if verified else []
    return made


def seen(*objects: dict[str, Any], images: tuple[dict[str, Any], ...] = (), **more: Any) -> Seen:
    spaces = {one["metadata"].get("namespace") for one in objects} - {None}
    given = {one["metadata"]["name"] for one in objects if one["kind"] == "Namespace"}
    everywhere = (*objects, *(namespace(name) for name in sorted(spaces - given)))
    usual: dict[str, Any] = {
        "nodes": (node("n1"),),
        "proxies": (proxy("n1"),),
        "daemon_sets": ({"kind": "DaemonSet"},),
        "cache": image_cache(mode="On"),
    }
    return Seen(NOW, everywhere, images, **{**usual, **more})


def lacks(found: Seen, *names: str) -> dict[str, str]:
    return {one.workload: one.lack.reason if one.lack else "" for one in needs(found, frozenset(names)).of}


def test_what_is_cached_for_its_node_survives() -> None:
    found = needs(seen(on("n1", pod("shop", "x", A)), images=(known(A),))).of
    assert found == (Need("shop/Pod/x", "c0", A, platforms=frozenset({AMD}), read=True),)


def test_reasons() -> None:
    failed = known(B)
    failed["status"] |= {
        "reason": "Unauthorized",
        "message": "no",
        "conditions": [{"type": "Cached", "status": "False"}],
    }
    never = on("n1", pod("shop", "never", "reg.example/gone:1"), "Never")
    objects = (
        never,
        on("n1", pod("shop", "none", "reg.example/none:1"), "Always"),
        on("n1", pod("shop", "failed", B)),
        on("n1", pod("shop", "out", A, labels={"kuik.dev/cache": "false"})),
        policy("p", rule("ruled", "Ignore", images=["reg.example/r:*"])),
        on("n1", pod("shop", "ruled", "reg.example/r:1")),
        on("arm", pod("shop", "arm", A)),
        on("bare", pod("shop", "bare", A)),
        on("n1", pod("shop", "secret", PRIVATE)),
        {**on("n1", pod("shop", "ended", "reg.example/none:1")), "status": {"phase": "Succeeded"}},
        deployment("shop", "asleep", "reg.example/none:1"),
    )
    private = known(PRIVATE, access={"visibility": "Private", "secrets": [{"namespace": "shop", "secret": "pull"}]})
    nodes, proxies = (node("n1"), node("arm", "arm64"), node("bare")), (proxy("n1"), proxy("arm"))
    found = seen(*objects, images=(known(A), failed, private), nodes=nodes, proxies=proxies)
    assert lacks(found) == {
        "shop/Pod/arm": "PlatformMissing",
        "shop/Pod/bare": "NoProxy",
        "shop/Pod/failed": "NotCached",
        "shop/Pod/never": "",
        "shop/Pod/none": "NotCached",
        "shop/Pod/out": "PodLabel",
        "shop/Pod/ruled": "ClusterCachePolicy/p/ruled",
        "shop/Pod/secret": "PrivateNoProof",
    }
    said = {one.workload: one.lack.message for one in needs(found).of if one.lack}
    assert said["shop/Pod/bare"] == "no node proxy is ready on bare: no pod was made for it"
    assert "Unauthorized" in said["shop/Pod/failed"]
    assert said["shop/Pod/none"].endswith("with imagePullPolicy Always it does not even restart")


def test_namespaces_that_are_left_alone_are_counted_apart_unless_they_are_asked_for() -> None:
    found = seen(on("n1", pod("shop", "x", A)), on("n1", pod("kube-system", "dns", B)), images=(known(A),))
    assert (lacks(found), needs(found).apart) == ({"shop/Pod/x": ""}, frozenset({"kube-system/Pod/dns"}))
    assert lacks(found, "kube-system") == {"kube-system/Pod/dns": "SystemNamespace"}


def test_a_schedule_counts_as_running() -> None:
    spec = {"jobTemplate": {"spec": {"template": {"spec": pod("shop", "x", B)["spec"]}}}}
    cron = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly", "namespace": "shop"}}
    assert lacks(seen({**cron, "spec": spec})) == {"shop/CronJob/nightly": "NotCached"}
    assert lacks(seen({**cron, "spec": {**spec, "suspend": True}})) == {}


def test_no_cache_at_all_is_no_cache() -> None:
    found = seen(on("n1", pod("shop", "x", A)), images=(known(A),), cache=image_cache(mode="Off"))
    assert lacks(found) == {"shop/Pod/x": "ModeOff"}


def test_what_no_keeper_hashed_or_one_found_damaged_is_in_doubt() -> None:
    damaged = known(B)
    damaged["status"]["conditions"][-1] = {"type": "Verified", "status": "False", "message": "volume-0: blob x"}
    objects = on("n1", pod("shop", "x", A, B))
    found = needs(seen(objects, images=(known(A, verified=False), damaged))).of
    assert [one.doubt.reason if one.doubt else "" for one in found] == ["Unverified", "Damaged"]
    assert all(one.read and one.lack is None for one in found)


def test_a_private_image_is_read_with_what_its_pods_show() -> None:
    opens = capability(b"key", Reference.parse(PRIVATE))
    proof = {"visibility": "Private", "secrets": [{"namespace": "shop", "secret": "pull"}]}
    rewritten = f"localhost:7439/private/{opens}/{PRIVATE}"
    running = on("n1", pod("shop", "x", rewritten, secrets=("pull",)))
    (one,) = needs(seen(running, images=(known(PRIVATE, access=proof),))).of
    assert (one.image, one.lack, one.read, one.capability) == (PRIVATE, None, True, opens)
    assert opens not in repr(one)
    (one,) = needs(
        seen(on("n1", pod("shop", "x", PRIVATE, secrets=("pull",))), images=(known(PRIVATE, access=proof),))
    ).of
    assert (one.lack, one.read, one.doubt and one.doubt.reason) == (None, False, "PrivateUnread")


def test_a_seed_draws_the_same_and_doubt_comes_first() -> None:
    given = [Need(f"a/Pod/{at}", "c", f"reg.example/{at}:1", platforms=frozenset({AMD}), read=True) for at in range(30)]
    given.append(Need("a/Pod/x", "c", "reg.example/3:1", platforms=frozenset({ARM}), read=True))
    given.append(Need("a/Pod/d", "c", "reg.example/odd:1", doubt=Lack("Damaged", ""), read=True))
    given.append(Need("a/Pod/n", "c", "reg.example/none:1", lack=Lack("NotCached", "")))
    assert chosen(given, 5, 7) == chosen(list(reversed(given)), 5, 7)
    assert chosen(given, 5, 7) != chosen(given, 5, 8)
    assert chosen(given, 5, 7)[0].image == "reg.example/odd:1"
    whole = {one.image: one.platforms for one in chosen(given, None, 7)}
    assert (len(whole), whole["reg.example/3:1"]) == (31, frozenset({AMD, ARM}))
    assert chosen(given, 0, 7) == []


def test_what_was_read_outweighs_what_the_cache_says() -> None:
    unverified, damaged = Lack("Unverified", ""), Lack("Damaged", "")
    given = [
        Need("a/Pod/x", "c", image, doubt=doubt, read=True) for image, doubt in (("a", unverified), ("b", damaged))
    ]
    none = verdicts(given, {})
    assert [(one.lack, one.doubt, one.read) for one in none] == [(None, unverified, False), (None, damaged, False)]
    read = {"a": Said("a", 5, ends=True), "b": Said("b", 5, ends=True)}
    assert [(one.doubt, one.read) for one in verdicts(given, read)] == [(None, True), (damaged, True)]
    lost = Lack("Incomplete", "a blob")
    (one, _) = verdicts(given, {"a": Said("a", 5, ends=True, lack=lost)})
    assert (one.lack, one.read, one.document()["survives"]) == (lost, False, False)
    assert not verdicts(given, {"a": Said("a", 5)})[0].read


def test_questions_and_answers_on_their_way() -> None:
    asked = [Question(f"reg.example/{at}{'x' * 200}:1", frozenset({AMD, ARM}), "ab" * 16) for at in range(1000)]
    parts = list(batches(asked))
    assert [one for part in parts for one in part] == asked
    assert len(parts) > 1
    assert all(len(written(part)) <= MOST_BYTES for part in parts)
    assert Question.read(asked[0].document()) == asked[0]
    said = Said("a", 7, ends=True, lack=Lack("Corrupt", "no"))
    assert Said.parse(said.line()) == said
    assert Said.parse(Said("a").line().encode()) == Said("a")
    for line in ("", "null", "Traceback", '{"drill": 1}', '{"drill": "x", "bytes": "1", "ends": true}', b"\xff"):
        assert Said.parse(line) is None
