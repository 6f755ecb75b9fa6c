"""The plan in words: for a terminal, and as a comment on a pull request."""

from collections.abc import Iterator, Mapping

from rich.filesize import decimal

from hooks.quotas import Account
from kube.quantity import format_bytes
from kuik.plan.difference import (
    CACHE,
    EXPIRE,
    HOLD,
    LEAVE,
    REMOVE,
    TERMS,
    USE,
    ImageChange,
    Plan,
    PrefetchChange,
    QuotaChange,
    WorkloadChange,
    is_over,
)
from kuik.plan.room import Prefetch

_MARKS = {CACHE: "+", USE: "+", TERMS: "~", HOLD: "!", EXPIRE: "-", LEAVE: "-", REMOVE: "-"}
_NAMED = 5
_MOST = 200
"""Rows of a table in a comment: GitHub takes 65,536 characters."""
_LONGEST = 60_000


def as_text(plan: Plan) -> str:
    """For people at a terminal."""
    lines = [*_policy_lines(plan)]
    if plan.images:
        lines += ["", "images:"]
        lines += [f"  {_MARKS[one.action]} {one.image}  {_what(one)}" for one in plan.images]
    if plan.workloads:
        lines += ["", "workloads, when their pods are made the next time:"]
        lines += [f"  {_mark(one)} {_where(one)}: {one.container.image}  {_becomes(one)}" for one in plan.workloads]
    if plan.prefetches:
        lines += ["", "ahead of need:"]
        lines += [f"  {_sign(one)} {one.prefetch.origin}: {_pulls(one)}" for one in plan.prefetches]
    if plan.quotas:
        lines += ["", "quotas:"]
        lines += [f"  {_sign(one)} {one.namespace}: {_may(one)}" for one in plan.quotas]
    return "\n".join([*lines, "", summary(plan)]) + "\n"


def as_markdown(plan: Plan) -> str:
    """For a comment: what comes of it first, the tables after it; cut where a comment would be too long."""
    lines = ["### What this change of policies does", "", summary(plan), ""]
    named = [*_policy_lines(plan)]
    lines += [f"- {line}" for line in named] + ([""] if named else [])
    if plan.images:
        rows = (f"| {one.action} | {_code(one.image)} | {_cell(_what(one))} |" for one in plan.images)
        lines += [*_table("images", len(plan.images), "| | image | what becomes of it |", rows)]
    if plan.workloads:
        rows = (
            f"| {_code(_where(one))} | {_code(one.container.image)} | {_cell(_becomes(one))} |"
            for one in plan.workloads
        )
        head = "| workload | image | when its pods are made the next time |"
        lines += [*_table("containers", len(plan.workloads), head, rows)]
    if plan.prefetches:
        rows = (f"| {_code(one.prefetch.origin)} | {_cell(_pulls(one))} |" for one in plan.prefetches)
        lines += [*_table("rules ahead of need", len(plan.prefetches), "| rule | what is pulled onto nodes |", rows)]
    if plan.quotas:
        rows = (f"| {_code(one.namespace)} | {_cell(_may(one))} |" for one in plan.quotas)
        lines += [*_table("quotas", len(plan.quotas), "| namespace | what it may have |", rows)]
    text = "\n".join(lines) + "\n"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST].rpartition(chr(10))[0]}\n\n</details>\n\n… cut short\n"


def summary(plan: Plan) -> str:
    """The whole in a sentence."""
    if not plan.changes:
        return f"Nothing changes: {plan.images_as_they_are} images and {plan.containers_as_they_are} containers stay."
    counts = plan.counts
    parts = [
        f"{counts[CACHE]} to cache",
        *([f"{counts[HOLD]} not to be copied"] if counts[HOLD] else ()),
        f"{counts[EXPIRE]} to expire ({decimal(plan.bytes(EXPIRE))})",
        *([f"{counts[LEAVE]} to leave for want of room ({decimal(plan.bytes(LEAVE))})"] if counts[LEAVE] else ()),
        *([f"{counts[REMOVE]} to go at once ({decimal(plan.bytes(REMOVE))})"] if counts[REMOVE] else ()),
        *([f"{counts[USE]} used again"] if counts[USE] else ()),
        f"{counts[TERMS]} to keep otherwise",
        f"{plan.images_as_they_are} as they are",
    ]
    containers = (
        f"{counts['rewritten']} to be rewritten, {counts['leftAlone']} to be left alone, "
        f"{plan.containers_as_they_are} as they are"
    )
    others = [
        *([f"Rules ahead of need: {len(plan.prefetches)} differ."] if plan.prefetches else ()),
        *([f"Quotas: {len(plan.quotas)} namespaces differ."] if plan.quotas else ()),
    ]
    return " ".join([f"Images: {', '.join(parts)}. Containers: {containers}.", *others])


