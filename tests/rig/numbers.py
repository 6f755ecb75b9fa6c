"""Metrics as a scrape sees them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True)
class Numbers:
    """Every sample of one scrape."""

    samples: tuple[tuple[str, Mapping[str, str], float], ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        families = text_string_to_metric_families(text)
        return cls(tuple((one.name, one.labels, one.value) for family in families for one in family.samples))

    def total(self, name: str, **labels: str) -> float:
        """The sum of all samples of this name that have these labels; 0 without one."""
        return sum(value for found, has, value in self.samples if found == name and labels.items() <= dict(has).items())

    def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """The sums by the values of one label."""
        values = {dict(has)[label] for found, has, _ in self.samples if found == name and label in has}
        sums = {value: self.total(name, **{label: value}, **labels) for value in values}
        return {value: amount for value, amount in sums.items() if amount}
