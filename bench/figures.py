"""What benchmarks find out, and the arithmetic on it; nothing here measures."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, median
from typing import Any

LESS = "less"
MORE = "more"


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that was measured, a value for each round: ours, and the peer's where there is one.

    `better` says which way is better: LESS or MORE.
    """

    what: str
    unit: str
    ours: tuple[float, ...]
    peer: tuple[float, ...] = ()
    better: str = LESS

    @property
    def ratio(self) -> float | None:
        """Ours to the peer's, by their medians; None where there is no peer or nothing to divide by."""
        return _ratio(median(self.ours), median(self.peer)) if self.peer else None

    @property
    def spread(self) -> tuple[float, float] | None:
        """The lowest and the highest ratio of a round: how far to trust the ratio."""
        ratios = [_ratio(mine, other) for mine, other in zip(self.ours, self.peer, strict=False)]
        known = [ratio for ratio in ratios if ratio is not None]
        return (min(known), max(known)) if known else None

    def document(self) -> dict[str, Any]:
        """For machines: the medians, the ratio with its spread, and every round."""
        return {
            "what": self.what,
            "unit": self.unit,
            "better": self.better,
            "ours": median(self.ours),
            "peer": median(self.peer) if self.peer else None,
            "ratio": self.ratio,
            "spread": self.spread,
            "rounds": {"ours": self.ours, "peer": self.peer},
        }


@dataclass(frozen=True, slots=True)
class Result:
    """One benchmark's figures. `peer` says beside whom; `missing` names programs that are not on this machine."""

    title: str
    peer: str
    figures: tuple[Figure, ...] = ()
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self) | {"figures": [figure.document() for figure in self.figures]}


def _ratio(ours: float, peer: float) -> float | None:
    return ours / peer if peer else None


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of all values do not exceed."""
    return sorted(values)[max(math.ceil(share * len(values)), 1) - 1]


def growth(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The exponent of a power law through the points: 1 where values grow as sizes do, 2 where as their square.

    A least-squares line through the logarithms; needs two different sizes.
    """
    across, up = [math.log(size) for size in sizes], [math.log(value) for value in values]
    middle, height = fmean(across), fmean(up)
    covariance = sum((x - middle) * (y - height) for x, y in zip(across, up, strict=True))
    return covariance / sum((x - middle) ** 2 for x in across)
