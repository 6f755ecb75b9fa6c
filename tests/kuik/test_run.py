"""Local mode as a user meets it: real registries upstream, a real client, the command line in between."""

import json
from pathlib import Path

import pytest

from tests.rig import skopeo
from tests.rig.images import image, multi_platform
from tests.rig.kuik import Running, cache_list, kuik, proxied
from tests.rig.manifests import deployment, pull_secret, write
from tests.rig.processes import wait_until
from tests.rig.upstream import Upstream

pytestmark = pytest.mark.needs("skopeo")


def pulls(host: str, reference: str, target: Path, *options: str) -> str:
    return skopeo.pull(proxied(host, reference), target, *options)


def test_every_image_pulls_while_upstreams_are_down_also_after_a_restart(
    upstream: Upstream, private_upstream: Upstream, tmp_path: Path
) -> None:
    """By tag and by digest, OCI and Docker, one and many platforms, the same path on two registries, a password."""
    oci, docker = image("oci"), image("docker", docker=True)
    many, many_docker, secret = multi_platform("many"), multi_platform("list", docker=True), image("secret")
    built = {
        upstream.push(oci, "team/app", "1.0"): oci,
        upstream.push(docker, "team/docker", "v1"): docker,
        upstream.push(many, "team/many", "latest"): many,
        upstream.push(many_docker, "list/nested/path"): many_docker,
        private_upstream.push(secret, "team/app", "1.0"): secret,
    }
    plain, locked = upstream.host, private_upstream.host
    pods = write(
        tmp_path / "pods.yaml",
        deployment("public", *(name for name in built if name.startswith(plain))),
        deployment("private", f"{locked}/team/app:1.0", secret="pull", namespace="shop"),
        pull_secret("pull", locked, private_upstream.user, private_upstream.password, namespace="shop"),
    )
    store, http = tmp_path / "store", ("--plain-http", plain, "--plain-http", locked)
    done = kuik("run", pods, "--store", str(store), *http, "--once")
    assert done.returncode == 0, done.stderr
    upstream.stop()
    private_upstream.stop()
    for attempt in ("first", "second"):  # the second start is the restart with upstream still down
        with Running(store, http) as running:
            for number, (name, expected) in enumerate(built.items()):
                repository = name.partition("@")[0].rpartition(":")[0] if "@" not in name else name.partition("@")[0]
                target = tmp_path / f"{attempt}-{number}"
                assert pulls(running.host, name, target / "as-written", "--all") == str(expected.digest)
                by_digest = f"{repository}@{expected.digest}"
                assert pulls(running.host, by_digest, target / "by-digest", "--all") == str(expected.digest)
                assert skopeo.raw_digest(proxied(running.host, name)) == str(expected.digest)


def test_pods_and_lists_from_standard_input(upstream: Upstream, tmp_path: Path) -> None:
    name = upstream.push(image("one"), "a/b", "1")
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": name}]}}
    pod_list = json.dumps({"apiVersion": "v1", "kind": "PodList", "items": [pod]})
    words = ("run", "-", "--store", str(tmp_path / "store"), "--plain-http", upstream.host, "--once")
    done = kuik(*words, stdin=pod_list)
    assert done.returncode == 0, done.stderr
    assert cache_list(tmp_path / "store")[name]["usedBy"] == ["default/Pod/p"]


def test_what_cannot_be_cached_is_told_with_its_reason(
    upstream: Upstream, private_upstream: Upstream, tmp_path: Path
) -> None:
    good = upstream.push(image("good"), "good/app", "1")
    missing, locked = f"{upstream.host}/no/such:1", private_upstream.push(image("secret"), "team/app", "1")
    pods = write(tmp_path / "pods.yaml", deployment("app", good, missing, locked))
    words = ("--plain-http", upstream.host, "--plain-http", private_upstream.host)
    done = kuik("run", pods, "--store", str(tmp_path / "store"), *words, "--once")
    assert done.returncode == 1
    rows = {line.split()[0]: line for line in done.stdout.splitlines()[1:]}
    assert "NotFound" in rows[missing]
    assert "Unauthorized" in rows[locked]
    assert good not in rows
    found = cache_list(tmp_path / "store")
    assert {name: row["phase"] for name, row in found.items()} == {good: "Cached", missing: "Failed", locked: "Failed"}


