"""The admission webhook's certificate: what its Secret should hold at a moment, given what it holds.

A CA of our own signs the certificate that is served. A new CA is in the bundle for a week before it signs, so that the
API server knows it by then, and the old one stays there until it expires. So what is served is trusted at all times.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVED, SERVED_KEY, BUNDLE = "tls.crt", "tls.key", "ca.crt"
SIGNER, SIGNER_KEY = "signer.crt", "signer.key"
NEXT, NEXT_KEY = "next.crt", "next.key"

CA_LIFE = timedelta(days=3650)
CA_RENEWED = timedelta(days=365)
"""A next CA is made when the one that signs has so long to go."""
KNOWN_AFTER = timedelta(days=7)
"""How long a CA is in the bundle before it signs."""
LIFE = timedelta(days=90)
RENEWED = timedelta(days=30)
_SKEW = timedelta(hours=1)
"""Certificates begin so long ago, for clocks that are late."""

Data = Mapping[str, bytes]
"""A Secret's data, decoded."""


@dataclass(frozen=True, slots=True)
class _Pair:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return _pem(self.certificate)

    def lasts(self, now: datetime, more: timedelta = timedelta()) -> bool:
        """Whether it is valid now, which one that a wrong clock made is not yet, and for so long."""
        begun = self.certificate.not_valid_before_utc <= now
        return begun and now + more < self.certificate.not_valid_after_utc

    def signed(self, other: x509.Certificate) -> bool:
        try:
            other.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True


def plan(data: Data, now: datetime, names: Sequence[str]) -> Data:
    """What the Secret should hold: the same data where nothing is due, else with new keys, which are random.

    `names` are the DNS names and IP addresses that the served certificate is for. What cannot be read is made anew.
    """
    signer, coming = _pair(data, SIGNER, SIGNER_KEY), _pair(data, NEXT, NEXT_KEY)
    if coming and not coming.lasts(now):
        coming = None
    if signer is None or not signer.lasts(now):
        signer, coming = coming or _authority(now), None
    elif coming and now - (coming.certificate.not_valid_before_utc + _SKEW) >= KNOWN_AFTER:
        signer, coming = coming, None
    elif coming is None and not signer.lasts(now, CA_RENEWED):
        coming = _authority(now)
    served = _pair(data, SERVED, SERVED_KEY)
    if served is None or not _serves(served, signer, now, names):
        served = _leaf(signer, now, names)
    pairs = [(SERVED, SERVED_KEY, served), (SIGNER, SIGNER_KEY, signer)]
    pairs += [(NEXT, NEXT_KEY, coming)] if coming else []
    wanted = {BUNDLE: _bundle(data, [signer, *([coming] if coming else [])], now)}
    for certificate, key, pair in pairs:
        wanted |= {certificate: pair.pem, key: _key_pem(pair.key)}
    return data if dict(data) == wanted else wanted


def _serves(served: _Pair, signer: _Pair, now: datetime, names: Sequence[str]) -> bool:
    same_names = _names_of(served.certificate) == set(names)
    return same_names and served.lasts(now, RENEWED) and signer.signed(served.certificate)


def _bundle(data: Data, ours: Sequence[_Pair], now: datetime) -> bytes:
    """The CAs that signed or will sign, the newest word first, and those of before that have not expired."""
    before = [one for one in _certificates(data.get(BUNDLE, b"")) if now < one.not_valid_after_utc]
    return b"".join(dict.fromkeys([*(pair.pem for pair in ours), *map(_pem, before)]))


def _authority(now: datetime) -> _Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    # Two CAs in one bundle are told apart by their names.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"kuik admission {now:%Y-%m-%dT%H:%M:%SZ}")])
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        _builder(name, name, key, now, CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
    )
    return _Pair(builder.sign(key, hashes.SHA256()), key)


def _leaf(signer: _Pair, now: datetime, names: Sequence[str]) -> _Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    life = min(LIFE, signer.certificate.not_valid_after_utc - now)
    builder = (
        _builder(subject, signer.certificate.subject, key, now, life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.certificate.public_key()),  # type: ignore[arg-type]
            critical=False,
        )
    )
    return _Pair(builder.sign(signer.key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _names_of(certificate: x509.Certificate) -> set[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return set()
    return {str(one.value) for one in found}


def _pair(data: Data, certificate: str, key: str) -> _Pair | None:
    """A certificate with its key; None where one is missing, cannot be read, or they do not belong together."""
    found = _certificates(data.get(certificate, b""))
    try:
        private = serialization.load_pem_private_key(data.get(key, b""), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    if len(found) != 1 or not isinstance(private, ec.EllipticCurvePrivateKey):
        return None
    return _Pair(found[0], private) if found[0].public_key() == private.public_key() else None


def _certificates(pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        return []


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
