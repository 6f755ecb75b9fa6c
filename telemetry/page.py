"""What the listener answers with."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Page:
    """One answer in whole."""

    status: int
    media_type: str
    body: bytes


Pages = Mapping[str, Callable[[], Page]]
"""What answers each path; called in a thread of the listener, for each request anew."""


def document(status: int, content: Mapping[str, Any]) -> Page:
    """JSON that a person can read."""
    return Page(status, "application/json", (json.dumps(content, indent=2) + "\n").encode())


def text(status: int, message: str) -> Page:
    """One line."""
    return Page(status, "text/plain; charset=utf-8", f"{message}\n".encode())
