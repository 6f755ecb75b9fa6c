"""A tag's copy is not held back for ever by a shield that is silent, and a slow shield is not given up for nothing."""

import threading
from dataclasses import dataclass, field, replace

import pytest

from proxy.chain import Chain
from proxy.path import Kind, Route
from proxy.sources.message import Answer, Request, manifest_answer
from proxy.stream import PiecesBody
from registry.digest import Digest
from registry.errors import NotFound, RegistryError, Unreachable
from registry.manifest import OCI_MANIFEST, Descriptor
from tests.rig.processes import wait_until

A_TAG = Request(Route("quay.io", "a", Kind.MANIFEST, "1"))


@dataclass(eq=False)
class Source:
    """A source that answers when it may, or fails."""

    name: str
    content: bytes = b"{}"
    fails: RegistryError | None = None
    may_answer: threading.Event = field(default_factory=threading.Event)
    closed: threading.Event = field(default_factory=threading.Event)

    def peer(self, _request: Request, /) -> str:
        return self.name

    def fetch(self, request: Request) -> Answer:
        assert self.may_answer.wait(20)
        if self.fails:
            raise self.fails
        answer = manifest_answer(request, Descriptor(OCI_MANIFEST, Digest.of(self.content), 2), self.content)
        return replace(answer, body=PiecesBody(iter([self.content]), self.closed.set))


def ready(name: str, **more: object) -> Source:
    source = Source(name, **more)  # type: ignore[arg-type]
    source.may_answer.set()
    return source


def read(answer: Answer) -> bytes:
    return b"".join(answer.body)


def test_a_silent_shield_does_not_hold_back_the_copy() -> None:
    shield, store = Source("shield", b"new"), ready("registry", content=b"old")
    assert read(Chain([store], [shield], patience=0.01).fetch(A_TAG)) == b"old"
    assert not shield.closed.is_set()
    shield.may_answer.set()
    wait_until(shield.closed.is_set, "what comes too late is closed")


def test_a_shield_that_answers_in_time_is_heard() -> None:
    shield, store = ready("shield", content=b"new"), ready("registry", content=b"old")
    assert read(Chain([store], [shield], patience=20).fetch(A_TAG)) == b"new"


def test_a_slow_shield_is_waited_for_where_nobody_else_has_the_image() -> None:
    shield, store = Source("shield", b"new"), ready("registry", fails=NotFound("no copy"))
    timer = threading.Timer(0.2, shield.may_answer.set)
    timer.start()
    assert read(Chain([store], [shield], patience=0.01).fetch(A_TAG)) == b"new"


@pytest.mark.parametrize("error", [NotFound("gone"), Unreachable("down")])
def test_what_a_slow_shield_says_is_told(error: RegistryError) -> None:
    shield, store = Source("shield", fails=error), ready("registry", fails=NotFound("no copy"))
    threading.Timer(0.2, shield.may_answer.set).start()
    with pytest.raises(type(error), match=str(error)):
        Chain([store], [shield], patience=0.01).fetch(A_TAG)


def test_without_a_store_nobody_is_hurried() -> None:
    shield = Source("shield", b"new")
    threading.Timer(0.2, shield.may_answer.set).start()
    assert read(Chain([], [shield], patience=0.01).fetch(A_TAG)) == b"new"