def test_a_name_that_no_image_has_is_told_too(tmp_path: Path) -> None:
    pods = write(tmp_path / "pods.yaml", deployment("app", "Team/App:1"))
    done = kuik("run", pods, "--store", str(tmp_path / "store"), "--once")
    assert done.returncode == 1
    assert "InvalidReference" in done.stdout


def test_a_credential_opens_only_what_pods_of_its_namespace_use(private_upstream: Upstream, tmp_path: Path) -> None:
    name = private_upstream.push(image("secret"), "team/app", "1")
    secret = pull_secret("pull", private_upstream.host, private_upstream.user, private_upstream.password, "other")
    pods = write(tmp_path / "pods.yaml", deployment("app", name, secret="pull", namespace="mine"), secret)
    words = ("run", pods, "--store", str(tmp_path / "store"), "--plain-http", private_upstream.host, "--once")
    assert kuik(*words).returncode == 1
    assert cache_list(tmp_path / "store")[name]["reason"] == "Unauthorized"


def test_opted_out_and_loopback_images_are_left_alone(upstream: Upstream, tmp_path: Path) -> None:
    one, two = upstream.push(image("one"), "a/one", "1"), upstream.push(image("two"), "a/two", "1")
    opted_out = deployment("out", two, labels={"kuik.dev/cache": "false"})
    pods = write(tmp_path / "pods.yaml", deployment("in", one), opted_out)
    named = kuik("run", pods, "--store", str(tmp_path / "named"), "--plain-http", upstream.host, "--once")
    assert named.returncode == 0, named.stderr
    assert cache_list(tmp_path / "named").keys() == {one}
    assert two in named.stderr
    upstream.forget_requests()
    unnamed = kuik("run", pods, "--store", str(tmp_path / "unnamed"), "--once")
    assert unnamed.returncode == 0, unnamed.stderr
    assert cache_list(tmp_path / "unnamed") == {}
    assert upstream.requests() == []


def test_only_the_platforms_that_are_wanted_are_copied_and_digests_stay(upstream: Upstream, tmp_path: Path) -> None:
    many = multi_platform("many")
    name = upstream.push(many, "a/many", "1")
    pods = write(tmp_path / "pods.yaml", deployment("app", name))
    words = ("run", pods, "--store", str(tmp_path / "store"), "--plain-http", upstream.host)
    done = kuik(*words, "--platform", "linux/arm64", "--once")
    assert done.returncode == 0, done.stderr
    narrow = sum(1 for path in (tmp_path / "store" / "blobs").rglob("*") if path.is_file())
    assert narrow == 1 + 1 + 3  # the index, one manifest, its config and two layers
    assert kuik(*words, "--once").returncode == 0  # all platforms: what is missing is copied
    wide = sum(1 for path in (tmp_path / "store" / "blobs").rglob("*") if path.is_file())
    assert wide == 1 + 2 * 4
    upstream.stop()
    with Running(tmp_path / "store") as running:
        assert pulls(running.host, name, tmp_path / "out", "--all") == str(many.digest)


def test_manifests_are_followed_and_unused_images_expire(upstream: Upstream, tmp_path: Path) -> None:
    one, two = upstream.push(image("one"), "a/one", "1"), upstream.push(image("two"), "a/two", "1")
    pods = tmp_path / "pods"
    write(pods / "one.yaml", deployment("one", one))
    words = (str(pods), "--plain-http", upstream.host, "--retention", "1s")
    with Running(tmp_path / "store", words) as running:
        running.until_cached(one)
        write(pods / "two.yaml", deployment("two", two))
        running.until_cached(one, two)
        (pods / "one.yaml").unlink()
        running.until_cached(two)
        assert skopeo.fails_to_pull(f"{running.host}/nothing/here:1", tmp_path / "none")
        upstream.stop()
        assert skopeo.fails_to_pull(proxied(running.host, one), tmp_path / "gone")
        pulls(running.host, two, tmp_path / "kept")


