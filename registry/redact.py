"""Text from outside made fit for messages: short, on one line, and without anything secret."""

import re

_URL = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*://)(?:[^\s/?#\"'<>]*@)?(?P<rest>[^\s?#\"'<>]*)(?:[?#][^\s\"'<>]*)?", re.IGNORECASE
)
_AUTH = re.compile(r"\b(?P<scheme>basic|bearer)\s+[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
_PAIR = re.compile(
    r"\b(?P<name>[a-z_-]*(?:token|password|secret|signature|credential))[\"']?\s*[=:]\s*[\"']?[^\s\"'&,;]+",
    re.IGNORECASE,
)
_SPACE = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")
LONGEST = 200


def redact(text: str, longest: int = LONGEST) -> str:
    """`text` on one line of at most `longest` characters; URLs lose user and query, and secrets are masked."""
    text = _SPACE.sub(" ", text[: longest * 20]).strip()
    text = _URL.sub(lambda match: match["scheme"] + match["rest"], text)
    text = _AUTH.sub(lambda match: match["scheme"] + " …", text)
    text = _PAIR.sub(lambda match: match["name"] + "=…", text)
    return text if len(text) <= longest else text[: longest - 1] + "…"
