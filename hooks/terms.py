"""How an image is kept: for how long, how its tag is followed, for which platforms. What nobody said is None."""

from dataclasses import dataclass

from kube.duration import parse_duration

REFRESH_MODES = ("Ignore", "Warn", "Sync")
"""From the weakest to the strongest."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long an image stays after its last use, such as `30d`, and the rule that says so."""

    duration: str
    rule: str

    @property
    def rank(self) -> tuple[float, str, str]:
        """The lowest wins: the longest, then the first by name."""
        return (-parse_duration(self.duration).total_seconds(), self.rule, self.duration)


@dataclass(frozen=True, slots=True)
class Refresh:
    """What to do when a tag moved upstream, how often to look, such as `1h`, and the rule that says so."""

    mode: str
    interval: str
    rule: str

    @property
    def rank(self) -> tuple[int, float, str, str]:
        """The lowest wins: the strongest mode, then the shortest interval, then the first by name."""
        seconds = parse_duration(self.interval).total_seconds()
        return (-REFRESH_MODES.index(self.mode), seconds, self.rule, self.interval)


@dataclass(frozen=True, slots=True)
class Terms:
    """What rules say of an image that is cached. No platforms (an empty set) are all of the image's."""

    retention: Retention | None = None
    refresh: Refresh | None = None
    platforms: frozenset[str] | None = None
    referrers: bool | None = None
    """Whether signatures and whatever else refers to the image is kept beside it."""

    def under(self, stronger: "Terms") -> "Terms":
        """What is in force where stronger rules say something, and these what those leave unsaid."""
        return Terms(
            stronger.retention or self.retention,
            stronger.refresh or self.refresh,
            self.platforms if stronger.platforms is None else stronger.platforms,
            self.referrers if stronger.referrers is None else stronger.referrers,
        )

    def joined(self, other: "Terms") -> "Terms":
        """What serves the users of both: the longest retention, the strongest refresh, all platforms, referrers."""
        if self == other:
            return self
        retentions = [one for one in (self.retention, other.retention) if one]
        refreshes = [one for one in (self.refresh, other.refresh) if one]
        return Terms(
            min(retentions, key=lambda one: one.rank, default=None),
            min(refreshes, key=lambda one: one.rank, default=None),
            _union(self.platforms, other.platforms),
            self.referrers if other.referrers is None else other.referrers or bool(self.referrers),
        )


def _union(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    if one is None or other is None:
        return other if one is None else one
    return one | other if one and other else frozenset()
