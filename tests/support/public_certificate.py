"""Certificates as public authorities issue them: with all that suites for TLS want to see."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from support.certificates import Leaf

Kind = Literal["ecdsa", "rsa"]
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class PublicAuthority:
    """A root, and leaves for 90 days with a place for their revocation. `pem` is the root's file."""

    def __init__(self, directory: Path, kind: Kind = "ecdsa") -> None:
        self._directory = directory
        self._key = _generate(kind)
        self._name = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Spyhole tests"),
                x509.NameAttribute(NameOID.COMMON_NAME, "Spyhole root"),
            ]
        )
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        root = (
            _builder(self._name, self._name, self._key, self._key, days=365)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = directory / "root.pem"
        self.pem.write_bytes(root.public_bytes(Encoding.PEM))

    def issue(self, name: str, kind: Kind) -> Leaf:
        key = _generate(kind)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH]
        list_at = x509.UniformResourceIdentifier("http://crl.invalid/root.crl")
        cert = (
            _builder(subject, self._name, key, self._key, days=90)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(
                x509.CRLDistributionPoints([x509.DistributionPoint([list_at], None, None, None)]),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        leaf = Leaf((name,), self._directory / f"{kind}.pem", self._directory / f"{kind}.key")
        leaf.cert.write_bytes(cert.public_bytes(Encoding.PEM))
        leaf.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return leaf


def _generate(kind: Kind) -> Key:
    return (
        rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Key, issuer_key: Key, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
    )
