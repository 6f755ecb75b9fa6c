"""The certificate over the years, and its Secret when several replicas want to write it."""

import base64
import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from hooks.certificate import BUNDLE, CA_LIFE, KNOWN_AFTER, SERVED, SERVED_KEY, SIGNER, Data, plan
from hooks.facts import Absent, Known, Unknown
from hooks.own_secrets import (
    CERTIFICATE,
    MADE,
    REGISTRY,
    TOKEN,
    OwnSecrets,
    new_capability,
    new_registry_tokens,
    new_token,
)
from hooks.tls import NoCertificate, Served
from kube.client import KubernetesError

NAMES = ["kuik-admission.kuik-system.svc", "127.0.0.1"]
START = datetime(2026, 1, 1, tzinfo=UTC)


def trusts(bundle: bytes, served: bytes, at: datetime) -> bool:
    store = Store(x509.load_pem_x509_certificates(bundle))
    verifier = PolicyBuilder().store(store).time(at).build_server_verifier(x509.DNSName(NAMES[0]))
    try:
        verifier.verify(x509.load_pem_x509_certificate(served), [])
    except VerificationError:
        return False
    return True


def test_a_new_one_is_trusted_by_its_bundle_and_stays_as_it_is() -> None:
    made = plan({}, START, NAMES)
    assert trusts(made[BUNDLE], made[SERVED], START)
    assert plan(made, START + timedelta(days=59), NAMES) is made
    assert not trusts(plan({}, START, NAMES)[BUNDLE], made[SERVED], START), "another CA's bundle is no trust"


def test_over_thirty_years_what_is_served_is_trusted_by_who_read_the_bundle_days_ago() -> None:
    step = timedelta(days=2)
    data: Data = plan({}, START, NAMES)
    old = [data[BUNDLE]]
    signers = set()
    for number in range(30 * 365 // step.days):
        now = START + number * step
        before, data = data, plan(data, now, NAMES)
        old = [*old[-2:], data[BUNDLE]]
        signers.add(data[SIGNER])
        # Whoever is trusted stays so until something changes or it is too old: looked at again every two weeks.
        for bundle in set(old) if data is not before or len(set(old)) > 1 or number % 7 == 0 else ():
            assert trusts(bundle, data[SERVED], now), f"{now}: bundle of some days ago"
        assert len(x509.load_pem_x509_certificates(data[BUNDLE])) <= 3
    assert len(signers) == 4, "three CAs were followed by another one"


@pytest.mark.parametrize("ahead", [timedelta(days=120), timedelta(days=3650), timedelta(days=7300)])
def test_a_clock_that_was_ahead_for_a_while_leaves_no_certificate_of_the_future(ahead: timedelta) -> None:
    """Nobody trusts one that is not valid yet, and it would be years until it is."""
    made = plan(plan({}, START, NAMES), START + ahead, NAMES)
    again = plan(made, START, NAMES)
    assert trusts(again[BUNDLE], again[SERVED], START)
    assert plan(again, START + timedelta(days=1), NAMES) is again


def test_who_still_serves_the_certificate_of_before_is_trusted_by_the_new_bundle() -> None:
    data = plan({}, START, NAMES)
    signer = data[SIGNER]
    now = START + CA_LIFE - timedelta(days=360)
    waiting = plan(data, now, NAMES)
    assert waiting[SIGNER] == signer
    changed = plan(waiting, now + KNOWN_AFTER, NAMES)
    assert changed[SIGNER] != signer
    assert trusts(changed[BUNDLE], waiting[SERVED], now + KNOWN_AFTER)


@pytest.mark.parametrize("spoilt", [SERVED, SERVED_KEY, SIGNER, BUNDLE])
@pytest.mark.parametrize("by", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"\xff"])
def test_what_cannot_be_read_is_made_anew(spoilt: str, by: bytes) -> None:
    made = plan({**plan({}, START, NAMES), spoilt: by}, START, NAMES)
    assert trusts(made[BUNDLE], made[SERVED], START)
    Served().show(made)


