"""Where names lead while the cluster's DNS is up, silent, wrong, or has never been heard."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from proxy.dns import NotTold
from proxy.names import Inside, Names

SHIELD = "kuik-shield-0.kuik-system.svc"
FULL = f"{SHIELD}.cluster.local"
TOLD = {"KUIK_SHIELD_0_SERVICE_HOST": "10.96.0.40", "KUIK_REGISTRY_0_SERVICE_HOST": "not an address"}


@dataclass
class DNS:
    """The cluster's DNS as a test wants it, and what it was asked."""

    known: dict[str, tuple[str, ...]] = field(default_factory=dict)
    silent: bool = False
    asked: list[str] = field(default_factory=list)

    def __call__(self, name: str) -> tuple[str, ...]:
        self.asked.append(name)
        if self.silent:
            raise NotTold("silence")
        return self.known.get(name, ())


@dataclass
class Node:
    """The node's resolver likewise."""

    known: dict[str, list[str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def __call__(self, name: str) -> Sequence[str]:
        self.asked.append(name)
        if name not in self.known:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return self.known[name]


class Clock:
    """Says what a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def dns() -> DNS:
    return DNS()


@pytest.fixture
def node() -> Node:
    return Node({"registry.example": ["192.0.2.1", "2001:db8::1"]})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def names(dns: DNS, node: Node, clock: Clock) -> Names:
    inside = Inside("cluster.local", "kuik-system", TOLD)
    return Names(inside, dns, [SHIELD], node, clock)


def test_what_is_outside_is_found_as_the_node_finds_it(names: Names, dns: DNS, node: Node) -> None:
    dns.known["registry.example"] = ("10.96.0.99",)
    dns.silent = True
    assert names("registry.example") == ["192.0.2.1", "2001:db8::1"]
    assert (dns.asked, node.asked) == ([], ["registry.example"])


@pytest.mark.parametrize("address", ["10.96.0.40", "::1", "fe80::1%eth0"])
def test_an_address_is_one(names: Names, dns: DNS, node: Node, address: str) -> None:
    assert names(address) == (address,)
    assert (dns.asked, node.asked) == ([], [])


def test_a_cold_start_while_dns_is_down_goes_by_what_kubelet_told_and_waits_for_nobody(
    names: Names, dns: DNS, node: Node
) -> None:
    dns.silent = True
    assert names(SHIELD) == ("10.96.0.40",)
    assert dns.asked == []
    names.refresh()
    assert names(SHIELD) == ("10.96.0.40",)
    assert names(f"{FULL}.") == ("10.96.0.40",)
    assert node.asked == []


def test_what_dns_says_counts_more_than_what_kubelet_told_and_stays_while_dns_is_silent(names: Names, dns: DNS) -> None:
    dns.known[FULL] = ("10.96.0.41",)
    names.refresh()
    assert names(SHIELD) == ("10.96.0.41",)
    dns.silent = True
    names.refresh()
    assert names(SHIELD) == ("10.96.0.41",)


def test_a_service_that_was_made_anew_is_found_at_its_new_address(names: Names, dns: DNS) -> None:
    for address in ("10.96.0.41", "10.96.0.42"):
        dns.known[FULL] = (address,)
        names.refresh()
        assert names(SHIELD) == (address,)


def test_a_service_that_is_gone_is_nowhere_until_it_is_there_again(names: Names, dns: DNS) -> None:
    dns.known[FULL] = ("10.96.0.41",)
    names.refresh()
    del dns.known[FULL]
    names.refresh()
    with pytest.raises(socket.gaierror):
        names(SHIELD)  # neither the old address nor kubelet's, which may be somebody else's by now
    dns.known[FULL] = ("10.96.0.42",)
    assert names(SHIELD) == ("10.96.0.42",)


def test_a_service_that_came_after_the_container_began_is_asked_for_at_once(names: Names, dns: DNS) -> None:
    dns.known["kuik-shield-1.kuik-system.svc.cluster.local"] = ("10.96.0.50",)
    assert names("kuik-shield-1.kuik-system.svc") == ("10.96.0.50",)
    dns.silent = True
    assert names("kuik-shield-1.kuik-system.svc") == ("10.96.0.50",)


def test_nothing_known_yet_and_nobody_to_ask(names: Names, dns: DNS, node: Node, clock: Clock) -> None:
    """The node's resolver has the last word, and for a while nobody waits for a DNS that was silent."""
    dns.silent = True
    for _ in range(3):
        with pytest.raises(socket.gaierror):
            names("kuik-registry-0.kuik-system.svc")
    assert len(dns.asked) == 1
    assert node.asked == ["kuik-registry-0.kuik-system.svc"] * 3
    clock.now += 60
    dns.silent = False
    dns.known["kuik-registry-0.kuik-system.svc.cluster.local"] = ("10.96.0.60",)
    assert names("kuik-registry-0.kuik-system.svc") == ("10.96.0.60",)


def test_kubelet_s_word_counts_again_where_dns_went_silent_after_it_knew_nothing(names: Names, dns: DNS) -> None:
    names.refresh()
    dns.silent = True
    assert names(SHIELD) == ("10.96.0.40",)


def test_other_names_in_the_cluster_are_kept_too(names: Names, dns: DNS, node: Node) -> None:
    """An object storage that the registry redirects to, a mirror, an egress proxy."""
    dns.known["minio.storage.svc.cluster.local"] = ("10.96.1.1", "10.96.1.2")
    assert names("minio.storage.svc") == ("10.96.1.1", "10.96.1.2")
    dns.known["minio.storage.svc.cluster.local"] = ("10.96.1.3",)
    names.refresh()
    dns.silent = True
    names.refresh()
    assert names("minio.storage.svc") == ("10.96.1.3",)
    assert node.asked == []


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("minio", "minio.kuik-system.svc.cluster.local"),
        ("minio.storage", "minio.storage.svc.cluster.local"),
        ("registry.corp.example", "registry.corp.example"),
    ],
)
def test_what_the_node_does_not_know_is_asked_of_the_cluster_as_a_pod_would(
    names: Names, dns: DNS, node: Node, name: str, full: str
) -> None:
    dns.known[full] = ("10.96.2.1",)
    assert names(name) == ("10.96.2.1",)
    assert node.asked == [name]


