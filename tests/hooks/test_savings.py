"""What was saved upstream: asked of every shield, seldom, and written to the ImageCache's status seldom."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest

from hooks.facts import Absent, Context, Known, Questions, Saved, Unknown
from hooks.messages import answer
from hooks.observe import Observer, settings_from
from hooks.savings import ASK_EVERY, EVERY, Asked, Count, is_due, together
from hooks.shield import Shield
from hooks.stages import STAGES
from kube.schema import validate
from kube.types import format_time
from tests.hooks import golden
from tests.hooks.test_shield import raw
from tests.hooks.world import NOW, image_cache, namespace

STAGE = STAGES["imagecache"]
EARLIER = NOW - timedelta(days=3)
SAID = {
    "since": format_time(EARLIER),
    "servedBytes": 100,
    "servedPulls": 9,
    "fetchedBytes": 30,
    "fetchedPulls": 4,
}


def sync(parent: Any, saved: Known[Saved] | Absent | Unknown, now: datetime = NOW) -> tuple[Any, float]:
    request = golden.request(STAGE, parent, [], [namespace("a")])
    answered = answer(STAGE, request, Context(now, saved=saved))
    return answered["status"].get("saved"), answered.get("resyncAfterSeconds", 0.0)


def with_saved(**saved: Any) -> dict[str, Any]:
    return {**image_cache(), "status": {"saved": saved}}


def test_the_shields_add_up_and_what_was_fetched_ahead_of_need_is_not_below_zero() -> None:
    one, late = Count(EARLIER, 100, 9, 30, 4), Count(NOW, 5, 0, 50, 2)
    assert together([one, late]) == Saved(25, 3, EARLIER)
    assert together([late]) == Saved(0, 0, NOW)
    assert together([]) is None


@pytest.mark.parametrize(
    "more",
    [{"since": "soon"}, {"servedBytes": -1}, {"servedPulls": "9"}, {"fetchedBytes": 2**63}, {"fetchedPulls": True}],
)
def test_a_count_that_is_none_is_refused_by_its_field(more: dict[str, Any]) -> None:
    assert Count.read(SAID) == Count(EARLIER, 100, 9, 30, 4)
    with pytest.raises(ValueError, match=next(iter(more))):
        Count.read({**SAID, **more})


def test_the_status_says_it_and_the_same_for_ten_minutes_whatever_comes() -> None:
    first, again = sync(image_cache(), Known(Saved(70, 5, EARLIER)))
    assert first == {"bytes": 70, "pulls": 5, "since": format_time(EARLIER), "at": format_time(NOW)}
    assert 0 < again <= EVERY
    assert validate({**image_cache(), "status": {"saved": first}}) == ()
    assert validate({**image_cache(), "status": {"saved": {**first, "bytes": -1}}})
    parent, more = with_saved(**first), Known(Saved(90, 6, EARLIER))
    soon, later = NOW + timedelta(seconds=EVERY - 1), NOW + timedelta(seconds=EVERY)
    assert sync(parent, more, soon) == (first, 1.0)
    assert not is_due(parent, soon)
    assert is_due(parent, later)
    assert sync(parent, more, later)[0] == {**first, "bytes": 90, "pulls": 6, "at": format_time(later)}
    assert sync(parent, Known(Saved(70, 5, EARLIER)), later)[0] == first, "nothing new is no write"


def test_what_is_not_known_changes_nothing() -> None:
    before = {"bytes": 1, "pulls": 2, "since": format_time(EARLIER), "at": format_time(EARLIER)}
    for doubt in (Unknown(), Absent()):
        assert sync(with_saved(**before), doubt)[0] == before
        assert sync(image_cache(), doubt)[0] is None
    ahead = {**before, "at": format_time(NOW + timedelta(days=900))}
    assert sync(with_saved(**ahead), Known(Saved(3, 3, EARLIER)))[0]["bytes"] == 3, "a clock that was ahead"


def test_the_shields_are_asked_seldom() -> None:
    moments, answers = iter([0.0, ASK_EVERY - 1, ASK_EVERY]), iter([Unknown("one"), Unknown("two")])
    asked = Asked(lambda: next(answers), lambda: next(moments))
    assert [asked(), asked(), asked()] == [Unknown("one"), Unknown("one"), Unknown("two")]


@contextmanager
def shields(*documents: Any) -> Iterator[str]:
    with ExitStack() as stack:
        yield " ".join(stack.enter_context(contextmanager(raw)(document)) for document in documents)


def saved_by(*documents: Any) -> Known[Saved] | Absent | Unknown:
    with shields(*documents) as url:
        observer = Observer(settings_from({}), Shield(url, "token", timeout=5.0))
        return observer.gather(Questions(saved=True), Context(NOW)).saved


def test_the_edge_asks_each_replica_and_knows_nothing_where_one_is_silent() -> None:
    assert saved_by(SAID, SAID) == Known(Saved(140, 10, EARLIER))
    silent: list[Any] = [[], b"", {**SAID, "since": 1}, json.dumps(SAID).encode() + b" " * 5000]
    for bad in silent:
        assert isinstance(saved_by(SAID, bad), Unknown)
    assert Observer(settings_from({})).gather(Questions(saved=True), Context(NOW)).saved == Absent()
