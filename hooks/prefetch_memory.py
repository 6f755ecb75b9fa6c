"""What an ImagePrefetch remembers of its nodes in its status, since their pods leave when they are done."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hooks.conditions import sentence
from kube.types import Object, entries, format_time, parse_time, part, texts

_FIRST_BACKOFF = 60.0  # seconds
_MAX_BACKOFF = 3600.0
_TOGETHER = timedelta(minutes=10)
"""Nodes that are done within it share their time, so that a thousand of them stay a short list."""


@dataclass(frozen=True, slots=True)
class Done:
    """A node that has all images of a work."""

    work: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Retry:
    """A node where some images did not come."""

    work: str
    at: datetime
    attempts: int
    pulled: int
    message: str

    @property
    def due(self) -> datetime:
        """When it is tried again."""
        return self.at + timedelta(seconds=min(_MAX_BACKOFF, _FIRST_BACKOFF * 2 ** min(self.attempts - 1, 10)))


@dataclass(slots=True)
class Memory:
    """By node. A node is in one of the two for what happened last."""

    done: dict[str, Done] = field(default_factory=dict)
    retries: dict[str, Retry] = field(default_factory=dict)

    @classmethod
    def read(cls, parent: Object, nodes: Iterable[str]) -> "Memory":
        """What the status says of these nodes; what cannot be read was never done."""
        found, wanted, status = cls(), frozenset(nodes), part(parent, "status")
        for entry in entries(status, "done"):
            at = parse_time(entry.get("at"))
            if at is not None:
                done = Done(str(entry.get("work")), at)
                found.done |= {name: done for name in texts(entry, "nodes") if name in wanted}
        for entry in entries(status, "retries"):
            at, name, attempts, pulled = (entry.get(one) for one in ("at", "node", "attempts", "pulled"))
            moment = parse_time(at)
            if moment is not None and name in wanted and isinstance(attempts, int):
                count = pulled if isinstance(pulled, int) else 0
                found.retries[name] = Retry(
                    str(entry.get("work")), moment, attempts, count, str(entry.get("message", ""))
                )
        return found

    def finished(self, node: str, work: str, began: datetime, now: datetime) -> None:
        """The node has everything. It shares the time of another that was done a moment ago, after it began."""
        times = [one.at for one in self.done.values() if one.work == work and one.at >= began]
        near = [at for at in times if now - _TOGETHER <= at <= now]
        self.done[node] = Done(work, max(near, default=now))
        self.retries.pop(node, None)

    def failed(self, node: str, work: str, now: datetime, pulled: int, message: str) -> None:
        """Some images did not come."""
        before = self.retries.get(node)
        attempts = before.attempts + 1 if before is not None and before.work == work else 1
        self.retries[node] = Retry(work, now, attempts, pulled, sentence(message))

    def written(self) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """The two fields of the status."""
        groups: dict[tuple[str, datetime], list[str]] = {}
        for name, one in sorted(self.done.items()):
            groups.setdefault((one.work, one.at), []).append(name)
        done = [{"work": work, "at": format_time(at), "nodes": groups[work, at]} for work, at in sorted(groups)]
        return {"done": done, "retries": [_retry(name, self.retries[name]) for name in sorted(self.retries)]}


def _retry(name: str, one: Retry) -> Mapping[str, Any]:
    said = {"node": name, "work": one.work, "at": format_time(one.at), "attempts": one.attempts}
    return {**said, "pulled": one.pulled, "message": one.message}