def test_a_file_that_breaks_takes_nothing_away(upstream: Upstream, tmp_path: Path) -> None:
    name = upstream.push(image("one"), "a/one", "1")
    pods = tmp_path / "pods"
    write(pods / "one.yaml", deployment("one", name))
    words = (str(pods), "--plain-http", upstream.host, "--retention", "0s")
    with Running(tmp_path / "store", words) as running:
        running.until_cached(name)
        (pods / "one.yaml").write_text("kind: [broken")
        wait_until(lambda: "one.yaml: line " in running.said, "the broken file is named")
        two = upstream.push(image("two"), "a/two", "1")
        write(pods / "two.yaml", deployment("two", two))
        running.until_cached(name, two)


def test_without_manifests_nothing_expires(upstream: Upstream, tmp_path: Path) -> None:
    name = upstream.push(image("one"), "a/one", "1")
    pods = write(tmp_path / "pods.yaml", deployment("one", name))
    store = ("--store", str(tmp_path / "store"), "--plain-http", upstream.host, "--once")
    assert kuik("run", pods, *store).returncode == 0
    assert kuik("run", *store, "--retention", "0s").returncode == 0
    assert cache_list(tmp_path / "store")[name]["phase"] == "Cached"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert kuik("run", str(empty), *store, "--retention", "0s").returncode == 0
    assert cache_list(tmp_path / "store") == {}


def test_what_was_lost_on_disk_is_copied_again(upstream: Upstream, tmp_path: Path) -> None:
    built = image("one")
    name = upstream.push(built, "a/one", "1")
    pods = write(tmp_path / "pods.yaml", deployment("one", name))
    words = ("run", pods, "--store", str(tmp_path / "store"), "--plain-http", upstream.host, "--once")
    assert kuik(*words).returncode == 0
    lost = next(iter(built.blobs))
    (tmp_path / "store" / "blobs" / "sha256" / lost.hex).unlink()
    assert kuik(*words).returncode == 0
    upstream.stop()
    with Running(tmp_path / "store") as running:
        assert pulls(running.host, name, tmp_path / "out") == str(built.digest)


def test_what_was_damaged_on_disk_is_found_and_copied_again(upstream: Upstream, tmp_path: Path) -> None:
    built = image("one")
    name = upstream.push(built, "a/one", "1")
    pods = write(tmp_path / "pods.yaml", deployment("one", name))
    words = ("run", pods, "--store", str(tmp_path / "store"), "--plain-http", upstream.host)
    assert kuik(*words, "--once").returncode == 0
    blob = tmp_path / "store" / "blobs" / "sha256" / next(iter(built.blobs)).hex
    right = blob.read_bytes()
    blob.write_bytes(bytes([right[0] ^ 1]) + right[1:])
    with Running(tmp_path / "store", (pods, "--plain-http", upstream.host)) as running:
        wait_until(lambda: blob.exists() and blob.read_bytes() == right, "the right bytes are back")
        wait_until(lambda: cache_list(tmp_path / "store")[name]["phase"] == "Cached", "it is cached")
        assert pulls(running.host, name, tmp_path / "out") == str(built.digest)
    assert (tmp_path / "store" / "blobs.damaged" / f"sha256-{blob.name}").exists()


def test_a_second_kuik_on_the_same_store_is_refused(tmp_path: Path) -> None:
    with Running(tmp_path / "store"):
        done = kuik("run", "--store", str(tmp_path / "store"), "--once")
    assert done.returncode == 1
    assert "another kuik" in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("missing.yaml",), "missing.yaml: no such file or folder"),
        (("--retention", "soon"), "soon"),
        (("--platform", "amd64"), "linux/arm64"),
        (("--plain-http", "http://x"), "http://x"),
        (("--listen", "nowhere"), "HOST:PORT"),
    ],
)
def test_mistakes_are_named_and_exit_with_2(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    done = kuik("run", "--store", str(tmp_path / "store"), *words)
    assert done.returncode == 2
    assert says in done.stderr
    assert not (tmp_path / "store").exists()