def _policy_lines(plan: Plan) -> Iterator[str]:
    change = plan.policies
    for word, names in (("added", change.added), ("removed", change.removed), ("changed", change.changed)):
        if names:
            yield f"{word}: {', '.join(names)}"
    if change.passed_over:
        yield f"not planned, as they are no policies: {', '.join(change.passed_over)}"


def _what(one: ImageChange) -> str:
    size = f" {decimal(one.bytes)}" if one.bytes is not None else ""
    after = {"retention": "", "hold": "not copied", "leaves": "", **one.after}
    said = {
        CACHE: "is cached",
        HOLD: f"is {after['hold']}",
        LEAVE: f"leaves before its retention is over{size}, as {after['leaves']}",
        REMOVE: f"goes at once{size}",
        EXPIRE: f"expires after {after['retention']}{size}",
        USE: f"is used again{size}",
        TERMS: ", ".join(_terms(one)),
    }
    return f"{said[one.action]}{_by(one.after)}"


def _terms(one: ImageChange) -> Iterator[str]:
    for name in ("retention", "refresh", "platforms", "referrers"):
        if one.before.get(name) != one.after.get(name):
            yield f"{name} {one.before.get(name, '-')} -> {one.after.get(name, '-')}"


def _sign(one: PrefetchChange | QuotaChange) -> str:
    return "+" if one.before is None else "-" if one.after is None else "~"


def _pulls(one: PrefetchChange) -> str:
    if one.after is None:
        return "is not pulled onto nodes any more; what is there stays until kubelet wants the room"
    return f"{_onto(one.after)}{'' if one.before is None else f'; before: {_onto(one.before)}'}"


def _onto(one: Prefetch) -> str:
    named = ", ".join(one.images[:_NAMED]) + (f" and {len(one.images) - _NAMED} more" if one.images[_NAMED:] else "")
    fits = ", ".join(f"{name}={value}" for name, value in one.selector.items()) or "every Linux node"
    now = "" if one.nodes is None else f" ({one.nodes} now)"
    size = "" if one.bytes is None else f", {decimal(one.bytes)} each"
    return f"{named} onto {fits}{now}{size}, {one.parallel} at once, every {one.every}"


def _may(one: QuotaChange) -> str:
    if one.after is None:
        return f"may have any amount, {format_bytes(one.before.most)} before" if one.before else ""
    before = f", {format_bytes(one.before.most)} before" if one.before and one.before.most != one.after.most else ""
    return f"has {format_bytes(one.after.used)} of {format_bytes(one.after.most)}{before}{_over(one.after)}"


def _over(account: Account) -> str:
    if not is_over(account):
        return ""
    return ": new images that it alone uses are not copied, unused ones leave 15 minutes after their last use"


def _by(said: Mapping[str, str]) -> str:
    return f" ({said['rules']})" if said.get("rules") else ""


def _where(one: WorkloadChange) -> str:
    return f"{one.container.workload} {one.container.name}"


def _mark(one: WorkloadChange) -> str:
    return "+" if one.after and one.after.rewritten else "-"


def _becomes(one: WorkloadChange) -> str:
    if one.after is None:
        return "is not there any more"
    if one.after.rewritten:
        return "is rewritten" + (f", left alone before by {one.before.why}" if one.before and one.before.why else "")
    return f"is left alone by {one.after.why}: {one.after.message}"


def _table(name: str, count: int, head: str, rows: Iterator[str]) -> Iterator[str]:
    yield from (f"<details><summary>{count} {name}</summary>", "", head, "|" + "---|" * (head.count("|") - 1))
    for number, row in enumerate(rows):
        if number == _MOST:
            yield from ("", f"… and {count - _MOST} more")
            break
        yield row
    yield from ("", "</details>", "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _code(text: str) -> str:
    return f"`{_cell(text).replace('`', chr(39))}`"
