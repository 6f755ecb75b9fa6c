"""The next page of a list, by the path that the client asked by (distribution-spec, "Listing Tags"; RFC 8288)."""

from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

_ASKED = ("n", "last")


def next_page(asked: Mapping[str, str], last: str) -> str:
    """The Link to what comes after `last`, for who can tell its own path."""
    return _link("", {**{name: asked[name] for name in ("n",) if name in asked}, "last": last})


def rewritten(links: str, path: str, ns: str | None) -> str:
    """A source's Link as the client can follow it: below the `path` that it asked by, with its `ns`.

    Sources know the repository by another path. Empty where there is no next page, or one that only they understand.
    """
    for link in links.split(","):
        target, _, rest = link.partition(">")
        query = dict(_wanted(parse_qsl(urlsplit(target.partition("<")[2]).query)))
        if _is_next(rest) and "last" in query:
            return _link(path, query | ({"ns": ns} if ns else {}))
    return ""


def _wanted(query: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    return ((name, value) for name, value in query if name in _ASKED)


def _is_next(parameters: str) -> bool:
    named = (one.strip().partition("=") for one in parameters.split(";"))
    return any(name.strip().lower() == "rel" and "next" in value.strip(' "').split() for name, _, value in named)


def _link(path: str, query: Mapping[str, str]) -> str:
    return f'<{quote(path)}?{urlencode(query)}>; rel="next"'
