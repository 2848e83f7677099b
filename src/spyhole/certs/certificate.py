"""One certificate and its key, read from their files once, with everything about them that we decide by."""

from __future__ import annotations

import itertools
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
)

from spyhole.errors import OperatorError

if TYPE_CHECKING:
    import datetime
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

Which: TypeAlias = Literal["cert", "key"]
"""The configuration key, and the flag, of the file that an error is about."""

LARGEST: Final = 1 << 20
"""Bytes of one file; a chain has 5 KB."""


class CertificateError(OperatorError):
    """A certificate can't be used. `which` file, a short `code` for machines, and the advice in `hint`."""

    def __init__(self, which: Which, code: str, message: str, hint: str | None = None) -> None:
        super().__init__(message + (f" ({hint})" if hint else ""))
        self.which: Final = which
        self.code = code
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True, eq=False)
class Certificate:
    """A certificate with its chain and its key. `read_certificate` makes it."""

    cert: Path
    key: Path
    default: bool
    names: tuple[str, ...]
    """The host names that it is for, from its subject alternative names: lower case, `*.` wildcards as they
    are. Never the common name: no client looks at it since 2017 (RFC 9525, 6.3)."""
    key_type: str
    """`rsa`, `ecdsa`, `ed25519` or `ed448`. A context serves one certificate of each."""
    not_before: datetime.datetime
    not_after: datetime.datetime
    chain: tuple[str, ...]
    """The subjects of the file's certificates, in its order; the leaf, which is ours, is the first."""
    chain_fault: str | None
    """What is wrong with the order of the chain: clients may stumble over it, OpenSSL does not look."""
    pem: bytes = field(repr=False)
    """The chain and the key, for OpenSSL."""


def read_certificate(cert: Path, key: Path, *, default: bool = False) -> Certificate:
    """Read and check a certificate and its key, each file once; raises CertificateError.

    A key with a passphrase is refused: nothing asks on the terminal, ever.
    """
    cert_pem = _read(cert, "cert")
    key_pem = cert_pem if key == cert else _read(key, "key")
    chain = _parse_chain(cert, cert_pem, key_pem)
    key_block, private = _parse_key(key, key_pem)
    leaf = chain[0]
    try:
        public = leaf.public_key()
        names = _names(leaf)
        key_type = _key_type(public)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(
            "cert", "bad-certificate", f"the certificate in {str(cert)!r} is damaged: {error}"
        ) from None
    if key_type is None:
        raise CertificateError(
            "cert",
            "bad-certificate",
            f"the certificate in {str(cert)!r} has a key of a kind that TLS does not use here",
            "expected RSA, ECDSA, Ed25519 or Ed448",
        )
    _check_match(key, private, chain)
    return Certificate(
        cert=cert,
        key=key,
        default=default,
        names=names,
        key_type=key_type,
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        chain=tuple(certificate.subject.rfc4514_string() for certificate in chain),
        chain_fault=_chain_fault(chain),
        # not the files as they are: OpenSSL takes the first key, and the chain's file may hold another
        pem=b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain) + key_block,
    )


def _read(file: Path, which: Which) -> bytes:
    try:
        with file.open("rb") as opened:
            content = opened.read(LARGEST + 1)
    except FileNotFoundError:
        hint = None if file.parent.is_dir() else f"there is no directory {str(file.parent)!r} either"
        raise CertificateError(which, "unreadable-file", f"no such file: {str(file)!r}", hint) from None
    except (OSError, ValueError) as error:
        errno = error.errno if isinstance(error, OSError) else None
        text = os.strerror(errno).lower() if errno else str(error)
        raise CertificateError(which, "unreadable-file", f"can't read {str(file)!r}: {text}") from None
    if len(content) > LARGEST:
        message = f"{str(file)!r} is larger than {LARGEST >> 20} MiB"
        raise CertificateError(which, "unreadable-file", message)
    return content


