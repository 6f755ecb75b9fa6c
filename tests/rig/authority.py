"""Certificates for tests: an authority, and what it signed, also what is no longer valid."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


class Authority:
    """A certificate authority; `bundle` (PEM) is what trusts it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of a test")])
        certificate = (
            _begun(self._name, self._name, self._key, timedelta(days=-2), timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, SHA256())
        )
        self.bundle = folder / "authority.pem"
        self.bundle.write_bytes(certificate.public_bytes(Encoding.PEM))

    def loopback(self, *, expired: bool = False) -> tuple[Path, Path]:
        """A certificate for 127.0.0.1 and its key, as PEM files; it was valid until an hour ago when `expired`."""
        return self.issue("127.0.0.1", "expired" if expired else "valid", expired=expired)

    def issue(self, name: str, stem: str = "", *, group: str = "", expired: bool = False) -> tuple[Path, Path]:
        """A certificate for a host's name or address, or for a user of a group, and its key; `stem` names the files."""
        key = ec.generate_private_key(ec.SECP256R1())
        until = timedelta(hours=-1) if expired else timedelta(days=1)
        said = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
        said += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)] if group else []
        certificate = (
            _begun(x509.Name(said), self._name, key, timedelta(days=-1), until)
            .add_extension(x509.SubjectAlternativeName([_general(name)]), critical=False)
            .sign(self._key, SHA256())
        )
        pem, secret = (self._folder / f"{stem or name}.{end}" for end in ("pem", "key"))
        pem.write_bytes(certificate.public_bytes(Encoding.PEM))
        secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return pem, secret


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, since: timedelta, until: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + since)
        .not_valid_after(now + until)
    )
