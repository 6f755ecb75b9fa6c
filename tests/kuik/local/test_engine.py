"""Local mode's engine on a store that cannot be written, or is out of reach."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hooks.facts import Context, Gather
from hooks.messages import Stage, answer
from kuik.copy_job import Order
from kuik.local.engine import Copying, Engine
from kuik.local.feed import Feed
from kuik.local.store import Store
from kuik.local.story import LineStory
from kuik.local.wishes import Wishes
from registry.copy import Progress
from registry.digest import Digest
from tests.rig.manifests import deployment

DIGEST = str(Digest.of(b"an image"))


def copied(_order: Order, _progress: Progress) -> Mapping[str, Any]:
    return {"digest": DIGEST, "size": 1, "platforms": []}


def started(store: Path, *, retention: str = "30d") -> Engine:
    wishes = Wishes(retention=retention, plain_http=frozenset({"127.0.0.1:5000"}))
    return Engine(Store(store), wishes, LineStory(Console(stderr=True)), Feed(), Copying(copied, lambda: None))


def run(engine: Engine) -> None:
    engine.step()
    while engine.copying:
        engine.woken.wait(5)
        engine.step()


def phases(engine: Engine) -> dict[str, str]:
    return {obj["spec"]["image"]: obj["status"]["phase"] for obj in engine.cached_images()}


def test_a_store_that_takes_no_writes_ends_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    engine = started(tmp_path)
    engine.manifests([deployment("web", "r.io/web:1")])
    blocked = tmp_path / "state" / "cachedimages"
    blocked.parent.mkdir(exist_ok=True)
    blocked.write_text("in the way")
    run(engine)
    run(engine)
    assert phases(engine) == {"r.io/web:1": "Cached"}
    assert capfd.readouterr().err.count("cannot be written") == 1
    blocked.unlink()
    run(engine)
    assert [obj["spec"]["image"] for obj in Store(tmp_path).state.load()] == ["r.io/web:1"]


def test_what_could_not_be_taken_away_is_taken_away_later(tmp_path: Path) -> None:
    engine = started(tmp_path, retention="0s")
    engine.manifests([deployment("web", "r.io/web:1")])
    run(engine)
    index = tmp_path / "index.json"
    aside = index.rename(tmp_path / ".lock-aside")
    engine.manifests([])
    run(engine)
    assert len(list((tmp_path / "state" / "cachedimages").iterdir())) == 1
    aside.rename(index)
    run(engine)
    assert list((tmp_path / "state" / "cachedimages").iterdir()) == []


def test_a_store_out_of_reach_forgets_no_image(tmp_path: Path) -> None:
    engine = started(tmp_path)
    engine.manifests([deployment("web", "r.io/web:1")])
    run(engine)
    engine.manifests([])
    run(engine)
    away = (tmp_path / "state").rename(tmp_path / "spool")
    run(engine)
    assert list(phases(engine)) == ["r.io/web:1"]
    away.rename(tmp_path / "state")
    run(engine)
    assert [obj["spec"]["image"] for obj in Store(tmp_path).state.load()] == ["r.io/web:1"]


def test_a_stage_that_fails_for_one_image_ends_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = started(tmp_path)
    engine.manifests([deployment("bad", "r.io/bad:1"), deployment("web", "r.io/web:1")])

    def odd(stage: Stage, request: Mapping[str, Any], context: Context, gather: Gather) -> Mapping[str, Any]:
        if stage.name == "cachedimage" and request["parent"]["spec"]["image"] == "r.io/bad:1":
            raise ValueError("no number")
        return answer(stage, request, context, gather)

    monkeypatch.setattr("kuik.local.hooks.answer", odd)
    run(engine)
    run(engine)
    found = {obj["spec"]["image"]: (obj.get("status") or {}).get("phase") for obj in engine.cached_images()}
    assert found == {"r.io/bad:1": None, "r.io/web:1": "Cached"}
    assert capfd.readouterr().err.count("no number") == 1