def test_a_key_of_another_certificate_is_not_served() -> None:
    one, other = plan({}, START, NAMES), plan({}, START, NAMES)
    mixed = {**one, SERVED_KEY: other[SERVED_KEY]}
    with pytest.raises(NoCertificate):
        Served().show(mixed)
    assert trusts(one[BUNDLE], plan(mixed, START, NAMES)[SERVED], START)


def test_other_names_make_another_certificate_of_the_same_ca() -> None:
    one = plan({}, START, NAMES)
    other = plan(one, START, [*NAMES, "other.example.com"])
    assert other[SIGNER] == one[SIGNER]
    assert other[SERVED] != one[SERVED]


class _Secrets:
    """A double of the API server's Secrets, with its conflicts."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Any]] = {}
        self.races: list[Any] = []
        self.writes = 0
        self.version = 0

    def find(self, path: str) -> dict[str, Any] | None:
        return copy.deepcopy(self.kept.get(path.rpartition("/")[2]))

    def request(self, method: str, path: str, body: Any) -> dict[str, Any]:
        if self.races:
            self.races.pop()()
        name = body["metadata"]["name"]
        there = self.kept.get(name)
        if method == "POST" and there:
            raise KubernetesError("exists", 409)
        if method == "PUT" and (
            not there or there["metadata"]["resourceVersion"] != body["metadata"].get("resourceVersion")
        ):
            raise KubernetesError("conflict", 409 if there else 404)
        self.version += 1
        self.writes += 1
        self.kept[name] = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        return copy.deepcopy(self.kept[name])


def own(api: _Secrets) -> OwnSecrets:
    return OwnSecrets(api, "kuik-system")  # type: ignore[arg-type]


def test_the_replica_that_loses_takes_what_the_other_made() -> None:
    api = _Secrets()
    winner: list[Data] = []
    api.races = [lambda: winner.append(own(api).certificate(NAMES, START))]
    assert own(api).certificate(NAMES, START) == winner[0]
    assert api.writes == 1


def test_a_renewal_that_loses_takes_what_the_other_made() -> None:
    api = _Secrets()
    before = own(api).certificate(NAMES, START)
    later = START + timedelta(days=70)
    winner: list[Data] = []
    api.races = [lambda: winner.append(own(api).certificate(NAMES, later))]
    assert own(api).certificate(NAMES, later) == winner[0] != before
    assert api.writes == 2


def test_a_certificate_from_outside_is_never_overwritten() -> None:
    api = _Secrets()
    data = plan({}, START - timedelta(days=1000), ["elsewhere"])
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    api.kept[CERTIFICATE] = {"metadata": {"name": CERTIFICATE, "resourceVersion": "1"}, "data": encoded}
    assert own(api).certificate(NAMES, START) == data
    assert api.writes == 0
    assert own(api).authority() == Known(data[BUNDLE].decode())


def test_own_secrets_are_made_once_and_stay() -> None:
    api = _Secrets()
    first = own(api).ensure(TOKEN, new_token)
    assert own(api).ensure(TOKEN, new_token) == first
    assert len(first["token"]) == 64
    assert api.kept[TOKEN]["metadata"]["annotations"][MADE]
    assert own(api).ensure("kuik-capability", new_capability)["previous"] == b""
    registry = own(api).ensure(REGISTRY, new_registry_tokens)
    assert len({bytes(first["token"]), registry["reader"], registry["writer"]}) == 3
    assert all(32 <= len(token) <= 72 for token in registry.values()), "as long as distribution can tell apart"


def test_the_authority_is_absent_or_unknown_where_it_cannot_be_said() -> None:
    api = _Secrets()
    assert own(api).authority() == Absent()
    api.kept[CERTIFICATE] = {"metadata": {"name": CERTIFICATE}, "data": {"tls.crt": "x"}}
    assert isinstance(own(api).authority(), Unknown)

    def down(path: str) -> dict[str, Any]:
        raise KubernetesError("no answer")

    api.find = down  # type: ignore[method-assign]
    assert isinstance(own(api).authority(), Unknown)