def _parse_chain(file: Path, pem: bytes, key_pem: bytes) -> list[x509.Certificate]:
    if b"-----BEGIN CERTIFICATE-----" not in pem:
        if _has_key(pem):
            hint = "are cert and key swapped?" if b"-----BEGIN CERTIFICATE-----" in key_pem else None
            message = f"{str(file)!r} has a key, not a certificate"
            raise CertificateError("cert", "bad-certificate", message, hint)
        if _is_der_certificate(pem):
            message = f"{str(file)!r} is DER, not PEM"
            hint = f"convert it: openssl x509 -inform DER -in {file} -out {file.with_suffix('.pem')}"
            raise CertificateError("cert", "bad-certificate", message, hint)
        message = f"no certificate in {str(file)!r}" if pem.strip() else f"{str(file)!r} is empty"
        raise CertificateError(
            "cert", "bad-certificate", message, "expected PEM: -----BEGIN CERTIFICATE-----"
        )
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        message = f"the certificate in {str(file)!r} is damaged: {_first_line(error)}"
        raise CertificateError("cert", "bad-certificate", message) from None


def _parse_key(file: Path, pem: bytes) -> tuple[bytes, PrivateKeyTypes]:
    found = _KEY.search(pem)
    if found is None:
        raise _no_key(file, pem)
    try:
        # OpenSSL's own consistency check of an RSA key costs more than all the rest of reading it
        private = load_pem_private_key(found[0], password=None, unsafe_skip_rsa_key_validation=True)
    except TypeError:
        raise CertificateError(
            "key",
            "encrypted-key",
            f"the key in {str(file)!r} has a passphrase, and nobody is asked for it",
            f"remove it: openssl pkey -in {file} -out {file}.plain",
        ) from None
    except (ValueError, UnsupportedAlgorithm) as error:
        message = f"the key in {str(file)!r} is damaged: {_first_line(error)}"
        raise CertificateError("key", "bad-key", message) from None
    return found[0] + b"\n", private


def _no_key(file: Path, pem: bytes) -> CertificateError:
    if b"-----BEGIN CERTIFICATE-----" in pem:
        return CertificateError("key", "bad-key", f"{str(file)!r} has a certificate and no key")
    if _is_der_key(pem):
        hint = f"convert it: openssl pkey -inform DER -in {file} -out {file}.pem"
        return CertificateError("key", "bad-key", f"{str(file)!r} is DER, not PEM", hint)
    message = f"no private key in {str(file)!r}" if pem.strip() else f"{str(file)!r} is empty"
    return CertificateError("key", "bad-key", message, "expected PEM: -----BEGIN PRIVATE KEY-----")


def _check_match(file: Path, private: PrivateKeyTypes, chain: list[x509.Certificate]) -> None:
    public = _encoded(private.public_key())
    if public == _encoded(chain[0].public_key()):
        return
    hint = None
    for number, certificate in enumerate(chain[1:], start=2):
        if public == _encoded(certificate.public_key()):
            hint = f"it belongs to certificate {number} of the file: the server's own has to come first"
    raise CertificateError(
        "key", "key-mismatch", f"the key in {str(file)!r} does not belong to the certificate", hint
    )


def _encoded(key: PublicKeyTypes) -> bytes | None:
    try:
        return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):  # an exotic authority at the end of the chain
        return None


def _key_type(key: PublicKeyTypes) -> str | None:
    for kind, name in _KEY_TYPES.items():
        if isinstance(key, kind):
            return name
    return None


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    names = extension.value.get_values_for_type(x509.DNSName)
    return tuple(dict.fromkeys(name.lower().removesuffix(".") for name in names))


def _chain_fault(chain: list[x509.Certificate]) -> str | None:
    for number, (one, issuer) in enumerate(itertools.pairwise(chain), start=1):
        if one.issuer != issuer.subject:
            return (
                f"certificate {number} of the file was not issued by the next one: the chain has to "
                "follow the server's own certificate, each issuer after what it issued"
            )
    return None


def _is_der_certificate(content: bytes) -> bool:
    try:
        x509.load_der_x509_certificate(content)
    except ValueError:
        return False
    return True


def _is_der_key(content: bytes) -> bool:
    try:
        load_der_private_key(content, password=None)
    except TypeError:  # with a passphrase
        return True
    except (ValueError, UnsupportedAlgorithm):
        return False
    return True


def _has_key(pem: bytes) -> bool:
    return b"PRIVATE KEY-----" in pem


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].partition(". See ")[0]


_KEY: Final = re.compile(
    rb"-----BEGIN (?P<label>(?:[A-Z]+ )*PRIVATE KEY)-----.*?-----END (?P=label)-----", re.DOTALL
)
_KEY_TYPES: Final = {
    rsa.RSAPublicKey: "rsa",
    ec.EllipticCurvePublicKey: "ecdsa",
    ed25519.Ed25519PublicKey: "ed25519",
    ed448.Ed448PublicKey: "ed448",
}
