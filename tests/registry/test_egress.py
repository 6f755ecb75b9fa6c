"""Which hosts are asked directly although there is an egress proxy."""

import pytest

from registry.egress import bypassed


@pytest.mark.parametrize(
    ("host", "entry", "direct"),
    [
        ("reg.example", "reg.example", True),
        ("reg.example", "example", True),
        ("reg.example", ".example", True),
        ("reg.example", "*.example", True),
        ("reg.example", " REG.example ", True),
        ("notreg.example", "reg.example", False),
        ("reg.example:5000", "reg.example", True),
        ("reg.example:5000", "reg.example:5000", True),
        ("reg.example:5001", "reg.example:5000", False),
        ("reg.example", "reg.example:443", False),
        ("anything:1", "*", True),
        ("10.1.2.3:5000", "10.0.0.0/8", True),
        ("11.1.2.3:5000", "10.0.0.0/8", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("[fd00::1]:5000", "fd00::/8", True),
        ("[fd00::1]:5000", "[fd00::1]", True),
        ("reg.example", "10.0.0.0/8", False),
        ("reg.example", "not/a/network", False),
        ("reg.example", "", False),
    ],
)
def test_the_rules_of_no_proxy(host: str, entry: str, direct: bool) -> None:
    assert bypassed(host, [entry]) is direct
    assert bypassed(host, ["other.invalid", entry]) is direct
    assert not bypassed(host, [])
