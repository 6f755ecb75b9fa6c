"""What a copy Job is given besides its image: credentials of a foreign registry, and whether referrers are kept."""

from typing import Any

from hooks.attempts import Inputs
from hooks.facts import JobSettings
from hooks.jobs import copy_job
from hooks.observe import settings_from
from hooks.terms import Terms
from kuik.copy_job import read_order
from tests.hooks.copying import DIGEST, Image

PARENT = {"metadata": {"name": "app-1"}}


def pod_of(settings: JobSettings) -> dict[str, Any]:
    job = copy_job(PARENT, "reg.example.com/app:1", 1, Inputs((), ()), settings)
    pod: dict[str, Any] = dict(job["spec"]["template"]["spec"])
    return pod


def test_a_foreign_registry_is_opened_by_a_pull_secret_as_a_file() -> None:
    pod = pod_of(settings_from({"KUIK_REGISTRY_CREDENTIALS_SECRET": "harbor"}).job)
    (container,) = pod["containers"]
    (path,) = [one["value"] for one in container["env"] if one["name"] == "KUIK_REGISTRY_CREDENTIALS"]
    volume = next(one for one in pod["volumes"] if "secret" in one)
    mount = next(one for one in container["volumeMounts"] if one["name"] == volume["name"])
    (item,) = volume["secret"]["items"]
    assert (volume["secret"]["secretName"], item["key"]) == ("harbor", ".dockerconfigjson")
    assert f"{mount['mountPath']}/{item['path']}" == path
    assert mount["readOnly"] is True
    assert pod["securityContext"]["fsGroup"] > 0  # the file is readable for a user that is not root


def test_nothing_is_mounted_where_no_secret_is_named() -> None:
    pod = pod_of(settings_from({}).job)
    assert [one["name"] for one in pod["volumes"]] == ["tmp"]
    assert "fsGroup" not in pod["securityContext"]


def test_referrers_are_kept_where_a_policy_says_so_also_of_what_is_cached_already() -> None:
    image = Image()
    image.sync()
    (job,) = image.jobs.values()
    assert not read_order(job["spec"]["template"]["spec"]["containers"][0]["args"][1:]).referrers
    image.copied()
    image.sync()
    image.sync()
    assert image.jobs == {}
    image.parent["spec"]["referrers"] = True
    image.sync()
    (job,) = image.jobs.values()
    assert read_order(job["spec"]["template"]["spec"]["containers"][0]["args"][1:]).referrers
    image.copied()
    assert image.sync()["referrers"] is True
    image.sync()
    assert image.jobs == {}


def adopts(image: Image) -> bool:
    (job,) = image.jobs.values()
    return read_order(job["spec"]["template"]["spec"]["containers"][0]["args"][1:]).adopt


def test_what_the_registry_has_already_is_taken_only_by_an_image_that_was_never_copied() -> None:
    image = Image(platforms=["linux/amd64"])
    image.sync()
    assert adopts(image)
    image.fail()
    image.sync()
    image.wait(3600)
    image.sync()
    assert adopts(image), "nor was it by a copy that failed"
    image.copied()
    image.sync()
    image.sync()
    image.parent["spec"]["platforms"] = ["linux/amd64", "linux/s390x"]
    image.sync()
    assert not adopts(image), "what is wanted besides comes from its source"


def test_what_is_damaged_is_not_taken() -> None:
    image = Image()
    image.parent["status"] = {"digest": DIGEST, "reason": "Corrupt", "attempts": 1}
    image.sync()
    assert not adopts(image)


def test_who_wants_referrers_gets_them_for_all() -> None:
    assert Terms(referrers=False).joined(Terms(referrers=True)).referrers is True
    assert Terms(referrers=True).under(Terms(referrers=False)).referrers is False
    assert Terms(referrers=True).under(Terms()).referrers is True
