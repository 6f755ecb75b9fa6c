"""A tag's copy is not held back for ever by a shield that is silent, and a slow shield is not given up for nothing."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from proxy.breaker import FIRST_PAUSE, Breakers
from proxy.chain import Chain
from proxy.path import Kind, Route
from proxy.patience import FIRST, LEAST, TOTAL, Patient, patience
from proxy.sources.message import Answer, Request, manifest_answer
from proxy.stream import PiecesBody
from registry.digest import Digest
from registry.errors import NotFound, RegistryError, Unreachable
from registry.manifest import OCI_MANIFEST, Descriptor
from registry.response import TimedOut, TooSlow
from tests.rig.processes import wait_until

A_TAG = Request(Route("quay.io", "a", Kind.MANIFEST, "1"))
A_BLOB = Request(Route("quay.io", "a", Kind.BLOB, str(Digest.of(b"{}"))))


def soon(_spent: float) -> float:
    return 0.01


@dataclass(eq=False)
class Source:
    """A source that answers when it may, or fails; `hurried` ones give up when patience is over, as sockets do."""

    name: str
    content: bytes = b"{}"
    fails: RegistryError | None = None
    hurried: bool = True
    alive: bool = True
    may_answer: threading.Event = field(default_factory=threading.Event)
    closed: threading.Event = field(default_factory=threading.Event)
    asked: list[Request] = field(default_factory=list)

    def peer(self, _request: Request, /) -> str:
        return self.name

    def is_alive(self) -> bool:
        return self.alive

    def fetch(self, request: Request) -> Answer:
        self.asked.append(request)
        if not self.may_answer.wait(request.patience if self.hurried and request.patience else 20):
            raise TimedOut(f"{self.name} is silent")
        if self.fails:
            raise self.fails
        answer = manifest_answer(
            request, Descriptor(OCI_MANIFEST, Digest.of(self.content), len(self.content)), self.content
        )
        return replace(answer, body=PiecesBody(iter([self.content]), self.closed.set))


def ready(name: str, **more: object) -> Source:
    source = Source(name, **more)  # type: ignore[arg-type]
    source.may_answer.set()
    return source


def read(answer: Answer) -> bytes:
    return b"".join(answer.body)


@pytest.fixture(params=["over HTTP", "in this process"])
def shield(request: pytest.FixtureRequest) -> Iterator[Source]:
    source = Source("shield", b"new", hurried=request.param == "over HTTP")
    yield source
    source.may_answer.set()


def asked(shield: Source) -> Source | Patient:
    return shield if shield.hurried else Patient(shield)


def test_a_silent_shield_does_not_hold_back_the_copy(shield: Source) -> None:
    store = ready("registry", content=b"old")
    assert read(Chain([store], [asked(shield)], patience=soon).fetch(A_TAG)) == b"old"
    assert not shield.closed.is_set()
    shield.may_answer.set()
    if not shield.hurried:
        wait_until(shield.closed.is_set, "what comes too late is closed")


def test_a_shield_that_was_late_about_a_registry_is_not_waited_for_again_at_once(shield: Source) -> None:
    chain = Chain([ready("registry", content=b"old")], [asked(shield)], patience=soon)
    for _ in range(5):
        assert read(chain.fetch(A_TAG)) == b"old"
    assert len(shield.asked) == 1
    shield.may_answer.set()
    assert read(chain.fetch(Request(Route("docker.io", "a/b", Kind.MANIFEST, "1")))) == b"new"


def test_a_shield_that_answers_in_time_is_heard(shield: Source) -> None:
    shield.may_answer.set()
    assert read(Chain([ready("registry", content=b"old")], [asked(shield)]).fetch(A_TAG)) == b"new"


def test_a_slow_shield_is_waited_for_where_nobody_else_has_the_image(shield: Source) -> None:
    store = ready("registry", fails=NotFound("no copy"))
    threading.Timer(0.2, shield.may_answer.set).start()
    assert read(Chain([store], [asked(shield)], patience=soon).fetch(A_TAG)) == b"new"


@pytest.mark.parametrize("error", [NotFound("gone"), Unreachable("down")])
def test_what_a_slow_shield_says_is_told(shield: Source, error: RegistryError) -> None:
    shield.fails = error
    store = ready("registry", fails=NotFound("no copy"))
    threading.Timer(0.2, shield.may_answer.set).start()
    with pytest.raises(type(error), match=str(error)):
        Chain([store], [asked(shield)], patience=soon).fetch(A_TAG)


def test_a_busy_shield_is_waited_for_and_upstream_is_not_asked_in_its_place(shield: Source) -> None:
    upstream = ready("upstream", content=b"upstream")
    threading.Timer(0.2, shield.may_answer.set).start()
    chain = Chain([ready("registry", fails=NotFound("no copy"))], [asked(shield)], [upstream], patience=soon)
    assert read(chain.fetch(A_BLOB)) == b"new"
    assert not upstream.asked


def test_a_dead_shield_is_not_waited_for() -> None:
    dead = Source("shield", alive=False)
    upstream = ready("upstream")
    chain = Chain([], [dead], [upstream], patience=soon)
    for _ in range(3):
        assert read(chain.fetch(A_BLOB)) == b"{}"
    assert len(dead.asked) == 1


def test_a_silent_store_costs_its_patience_once_and_is_tried_again_without_a_client() -> None:
    now = [1000.0]
    store = Source("registry", b"stored", alive=False)
    chain = Chain([store], [ready("shield", content=b"new")], breakers=Breakers(lambda: now[0]), patience=soon)
    for _ in range(3):
        assert read(chain.fetch(A_BLOB)) == b"new"
    assert len(store.asked) == 1
    now[0] += FIRST_PAUSE
    store.may_answer.set()
    assert read(chain.fetch(A_BLOB)) == b"new"
    wait_until(lambda: len(store.asked) == 2 and not chain.breakers.open_ones(), "it was tried")
    assert [one.method for one in store.asked] == ["GET", "HEAD"]
    assert read(chain.fetch(A_BLOB)) == b"stored"


def test_a_store_left_alone_is_asked_after_all_where_nobody_else_has_it() -> None:
    store = ready("registry", fails=Unreachable("a moment ago"))
    chain = Chain([store], [], [ready("upstream", fails=NotFound("deleted"))])
    with pytest.raises(NotFound):
        chain.fetch(A_BLOB)
    store.fails = None
    assert read(chain.fetch(A_BLOB)) == b"{}"


def test_however_many_are_silent_they_cost_two_seconds_or_a_little_more() -> None:
    assert patience(0) == FIRST < TOTAL < 2
    assert patience(FIRST) == pytest.approx(TOTAL - FIRST)
    assert patience(60) == LEAST


def test_a_patient_source_starts_no_thread_before_it_is_asked() -> None:
    before = threading.active_count()
    Patient(ready("shield"))
    assert threading.active_count() == before


def test_a_shield_that_trickles_is_left_though_it_is_alive() -> None:
    shield = ready("shield", fails=TooSlow("a few bytes"))
    answer = Chain((), [shield], [ready("upstream", content=b"up")]).fetch(A_TAG)
    assert (read(answer), len(shield.asked)) == (b"up", 1)
