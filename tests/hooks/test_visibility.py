"""Images that turn private and public again: where they are kept follows, and nothing is lost on the way."""

from typing import Any

from hooks.facts import PRIVATE, PUBLIC, ImageFacts, Known, Proof, Unknown
from tests.hooks.copying import DIGEST, Image

SECRETS = [{"namespace": "a", "secret": "regcred"}]


def facts(visibility: str) -> ImageFacts:
    secrets = frozenset({("a", "regcred")}) if visibility == PRIVATE else frozenset()
    return ImageFacts(Known(Proof(visibility, secrets)), Known(DIGEST))


def arguments(image: Image) -> list[str]:
    (job,) = image.jobs.values()
    found: list[str] = job["spec"]["template"]["spec"]["containers"][0]["args"]
    return found


def copied_as(visibility: str, said: str = "") -> tuple[Image, dict[str, Any]]:
    """An image whose copy said as what it was made."""
    image = Image(pullSecrets=SECRETS)
    image.facts = facts(visibility)
    image.sync()
    image.copied(visibility=said or visibility.capitalize())
    image.sync()
    return image, image.sync()


def test_a_copy_is_told_that_an_image_is_private_once_that_is_proven() -> None:
    for visibility, told in ((PRIVATE, True), (PUBLIC, False)):
        image = Image()
        image.facts = facts(visibility)
        image.sync()
        assert ("--private" in arguments(image)) is told
    image = Image()
    image.facts = ImageFacts(Unknown(), Unknown())
    image.sync()
    assert "--private" not in arguments(image), "it finds out"


def test_an_image_that_turns_private_is_copied_again_and_stays_cached_meanwhile() -> None:
    image, status = copied_as(PUBLIC)
    assert (status["copiedAs"], image.jobs) == ("Public", {})
    image.wait(7200)
    image.facts = facts(PRIVATE)
    status = image.sync()
    assert (status["phase"], status["copy"], status["copiedAs"]) == ("Cached", "Running", "Public")
    assert "--private" in arguments(image)
    image.fail()
    assert image.sync()["phase"] == "Cached", "the copy of before is served on"
    image.wait(7200)
    image.sync()
    image.sync()
    image.copied(visibility="Private")
    image.sync()
    status = image.sync()
    assert (status["copiedAs"], status["digest"], image.jobs) == ("Private", DIGEST, {})
    image.wait(7200)
    image.facts = facts(PUBLIC)
    assert image.sync()["copy"] == "Running"
    image.copied(visibility="Public")
    image.sync()
    assert image.sync()["copiedAs"] == "Public"
    assert not image.jobs


def test_doubt_moves_nothing() -> None:
    image, _ = copied_as(PRIVATE)
    image.wait(7200)
    image.facts = ImageFacts(Unknown(), Unknown())
    assert "copy" not in image.sync()
    assert not image.jobs


def test_a_copy_that_finds_otherwise_is_not_made_again_at_once() -> None:
    """The shield takes it for public, and the copy was refused as public: they will agree later."""
    image, status = copied_as(PUBLIC, "Private")
    assert status["copiedAs"] == "Private"
    assert not [job for job in image.jobs.values() if "status" not in job], "no copy runs"
    assert image.resync > 60


def test_what_was_copied_without_credentials_is_public_while_the_shield_cannot_say() -> None:
    image = Image()
    image.facts = ImageFacts(Unknown(), Unknown())
    image.sync()
    image.copied()
    assert image.sync()["access"] == {"visibility": "Public"}, "so that a pod that waits for it upstream is rescued"
    image.facts = facts(PRIVATE)
    assert image.sync()["access"]["visibility"] == "Private"
    image.facts = ImageFacts(Unknown(), Unknown())
    assert image.sync()["access"]["visibility"] == "Private", "what was proven counts"


def test_nobody_is_told_who_may_pull_what_was_copied_with_credentials_until_that_is_proven() -> None:
    image = Image(pullSecrets=SECRETS)
    image.facts = ImageFacts(Unknown(), Unknown())
    image.sync()
    image.copied(visibility="Private")
    assert "access" not in image.sync()
