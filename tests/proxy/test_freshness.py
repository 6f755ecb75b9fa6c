"""How long what is known of a tag may be told."""

import pytest

from proxy.shield.freshness import (
    REMEMBER_ABSENCE,
    RETRY_AFTER_FAILURE,
    UNHEARD,
    Verdict,
    failed,
    heard,
)
from registry.digest import Digest
from registry.errors import NotFound, RateLimited, RegistryError, ServerFailure, TLSFailure, Unauthorized, Unreachable
from registry.manifest import OCI_INDEX, Descriptor

KNOWN = Descriptor(OCI_INDEX, Digest.of(b"index"), 5)


def test_a_tag_is_told_while_it_is_fresh() -> None:
    state = heard(KNOWN, now=100, freshness=60)
    assert [state.verdict(now) for now in (100, 159, 160)] == [Verdict.TELL, Verdict.TELL, Verdict.ASK]
    assert UNHEARD.verdict(0) is Verdict.ASK


@pytest.mark.parametrize("error", [Unreachable("x"), ServerFailure("x"), RateLimited("x"), TLSFailure("x")])
def test_what_says_nothing_about_the_tag_leaves_it_stale(error: RegistryError) -> None:
    state = failed(heard(KNOWN, now=0, freshness=60), error, now=100)
    assert state.descriptor == KNOWN
    assert state.verdict(100 + RETRY_AFTER_FAILURE - 1) is Verdict.TELL
    assert state.verdict(100 + RETRY_AFTER_FAILURE) is Verdict.ASK


@pytest.mark.parametrize("error", [NotFound("x"), Unauthorized("x")])
def test_that_it_is_gone_or_closed_is_told_and_briefly_remembered(error: RegistryError) -> None:
    state = failed(heard(KNOWN, now=0, freshness=60), error, now=100)
    assert (state.descriptor, state.refusal) == (None, error)
    assert state.verdict(100) is Verdict.REFUSE
    assert state.verdict(100 + REMEMBER_ABSENCE) is Verdict.ASK


def test_a_registry_that_is_silent_about_an_unknown_tag_is_asked_again() -> None:
    assert failed(UNHEARD, Unreachable("x"), now=100) == UNHEARD


def test_a_rate_limit_says_nothing_about_the_tag() -> None:
    """How long the registry is left alone is known where it is asked, and so what remains of it."""
    assert failed(UNHEARD, RateLimited("x", retry_after=30), now=100) == UNHEARD
