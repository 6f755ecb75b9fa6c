"""YAML and JSON texts as Kubernetes' own tools read and write them."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import yaml

MAX_DEPTH = 100
MAX_VALUES = 1_000_000
"""Values in one object, counted after YAML's aliases are followed."""

_INTEGERS = range(-(2**63), 2**64)
_TEXT = "tag:yaml.org,2002:str"
_LEFT_AS_TEXT = frozenset({"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value"})
_READ_OTHERWISE = re.compile(
    r"[yYnN]|[-+]?(\.[0-9_]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9_]+)?|[-+]?0[oObBxX][0-9a-fA-F_]+"
)
"""Text that Kubernetes' reader (YAML 1.1 and 1.2 at once) takes for a number or a truth value, unless it is quoted."""


class ManifestError(ValueError):
    """A file cannot be read as Kubernetes manifests; the message names the file, the place and what is wrong."""


def documents(text: str, origin: str) -> Iterator[Any]:
    """The documents in a YAML or JSON text, whatever they are; raises ManifestError."""
    text = text.removeprefix("\ufeff")
    try:
        found = _json(text)
        yield from yaml.load_all(text, Loader=_Loader) if found is None else found
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f": line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not valid YAML"
        advice = "; {{ }} is a template's: render it first, as `helm template` does" if "{{" in text else ""
        raise ManifestError(f"{origin}{place}: {problem}{advice}") from error
    except RecursionError as error:
        raise ManifestError(f"{origin}: nested too deeply") from error
    except ValueError as error:  # a number that YAML's grammar takes and Python does not
        raise ManifestError(f"{origin}: {str(error)[:100]}") from error


def written(found: Iterable[Any]) -> str:
    """Documents as YAML that every reader takes for the same values, also those that see a number in `1e3`."""
    return yaml.dump_all(found, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)


def plain(document: Any, origin: str) -> Any:
    """A document as the JSON that kubectl would send: keys are text, and what is null is not there.

    Raises ManifestError for what is nested too deeply or becomes very large when YAML's aliases are followed.
    """
    _check_size(document, origin)
    return _plain(document)


def _json(text: str) -> list[Any] | None:
    """The documents of a JSON text, one after another as `kubectl get -o json` writes them; None for other texts."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        try:
            document, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError:
            return None  # YAML's flow style, or documents with --- between them
        found.append(document)
    return found


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A safe loader, in C where there is one, that keeps times and a lone `=` as text, as Kubernetes' own does."""


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """A safe dumper, in C where there is one, that quotes what would be read as something else."""


def _quoted(dumper: Any, text: str) -> Any:
    style = "|" if "\n" in text else "'" if _READ_OTHERWISE.fullmatch(text) else None
    return dumper.represent_scalar(_TEXT, text, style=style)


_Dumper.add_representer(str, _quoted)
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _LEFT_AS_TEXT]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _check_size(document: Any, origin: str) -> None:
    values = 0
    level = [document]
    for _ in range(MAX_DEPTH):
        values += len(level)
        if values > MAX_VALUES:
            raise ManifestError(f"{origin}: more than {MAX_VALUES} values in one object")
        level = [inner for value in level for inner in _inner(value)]
        if not level:
            return
    raise ManifestError(f"{origin}: nested more than {MAX_DEPTH} levels deep")


def _inner(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {_key(key): _plain(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()  # half a surrogate pair, which JSON's escapes can write
    if isinstance(value, int) and value not in _INTEGERS:
        return str(value)
    return value if isinstance(value, bool | int | float | None) else str(value)


def _key(key: Any) -> str:
    return {True: "true", False: "false"}[key] if isinstance(key, bool) else str(_plain(key))
