"""Label selectors, as Kubernetes reads them: all that they say must hold."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

_OPERATORS: Mapping[str, Callable[[str | None, frozenset[str]], bool]] = {
    "In": lambda value, values: value in values,
    "NotIn": lambda value, values: value not in values,
    "Exists": lambda value, _: value is not None,
    "DoesNotExist": lambda value, _: value is None,
}
OPERATORS = frozenset(_OPERATORS)
WITH_VALUES = frozenset({"In", "NotIn"})


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition; `operator` is one of OPERATORS."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels meets it. NotIn holds also where the label is missing."""
        return _OPERATORS[self.operator](labels.get(self.key), self.values)


@dataclass(frozen=True, slots=True)
class Selector:
    """Conditions on labels; none match everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is selected."""
        return all(one.holds(labels) for one in self.requirements)

    @property
    def keys(self) -> frozenset[str]:
        """The labels that make a difference."""
        return frozenset(one.key for one in self.requirements)
