"""The keeper beside a real registry, with its account's rights on a real API server: what goes, what stays, kills."""

import json
import os
import signal
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from kube.types import format_time
from registry.errors import RegistryError
from registry.reference import Reference
from tests.cluster.rig.kept import LAYER, QUICK, REPOSITORY, Scene, begin, pulling, writers
from tests.cluster.rig.workloads import image_cache, namespace, pod
from tests.rig.processes import listening, wait_until

pytestmark = pytest.mark.timeout(300)


def test_what_stands_for_nothing_goes_and_its_space_comes_back_while_readers_go_on(scene: Scene) -> None:
    kept = scene.push("kept", "1", sparse=True)
    old = scene.push("old", "digest-of-old")
    anchor = f"digest-{old.digest.hex}"
    old = scene.push("old", anchor)
    loose = scene.push("loose", "2")
    signed = scene.push("signature", f"sha256-{kept.digest.hex}.sig")
    until = format_time(datetime.now(UTC) + timedelta(days=1))
    scene.keep("app", f"{REPOSITORY}:1", kept, previousDigests=[{"digest": str(old.digest), "until": until}])
    with pulling(lambda: scene.pulled(kept, "1")) as seen:
        begin(scene)
        wait_until(lambda: "freed" in scene.says(), f"garbage is collected: {scene.log[-1500:]}", 60)
    assert len(seen) > 5
    assert all(seen), "readers never notice"
    assert scene.says()["freed"] >= LAYER // 2
    assert not scene.pulled(loose)
    assert scene.pulled(old), "an earlier digest that is due to stay"
    assert scene.pulled(old, anchor)
    assert scene.pulled(signed), "what is attached to it"
    tags = scene.client(write=True).tags(Reference(scene.writer.host, REPOSITORY))
    assert set(tags) == {"1", anchor, f"sha256-{kept.digest.hex}.sig"}
    again = scene.push("loose", "3")
    assert scene.pulled(again, "3"), "it can be copied again at once"


def test_an_earlier_digest_leaves_after_its_retention_and_not_before(scene: Scene) -> None:
    kept, old = scene.push("kept", "1"), scene.push("old")
    anchor = f"digest-{old.digest.hex}"
    scene.push("old", anchor)
    until = datetime.now(UTC) + timedelta(seconds=15)
    earlier = [{"digest": str(old.digest), "until": format_time(until)}]
    scene.keep("app", f"{REPOSITORY}:1", kept, previousDigests=earlier)
    begin(scene)
    tags = scene.client(write=True).tags

    def has(tag: str) -> bool:
        with suppress(RegistryError):
            return tag in tags(Reference(scene.writer.host, REPOSITORY))
        return True  # it collects

    wait_until(lambda: scene.says().get("tags") == 2, f"it sweeps: {scene.log[-1500:]}", 60)
    went = 0
    while has(anchor):
        assert (datetime.now(UTC) - until).total_seconds() < 90, scene.log[-1500:]
        went += scene.pulled(old)
        time.sleep(0.2)
    assert datetime.now(UTC) > until
    assert went, "it was pulled until then"
    wait_until(lambda: not scene.pulled(old), f"its bytes go: {scene.log[-1500:]}", 60)
    assert scene.pulled(kept, "1")


def test_a_sweep_that_would_remove_most_waits_for_a_persons_word(scene: Scene) -> None:
    pushed = [scene.push(f"many{number}", str(number)) for number in range(12)]
    scene.keep("app", f"{REPOSITORY}:0", pushed[0])
    begin(scene)
    wait_until(lambda: scene.says().get("sweep", {}).get("state") == "Stopped", "the sweep stops", 60)
    shown = scene.says()["sweep"]
    assert (shown["due"], shown["total"]) == (11, 12)
    assert all(scene.pulled(one) for one in pushed)
    scene.plane.kubectl("annotate", "imagecache", "default", f"kuik.dev/confirm-sweep={shown['confirm']}")
    wait_until(lambda: "freed" in scene.says(), f"it goes on: {scene.log[-1500:]}", 60)
    assert [scene.pulled(one) for one in pushed] == [True] + [False] * 11


def test_without_an_image_cache_nothing_is_removed(scene: Scene) -> None:
    loose = scene.push("loose", "1")
    scene.keep("app", f"{REPOSITORY}:0", loose)
    begin(scene)
    scene.plane.kubectl("delete", "imagecache", "default", "--cascade=orphan")
    scene.plane.kubectl("delete", "cachedimage", "app")
    time.sleep(6)
    assert scene.pulled(loose, "1")
    scene.plane.kubectl("apply", "-f", "-", stdin=json.dumps(image_cache(keeper=QUICK)))
    wait_until(lambda: not scene.pulled(loose, "1"), "with one it goes", 60)


