"""OpenSSL's own verdict on the bytes that a client sends: the ground truth, taken as the suite runs.

The judge is a server that takes as much as OpenSSL can take: TLS 1.0 to 1.3, every cipher, security level
0, an RSA and an ECDSA certificate. So what it refuses, it refuses as malformed, and not for its settings.
It is the OpenSSL that Python is linked with, over memory BIOs; no socket is involved.
"""

from __future__ import annotations

import datetime
import ssl
import sys
import tempfile
import warnings
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

VERSION: Final = ssl.OPENSSL_VERSION


class Outcome(Enum):
    """What OpenSSL makes of the bytes."""

    ACCEPTED = "accepted"
    """It answers with a ServerHello, or asks for another key share."""
    REFUSED = "refused"
    """It is not a hello, whatever the server's settings."""
    UNSUITED = "unsuited"
    """A hello, but this server has nothing in common with the client, or is itself at fault."""
    WAITING = "waiting"
    """It wants more bytes."""


class Verdict(NamedTuple):
    """`name` is the server name that OpenSSL saw, if it got that far, which `seen` tells. `reason` is its
    own word for why it refuses, `answer` all that it sent."""

    outcome: Outcome
    seen: bool
    name: bytes | None
    alert: int | None
    reason: str | None
    answer: bytes


class OpenSsl:
    """The judge. It writes its keys to a directory that is gone when the constructor returns."""

    def __init__(self) -> None:
        with tempfile.TemporaryDirectory(prefix="spyhole-conformance-") as directory:
            files = throwaway_certificates(Path(directory), "conformance.test")
            self._looking, self._judging = self._context(files), self._context(files)
        self._looking.sni_callback = self._on_name
        self._names: list[bytes | None] = []

    def judge(self, wire: bytes) -> Verdict:
        """The verdict on a connection's first bytes."""
        self._names.clear()
        hook, sys.unraisablehook = sys.unraisablehook, self._on_undecodable
        try:
            answer, reason = _shake_hands(self._looking, wire)
        finally:
            sys.unraisablehook = hook
        seen = bool(self._names)
        name = self._names[0] if seen else None
        if name is not None and not name.isascii():
            # Python could not hand that name to the callback and so broke off: ask again, without one
            answer, reason = _shake_hands(self._judging, wire)
        alert = answer[6] if answer[:1] == b"\x15" and len(answer) >= 7 else None
        if answer and alert is None:
            outcome = Outcome.ACCEPTED  # an error may follow, of what comes behind the hello
        elif reason is None:
            outcome = Outcome.WAITING
        elif (
            reason in _UNSUITED
            or alert == _INTERNAL_ERROR
            or (reason == "NO_SUITABLE_KEY_SHARE" and alert == _HANDSHAKE_FAILURE)
        ):
            outcome = Outcome.UNSUITED
        else:
            outcome = Outcome.REFUSED
        return Verdict(outcome, seen, name, alert, reason, answer)

    def _context(self, files: list[tuple[Path, Path]]) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
        for cert, key in files:
            context.load_cert_chain(cert, key)
        return context

    def _on_name(self, _: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        self._names.append(None if name is None else name.encode("ascii"))

    def _on_undecodable(self, unraisable: sys.UnraisableHookArgs) -> None:
        # a name that is not ASCII never reaches the callback; the hook is shown its bytes
        if isinstance(unraisable.object, bytes):
            self._names.append(unraisable.object)


_HANDSHAKE_FAILURE, _INTERNAL_ERROR = 40, 80
# Reasons that lie in what this server can do, and not in the hello.
_UNSUITED: Final = {
    "NO_SHARED_CIPHER",
    "NO_SUITABLE_SIGNATURE_ALGORITHM",
    "NO_SHARED_SIGNATURE_ALGORITHMS",
    "UNSUPPORTED_PROTOCOL",
    "INAPPROPRIATE_FALLBACK",
}


def _shake_hands(context: ssl.SSLContext, wire: bytes) -> tuple[bytes, str | None]:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    incoming.write(wire)
    server = context.wrap_bio(incoming, outgoing, server_side=True)
    reason = None
    try:
        server.do_handshake()
    except ssl.SSLWantReadError:
        pass
    except ssl.SSLError as error:
        reason = error.reason or str(error)
    return outgoing.read(), reason


def throwaway_certificates(directory: Path, *names: str) -> list[tuple[Path, Path]]:
    """An RSA and an ECDSA certificate for `names`, signed by themselves, with their keys, as PEM files."""
    keys: dict[str, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey] = {
        "rsa": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "ecdsa": ec.generate_private_key(ec.SECP256R1()),
    }
    files = []
    for kind, key in keys.items():
        cert, private = directory / f"{kind}.pem", directory / f"{kind}.key"
        cert.write_bytes(_self_signed(key, names).public_bytes(serialization.Encoding.PEM))
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        files.append((cert, private))
    return files


def _self_signed(key: CertificateIssuerPrivateKeyTypes, names: tuple[str, ...]) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=7))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
