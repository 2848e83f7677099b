"""Certificates for names, ready to serve: everything is read and built at start, nothing at run time.

One context for each policy and each distinct set of certificates that some name can select. All are made
before the workers are forked: they share the memory, and the ticket keys, so that a session that one worker
began goes on in any other. A context costs some 0.7 ms and 20 KB (one certificate; 1.2 ms and 27 KB with
both RSA and ECDSA), 5,000 of them 4 s and 110 MB once for all workers: building them on demand instead
would give each worker ticket keys of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from spyhole.certs.certificate import Certificate, CertificateError, read_certificate
from spyhole.certs.choose import CertificateTable, Choice
from spyhole.certs.context import TlsPolicy, make_context
from spyhole.config.problems import Finding
from spyhole.errors import OperatorError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Sequence
    from pathlib import Path


class CertificateFiles(Protocol):
    """A `[[certificates]]` of the configuration."""

    @property
    def cert(self) -> Path:
        """The certificate and its chain, PEM."""

    @property
    def key(self) -> Path:
        """Its private key, PEM; may be the same file."""

    @property
    def default(self) -> bool:
        """Whether it is for names that no certificate covers."""


class CertificateErrors(OperatorError):
    """Everything that is wrong with the certificates, each with its place in the configuration."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        lines = []
        for finding in self.findings:
            array, index, which = finding.path
            assert isinstance(index, int)
            hint = f" ({finding.hint})" if finding.hint else ""
            lines.append(f"{array}[{index + 1}].{which}: {finding.message}{hint}")
        super().__init__("\n".join(lines))


class CertificateStore:
    """The certificates of a configuration and the contexts that serve them. Immutable."""

    __slots__ = ("_contexts", "_table", "certificates")

    def __init__(self, certificates: Sequence[Certificate], policies: Iterable[TlsPolicy]) -> None:
        """Build every context; raises CertificateErrors where OpenSSL refuses a certificate."""
        self.certificates = tuple(certificates)
        self._table = CertificateTable(self.certificates)
        choices = self._table.choices
        try:
            self._contexts: dict[TlsPolicy, dict[Choice[Certificate], ssl.SSLContext]] = {
                policy: {choice: make_context(policy, choice.certificates) for choice in choices}
                for policy in dict.fromkeys(policies)
            }
        except CertificateError:
            raise CertificateErrors(refused(self.certificates)) from None

    @classmethod
    def load(cls, files: Iterable[CertificateFiles], policies: Iterable[TlsPolicy]) -> CertificateStore:
        """Read each file once and build every context; raises CertificateErrors, every fault at once."""
        certificates, findings = read_certificates(files)
        if findings:
            raise CertificateErrors(findings)
        return cls([certificate for certificate in certificates if certificate is not None], policies)

    def choose(self, server_name: str | None) -> Choice[Certificate] | None:
        """What would be served for a name, as `parse_server_name` gives it; None: the client is refused."""
        return self._table.choose(server_name)

    def context(self, server_name: str | None, policy: TlsPolicy) -> ssl.SSLContext | None:
        """The context for a name under one of the policies given at load; None: the client is refused."""
        choice = self._table.choose(server_name)
        return None if choice is None else self._contexts[policy][choice]


def read_certificates(
    files: Iterable[CertificateFiles | None],
) -> tuple[list[Certificate | None], list[Finding]]:
    """Read each, None where it can't be used (or is None already), and what is wrong with those."""
    certificates: list[Certificate | None] = []
    findings: list[Finding] = []
    for index, pair in enumerate(files):
        if pair is None:
            certificates.append(None)
            continue
        try:
            certificates.append(read_certificate(pair.cert, pair.key, default=pair.default))
        except CertificateError as error:
            certificates.append(None)
            findings.append(_finding(index, error))
    return certificates, findings


def refused(certificates: Iterable[Certificate | None]) -> list[Finding]:
    """Those that OpenSSL has something against, although they parse: a key that is too short, say."""
    findings = []
    for index, certificate in enumerate(certificates):
        if certificate is not None:
            try:
                make_context(TlsPolicy(), [certificate])
            except CertificateError as error:
                findings.append(_finding(index, error))
    return findings


def _finding(index: int, error: CertificateError) -> Finding:
    return Finding(("certificates", index, error.which), error.code, error.message, hint=error.hint)
