"""What a registry wants to see before it answers: `WWW-Authenticate` (RFC 9110, section 11.6.1), read and nothing else.

Werkzeug reads one challenge; registries send several in one header, quoted or not, so this reads them all.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*\s*(?=,|$)")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"?')
_BARE = re.compile(r'[^\s,"]*')
_GAP = re.compile(r"[\s,]*")
_LONGEST = 8192


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge: `scheme` in lower case, `parameters` with lower-case names."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def realm(self) -> str:
        return self.parameters.get("realm", "")

    @property
    def service(self) -> str:
        return self.parameters.get("service", "")

    @property
    def scope(self) -> str:
        return self.parameters.get("scope", "")


def parse_challenges(header: str | None) -> tuple[Challenge, ...]:
    """Every challenge of a `WWW-Authenticate` header, in its order; what cannot be read is left out."""
    text = (header or "")[:_LONGEST]
    found: list[Challenge] = []
    position = _skip(text, 0)
    while match := _TOKEN.match(text, position):
        word, position = match.group(), match.end()
        equals = _equals(text, position)
        if equals is not None and found:
            value, position = _value(text, equals)
            found[-1].parameters.setdefault(word.lower(), value)
        else:
            found.append(Challenge(word.lower()))
            position = _after_token68(text, position)
        position = _skip(text, position)
    return tuple(found)


def strongest(challenges: Sequence[Challenge]) -> Challenge | None:
    """The challenge to answer: a bearer token where there is a realm to get one from, else a password."""
    bearer = next((one for one in challenges if one.scheme == "bearer" and one.realm), None)
    return bearer or next((one for one in challenges if one.scheme == "basic"), None)


def _skip(text: str, position: int) -> int:
    match = _GAP.match(text, position)
    return match.end() if match else position


def _equals(text: str, position: int) -> int | None:
    rest = text[position:]
    stripped = rest.lstrip()
    return position + len(rest) - len(stripped) + 1 if stripped.startswith("=") else None


def _value(text: str, position: int) -> tuple[str, int]:
    while text[position : position + 1].isspace():
        position += 1
    if quoted := _QUOTED.match(text, position):
        return re.sub(r"\\(.)", r"\1", quoted.group(1)), quoted.end()
    bare = _BARE.match(text, position)
    return (bare.group(), bare.end()) if bare else ("", position)


def _after_token68(text: str, position: int) -> int:
    """Step over `Negotiate abc==`: a scheme with a blob in place of parameters."""
    if not text[position : position + 1].isspace():
        return position
    start = position + 1
    match = _TOKEN68.match(text, start)
    return match.end() if match else position
