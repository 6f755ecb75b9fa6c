"""Amounts of bytes as the CRDs have them: a whole number and, where wanted, one of Kubernetes' suffixes."""

import re
from functools import lru_cache

_QUANTITY = re.compile(r"(\d{1,18})(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?")
_POWERS = "kMGTP"


@lru_cache(maxsize=1024)
def parse_quantity(text: str) -> int:
    """Read `500Gi`, `20G` or `1048576` as bytes; raises ValueError."""
    match = _QUANTITY.fullmatch(text.strip())
    if not match:
        raise ValueError(f"quantity {text!r}: write a number and one of Ki, Mi, Gi, Ti, Pi, for example 500Gi")
    suffix = match[2] or ""
    base = 1024 if suffix.endswith("i") else 1000
    power = _POWERS.index("k" if suffix[0] == "K" else suffix[0]) + 1 if suffix else 0
    return int(match[1]) * int(base**power)


def format_bytes(count: float) -> str:
    """For people: `93.1 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(count) < 1024 or unit == "TiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError
