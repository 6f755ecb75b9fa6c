"""The CRDs' schemas, from the files that a cluster applies: what is valid, and what a field is when it is left out."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from kube.types import API_VERSION, GROUP, Object, parse_time

_FORMATS = FormatChecker(formats=())


@_FORMATS.checks("date-time")
def _is_time(value: Any) -> bool:
    return not isinstance(value, str) or parse_time(value) is not None


def _no_two_alike(_validator: Any, keys: Sequence[str], instance: Any, _schema: Any) -> Iterator[ValidationError]:
    """What an API server asks of a list of objects that are told apart by some of their fields."""
    seen: set[str] = set()
    for entry in instance if isinstance(instance, list) else ():
        said = ", ".join(f"{key} {entry[key]!r}" for key in keys if isinstance(entry, Mapping) and key in entry)
        if said and said in seen:
            yield ValidationError(f"two entries have the {said}: each needs one of its own")
        seen.add(said)


_Validator: type[Draft202012Validator] = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator, {"x-kubernetes-list-map-keys": _no_two_alike}
)


@dataclass(frozen=True, slots=True)
class SchemaError:
    """One thing that an API server would refuse: the `field`, what is wrong, and what the field is for."""

    field: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" + (f" ({self.hint})" if self.hint else "")


def kinds() -> tuple[str, ...]:
    """The kinds of kuik.dev that have a schema."""
    return tuple(sorted(_schemas()))


def validate(obj: Object) -> tuple[SchemaError, ...]:
    """What is wrong with an object of kuik.dev; empty when an API server would take it (CEL rules apart)."""
    kind = obj.get("kind")
    if obj.get("apiVersion") != API_VERSION:
        return (SchemaError("apiVersion", f"{obj.get('apiVersion')!r} is not {API_VERSION}"),)
    if kind not in _schemas():
        return (SchemaError("kind", f"{kind!r} is not one of {', '.join(kinds())}"),)
    found = _validator(str(kind)).iter_errors(dict(obj))
    return tuple(sorted(map(_error, found), key=lambda error: (error.field, error.message)))


def defaulted(obj: Object) -> dict[str, Any]:
    """A copy of the object with the schema's defaults where it leaves fields out; raises KeyError for other kinds."""
    filled: dict[str, Any] = _filled(obj, _schemas()[str(obj["kind"])])
    return filled


@cache
def _schemas() -> Mapping[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for entry in (files("metacontroller") / "crds").iterdir():
        if not entry.name.endswith(".yaml"):
            continue
        spec = yaml.safe_load(entry.read_text(encoding="utf-8"))["spec"]
        version = next(version for version in spec["versions"] if f"{GROUP}/{version['name']}" == API_VERSION)
        found[spec["names"]["kind"]] = version["schema"]["openAPIV3Schema"]
    return found


@cache
def _validator(kind: str) -> Draft202012Validator:
    return _Validator(_closed(_schemas()[kind], top=True), format_checker=_FORMATS)


def _closed(schema: Any, *, top: bool = False) -> Any:
    """The schema with unknown fields refused, as kubectl's strict validation does: else a typing error is silence."""
    if isinstance(schema, list):
        return [_closed(entry) for entry in schema]
    if not isinstance(schema, Mapping):
        return schema
    closed = {name: _closed(value) for name, value in schema.items() if name not in ("default", "properties")}
    if schema.get("x-kubernetes-list-type") == "set":
        closed["uniqueItems"] = True
    if isinstance(schema.get("pattern"), str):
        closed["pattern"] = re.sub(r"\$$", r"\\Z", schema["pattern"])  # in Python `$` lets a newline follow
    if "description" in closed and isinstance(closed.get("items"), Mapping):
        closed["items"] = {"description": closed["description"], **closed["items"]}  # for errors in one of them
    properties = schema.get("properties")
    if isinstance(properties, Mapping):
        closed["properties"] = {name: _closed(value) for name, value in properties.items()}
        closed.setdefault("additionalProperties", False)
    if top:
        named = closed["properties"]["metadata"].get("properties", {})
        closed["properties"]["metadata"] = {**_METADATA, "properties": {**_METADATA["properties"], **named}}
    return closed


_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"^{_LABEL}(\.{_LABEL})*\Z"
_METADATA: dict[str, Any] = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "maxLength": 253, "pattern": _SUBDOMAIN},
        "labels": {"type": "object", "additionalProperties": {"type": "string", "maxLength": 63}},
        "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}


def _error(error: ValidationError) -> SchemaError:
    field = ".".join(str(step) for step in error.absolute_path) or "the object"
    hint = error.schema.get("description", "") if isinstance(error.schema, Mapping) else ""
    return SchemaError(field, _words(error)[:400], hint)


def _words(error: ValidationError) -> str:
    if error.validator == "additionalProperties" and isinstance(error.instance, Mapping):
        known = error.schema.get("properties", {}) if isinstance(error.schema, Mapping) else {}
        unknown = sorted(set(error.instance) - set(known))
        return f"unknown field {', '.join(unknown)}; known are {', '.join(sorted(known))}"
    return error.message.replace("is a required property", "is missing")


def _filled(value: Any, schema: Mapping[str, Any]) -> Any:
    if isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        return [_filled(entry, schema["items"]) for entry in value]
    if not isinstance(value, Mapping):
        return value
    return dict(_fields(value, schema.get("properties") or {}))


def _fields(value: Mapping[str, Any], properties: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, entry in value.items():
        yield name, _filled(entry, properties[name]) if name in properties else entry
    for name, schema in properties.items():
        if name not in value and "default" in schema:
            yield name, _filled(schema["default"], schema)
