"""What proxy and shield are told in the same way on their command lines."""

import os
from pathlib import Path

from registry.transport import Timeouts

TIMEOUTS = Timeouts(connect=1.5, read=30.0)
"""A source that is silent costs this much, once: others are waiting to be asked."""
TOKEN_VARIABLE = "KUIK_TOKEN"  # noqa: S105  the variable's name

_UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}


def read_token(file: Path | None) -> str:
    """The token that kuik's components share, from a file or the environment; empty where there is none."""
    return file.read_text().strip() if file else os.environ.get(TOKEN_VARIABLE, "")


def quantity(text: str) -> int:
    """Bytes of a quantity such as `512Mi`; raises ValueError."""
    number, unit = (text[:-2], text[-2:]) if text[-2:] in _UNITS else (text, "")
    if not number.isdecimal():
        raise ValueError(f"{text!r} is not a number of bytes: write it as 512Mi or 20Gi")
    return int(number) * _UNITS.get(unit, 1)
