"""What an ImageCache tells the shield, as plain values."""

from dataclasses import dataclass, field

from kube.duration import parse_duration
from kube.types import Object, part
from proxy.shield.freshness import DEFAULT_FRESHNESS
from registry.settings import InvalidSettings, Registries, read_registries


@dataclass(frozen=True, slots=True)
class Settings:
    """`freshness` is how many seconds a tag is told without asking upstream; `registries` are how they are asked."""

    freshness: float = DEFAULT_FRESHNESS
    registries: Registries = field(default_factory=Registries)


def read_settings(image_cache: Object) -> Settings:
    """The settings in an ImageCache; raises InvalidSettings, whose message names the field."""
    spec = part(image_cache, "spec")
    registries = spec.get("registries") or []
    if not isinstance(registries, list):
        raise InvalidSettings("spec.registries: is not a list")
    try:
        found = read_registries(registries)
    except InvalidSettings as error:
        raise InvalidSettings(f"spec.{error}") from error
    if "freshness" not in spec:
        return Settings(registries=found)
    try:
        return Settings(parse_duration(str(spec["freshness"])).total_seconds(), found)
    except ValueError as error:
        raise InvalidSettings(f"spec.freshness: {error}") from error
