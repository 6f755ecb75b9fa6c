"""Golden cases: what a stage is asked and what it answers, as files that say their reason."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from hooks.facts import Context, ImageFacts, Known, Proof, Settings, Unknown
from hooks.messages import Resource, Stage, answer
from hooks.stages import STAGES
from kube.types import group_key, metadata, parse_time

CASES = Path(__file__).parent / "cases"


def folders() -> Iterator[Path]:
    """Every case: tests/hooks/cases/<stage>/<case>."""
    yield from sorted(path.parent for path in CASES.glob("*/*/observed.yaml"))


def read(path: Path) -> dict[str, Any]:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


def groups(objects: list[Any], resources: Iterator[Resource] | tuple[Resource, ...]) -> dict[str, dict[str, Any]]:
    """Objects as Metacontroller groups them; every kind that the stage asked for is there, also where it is empty."""
    found: dict[str, dict[str, Any]] = {resource.group: {} for resource in resources}
    for obj in objects:
        meta = metadata(obj)
        key = f"{meta['namespace']}/{meta['name']}" if "namespace" in meta else meta["name"]
        found[group_key(obj["apiVersion"], obj["kind"])][key] = obj
    return found


def request(stage: Stage, parent: Any, children: list[Any], related: list[Any]) -> dict[str, Any]:
    """A sync request in the contract's form."""
    asked = tuple(rule.resource for rule in stage.customize(parent))
    return {
        "controller": {"metadata": {"name": stage.name}},
        stage.style.parent: parent,
        stage.style.children: groups(children, stage.children),
        "related": groups(related, asked),
        "finalizing": False,
    }


def context(observed: Mapping[str, Any]) -> Context:
    """The clock, settings and facts that a case names."""
    now = parse_time(observed["now"])
    assert now is not None
    plain = frozenset(observed.get("settings", {}).get("plainHttp", ()))
    image = facts(observed["facts"]) if "facts" in observed else ImageFacts()
    authority: Known[str] | Unknown = Known(observed["authority"]) if "authority" in observed else Unknown("not read")
    found = Context(now, Settings(plain_http=plain), image=image, authority=authority)
    looked = observed.get("inUse")
    if looked is None:
        return found
    return replace(found, in_use=Known(frozenset(looked["known"])) if "known" in looked else Unknown(looked["unknown"]))


def facts(said: Mapping[str, Any]) -> ImageFacts:
    """What a case has the shield say, in its words; what it leaves out is Unknown."""
    access, upstream = said.get("access"), said.get("upstream")
    secrets = frozenset((pair["namespace"], pair["secret"]) for pair in (access or {}).get("secrets", ()))
    return ImageFacts(
        Known(Proof(access["visibility"], secrets)) if access else Unknown(),
        Known(upstream.get("digest")) if upstream else Unknown(),
    )


def run(folder: Path) -> dict[str, Any]:
    """The stage's answer to a case."""
    observed = read(folder / "observed.yaml")
    stage = STAGES[folder.parent.name]
    parent = observed[stage.style.parent]
    asked = request(stage, parent, observed.get("children") or [], observed.get("related") or [])
    return answer(stage, asked, context(observed))