def test_what_nobody_knows_is_not_remembered(names: Names, dns: DNS, node: Node) -> None:
    with pytest.raises(socket.gaierror):
        names("nowhere.example")
    node.known["nowhere.example"] = ["192.0.2.7"]
    assert names("nowhere.example") == ["192.0.2.7"]
    dns.asked.clear()
    names.refresh()
    assert dns.asked == [FULL]


def test_names_that_others_make_up_do_not_pile_up(names: Names, dns: DNS) -> None:
    for number in range(200):
        dns.known[f"made-up-{number}.x.svc.cluster.local"] = ("10.96.3.1",)
        assert names(f"made-up-{number}.x.svc") == ("10.96.3.1",)
    dns.asked.clear()
    dns.known[FULL] = ("10.96.0.41",)
    names.refresh()
    assert len(dns.asked) < 70
    assert names(SHIELD) == ("10.96.0.41",)


def test_one_name_that_dns_fails_at_keeps_no_other_from_being_followed(names: Names, dns: DNS) -> None:
    dns.known["a.x.svc.cluster.local"] = dns.known["z.x.svc.cluster.local"] = ("10.96.4.1",)
    assert names("a.x.svc") == names("z.x.svc") == ("10.96.4.1",)

    def fails_at_one(name: str) -> tuple[str, ...]:
        if name.startswith(("a.", "kuik-shield-0")):
            raise NotTold("failure 2")
        return ("10.96.4.2",)

    names._ask = fails_at_one
    names.refresh()
    assert names("a.x.svc") == ("10.96.4.1",)
    assert names("z.x.svc") == ("10.96.4.2",)


def test_it_is_said_once_that_dns_is_silent_and_once_that_it_is_back(
    names: Names, dns: DNS, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "kuik.names")
    for silent in (False, True, True, False, False):
        dns.silent = silent
        names.refresh()
    assert [one.getMessage() for one in caplog.records] == [
        "silence: addresses in the cluster stay as they are known",
        "the cluster's DNS answers again",
    ]


def test_another_domain_and_another_namespace() -> None:
    inside = Inside("k8s.example", "images", {"KUIK_SHIELD_0_SERVICE_HOST": "10.0.0.4"})
    assert inside.holds("a.b.svc.k8s.example")
    assert not inside.holds("a.b.svc.cluster.local")
    assert inside.told("kuik-shield-0.images.svc") == inside.told("kuik-shield-0.images.svc.k8s.example") == "10.0.0.4"
    assert inside.told("kuik-shield-0.kuik-system.svc") == ""
    assert inside.candidates("a.b.svc") == ("a.b.svc.k8s.example",)
    assert inside.candidates("a.b.c.d.e.f") == ("a.b.c.d.e.f",)
