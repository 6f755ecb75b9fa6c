"""`spec.registries`: read into values, and refused by field."""

from pathlib import Path
from typing import Any

import pytest

from registry.hosts import HostSettings, host_settings
from registry.reference import Reference
from registry.settings import InvalidSettings, Mirror, Registries, RegistrySettings, read_registries

PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


def test_nothing_is_said_of_no_registry() -> None:
    assert read_registries([]).of("ghcr.io") == RegistrySettings()


def test_everything_is_read() -> None:
    mirror = {"host": "harbor.example:8443", "prefix": "hub", "timeoutSeconds": 5}
    egress = {"url": "http://proxy.example:3128/", "noProxy": ["10.0.0.0/8"]}
    entry = {"host": "docker.io", "ca": PEM, "mirrors": [mirror, {"host": "other.example"}], "egressProxy": egress}
    found = read_registries([{**entry, "limits": {"transfers": 4, "requests": 8}}]).of("docker.io")
    assert found == RegistrySettings(
        HostSettings(ca=PEM, egress="http://proxy.example:3128", direct=("10.0.0.0/8",)),
        (Mirror("docker.io", "harbor.example:8443", "hub", 5), Mirror("docker.io", "other.example")),
        4,
        8,
    )
    assert Path(str(found.host.trust)).read_text() == PEM


def test_a_mirror_s_names_map_to_the_registry_s_and_back() -> None:
    image = Reference.parse("nginx:1.25")
    for mirror in (Mirror("docker.io", "m.example", "a/b"), Mirror("docker.io", "m.example")):
        assert mirror.original(mirror.place(image)) == image
    assert str(Mirror("docker.io", "m.example", "a/b").place(image)) == "m.example/a/b/library/nginx:1.25"


def test_the_entry_for_every_other_registry_leaves_those_that_have_one() -> None:
    every = {"host": "*", "egressProxy": {"url": "http://proxy.example:3128"}}
    found = read_registries([every, {"host": "own.example", "plainHTTP": True}])
    hosts = found.hosts(host_settings(["plain.example"]))
    assert hosts("own.example") == HostSettings(plain_http=True)
    assert hosts("plain.example") == HostSettings(plain_http=True, egress="http://proxy.example:3128")
    assert hosts("ghcr.io").egress == "http://proxy.example:3128"
    assert Registries().hosts(host_settings(["plain.example"]))("plain.example").plain_http


@pytest.mark.parametrize(
    ("entry", "field", "word"),
    [
        (None, "registries[1]", "object"),
        ({}, "registries[1].host", "ghcr.io"),
        ({"host": "https://reg.example"}, "registries[1].host", "ghcr.io"),
        ({"host": "Reg.example"}, "registries[1].host", "ghcr.io"),
        ({"host": "[fd00::1]:5000"}, "registries[1].host", "ghcr.io"),
        ({"host": "index.docker.io"}, "registries[1].host", "write docker.io"),
        ({"host": "registry-1.docker.io"}, "registries[1].host", "write docker.io"),
        ({"host": "first.example"}, "registries[1].host", "already"),
        ({"host": "a.example", "plainHTTP": True, "ca": PEM}, "registries[1].ca", "without TLS"),
        ({"host": "*", "plainHTTP": True}, "registries[1].plainHTTP", "name the registry"),
        ({"host": "a.example", "ca": "/etc/ssl/ca.pem"}, "registries[1].ca", "BEGIN CERTIFICATE"),
        ({"host": "a.example", "ca": PEM + "-----BEGIN PRIVATE KEY-----"}, "registries[1].ca", "private key"),
        ({"host": "*", "mirrors": [{"host": "m.example"}]}, "registries[1].mirrors[0]", "name the registry"),
        ({"host": "a.example", "mirrors": [{"host": "a.example"}]}, "registries[1].mirrors[0].host", "another host"),
        ({"host": "a.example", "mirrors": [None]}, "registries[1].mirrors[0]", "object"),
        (
            {"host": "a.example", "mirrors": [{"host": "m.example", "prefix": "A//b"}]},
            "registries[1].mirrors[0].prefix",
            "",
        ),
        (
            {"host": "a.example", "egressProxy": {"url": "http://user:secret@p.example:1"}},
            "registries[1].egressProxy.url",
            "without user",
        ),
        ({"host": "a.example", "egressProxy": {"url": "socks5://p.example"}}, "registries[1].egressProxy.url", "http"),
    ],
)
def test_what_is_wrong_is_named_and_no_secret_is_told(entry: Any, field: str, word: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        read_registries([{"host": "first.example"}, entry])
    assert str(refused.value).startswith(f"{field}: ")
    assert word in str(refused.value)
    assert "secret" not in str(refused.value)