def test_an_image_goes_on_demand_but_not_from_under_a_pod(scene: Scene) -> None:
    free, used = scene.push("free", "1"), scene.push("used", "2")
    scene.keep("free", f"{REPOSITORY}:1", free)
    scene.keep("used", f"{REPOSITORY}:2", used)
    scene.plane.kubectl("create", "-f", "-", stdin=json.dumps(namespace("kept")))
    made = json.dumps(pod("kept", "web", f"{REPOSITORY}:2"))
    wait_until(lambda: scene.plane.try_kubectl("create", "-f", "-", stdin=made).returncode == 0, "a pod uses one")
    begin(scene)
    for name in ("free", "used"):
        scene.plane.kubectl("annotate", "cachedimage", name, "kuik.dev/remove=true")
    wait_until(lambda: scene.state("free") == "Removed", f"it is removed: {scene.log[-1500:]}", 60)
    assert not scene.pulled(free, "1")
    assert scene.pulled(used, "2")
    scene.plane.kubectl("annotate", "cachedimage", "used", "kuik.dev/remove=force", "--overwrite")
    wait_until(lambda: not scene.pulled(used, "2"), "it is removed all the same", 60)
    wait_until(lambda: "kuik.dev/remove" not in scene.image("used")["metadata"]["annotations"], "the wish is settled")


def test_killed_at_any_moment_it_leaves_a_registry_that_serves_and_goes_on(scene: Scene) -> None:
    kept, loose = scene.push("kept", "1", sparse=True), []
    scene.keep("app", f"{REPOSITORY}:1", kept)
    with pulling(lambda: scene.pulled(kept, "1")) as seen:
        begin(scene)
        for number, pause in enumerate((0.5, 1.5, 2.5, 3.1, 3.7, 4.6)):
            with suppress(RegistryError):
                loose.append(scene.push(f"loose{number}", f"loose{number}"))
            time.sleep(pause)
            scene.kill()
            wait_until(lambda: not listening(scene.writer.port), "the writer ends with its keeper")
            scene.start()

        def only_kept() -> bool:
            try:
                return set(scene.client(write=True).tags(Reference(scene.writer.host, REPOSITORY))) == {"1"}
            except RegistryError:
                return False  # it collects

        wait_until(only_kept, f"all that is loose goes: {scene.log[-1500:]}", 60)
        wait_until(lambda: not any(map(scene.pulled, loose)), f"their bytes go: {scene.log[-1500:]}", 60)
    assert loose
    assert all(seen), "readers never notice"


def test_a_second_keeper_waits_with_its_writer_until_the_first_is_gone(scene: Scene) -> None:
    kept = scene.push("kept", "1")
    scene.keep("app", f"{REPOSITORY}:1", kept)
    begin(scene)
    first = scene.keeper
    scene.start()
    assert first
    wait_until(lambda: "its writer is waited for" in scene.log, "the second one waits")
    first.kill()
    first.wait(10)
    wait_until(lambda: "its writer is waited for" in scene.log and listening(scene.writer.port), "it takes over")
    assert scene.keeper
    assert scene.keeper.poll() is None
    loose = scene.push_when_it_takes("loose", "loose")
    wait_until(lambda: not scene.pulled(loose, "loose"), f"it sweeps: {scene.log[-1500:]}", 60)
    assert scene.pulled(kept, "1")


def killed_writer(scene: Scene) -> None:
    """SIGKILL for the writer; its keeper ends, and comes again, unless it was about to stop the writer anyhow."""
    keeper = scene.keeper
    assert keeper
    wait_until(lambda: bool(writers(keeper)), f"a writer runs: {scene.log[-1500:]}")
    (pid,) = writers(keeper)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: keeper.poll() is not None or bool(set(writers(keeper)) - {pid}), "the keeper sees it")
    if keeper.poll() is not None:
        assert keeper.poll() == 137
        scene.start()


def test_a_writer_that_is_killed_ends_its_keeper_and_the_next_one_goes_on(scene: Scene) -> None:
    kept = scene.push("kept", "1", sparse=True)
    scene.keep("app", f"{REPOSITORY}:1", kept)
    begin(scene)
    for pause in (0.0, 1.2):
        time.sleep(pause)
        killed_writer(scene)
    loose = scene.push_when_it_takes("loose", "loose")
    wait_until(lambda: not scene.pulled(loose, "loose"), f"it sweeps: {scene.log[-1500:]}", 60)
    assert scene.pulled(kept, "1")
