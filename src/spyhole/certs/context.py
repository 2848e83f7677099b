"""An `ssl.SSLContext` from a policy and certificates: AEAD only, our order of ciphers, names checked."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from spyhole.certs.certificate import CertificateError
from spyhole.net.tls import prepare_context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spyhole.certs.certificate import Certificate

CIPHERS_1_2: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Forward secret and authenticated (RFC 9325, 4.2); TLS 1.3 has no others."""


@dataclass(frozen=True, slots=True)
class TlsPolicy:
    """What a terminate route asks of TLS."""

    min_version: str = "1.2"
    """`1.2` or `1.3`."""
    alpn: tuple[str, ...] = ()
    """Protocols, the most wanted first: the first that the client offers is taken. None in common: none is
    negotiated, and the client decides. `""`, a route's word for a client that offers none, is left out."""

    def __post_init__(self) -> None:
        if self.min_version not in _VERSIONS:
            raise ValueError(f"min_version {self.min_version!r}: expected '1.2' or '1.3'")


def make_context(policy: TlsPolicy, certificates: Sequence[Certificate]) -> ssl.SSLContext:
    """A context for the server side; raises CertificateError where OpenSSL refuses a certificate.

    It has ticket keys of its own: a session goes on only under the same policy and the same certificates,
    in every process forked after this.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[policy.min_version]
    context.set_ciphers(CIPHERS_1_2)
    context.options |= (
        ssl.OP_NO_RENEGOTIATION
        | ssl.OP_NO_COMPRESSION
        | ssl.OP_CIPHER_SERVER_PREFERENCE
        | ssl.OP_SINGLE_ECDH_USE
    )
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    if protocols := [protocol for protocol in policy.alpn if protocol]:
        context.set_alpn_protocols(protocols)
    for certificate in certificates:
        _load(context, certificate)
    prepare_context(context)
    return context


def _load(context: ssl.SSLContext, certificate: Certificate) -> None:
    """Hand the bytes over as a file in memory: `load_cert_chain` takes paths only."""
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(certificate.pem)
        # without a password, OpenSSL would ask for one on the terminal
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=b"")
    except ssl.SSLError as error:
        reason = (error.reason or "unknown reason").replace("_", " ").lower()
        raise CertificateError(
            "cert",
            "bad-certificate",
            f"OpenSSL refuses the certificate in {str(certificate.cert)!r}: {reason}",
        ) from None
    finally:
        os.close(descriptor)


_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
