"""Which certificates are served for a name. Pure: no file, no clock, no ssl."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Named(Protocol):
    """What the choice depends on."""

    @property
    def names(self) -> Sequence[str]:
        """Host names, lower case, and wildcards `*.suffix`."""

    @property
    def key_type(self) -> str:
        """`rsa`, `ecdsa`, …: a context holds one certificate of each."""

    @property
    def default(self) -> bool:
        """Whether it is served where no certificate covers the name."""


C = TypeVar("C", bound=Named)


@dataclass(frozen=True, slots=True, eq=False)
class Choice(Generic[C]):
    """The certificates for a name, at most one of each key type; OpenSSL takes what the client can use."""

    certificates: tuple[C, ...]
    is_default: bool
    """Whether they are served only for want of one that covers the name."""


class CertificateTable(Generic[C]):
    """All certificates, by name.

    For each key type the most specific certificate that covers the name is taken: one that has the name,
    else one that has `*.` and the rest of it after the first label. Among equals, the order given. Names
    that none covers, and clients that send no name, get the default, with its siblings: certificates of
    another key type for the very same names.
    """

    def __init__(self, certificates: Sequence[C]) -> None:
        exact: dict[str, dict[str, int]] = {}
        wildcard: dict[str, dict[str, int]] = {}
        for index, certificate in enumerate(certificates):
            for name in certificate.names:
                is_wildcard = name.startswith("*.")
                by_type = (wildcard if is_wildcard else exact).setdefault(name.removeprefix("*."), {})
                by_type.setdefault(certificate.key_type, index)
        self._certificates = certificates
        self._choices: dict[tuple[int, ...], Choice[C]] = {}
        self._wildcard = {parent: self._choice(by_type) for parent, by_type in wildcard.items()}
        self._exact = {
            name: self._choice(wildcard.get(name.partition(".")[2], {}) | by_type)
            for name, by_type in exact.items()
        }
        self._default = self._default_choice()

    def choose(self, server_name: str | None) -> Choice[C] | None:
        """What is served to a client that sends this name (lower case; None: no name), None for nothing."""
        if server_name is not None:
            choice = self._exact.get(server_name)
            if choice is None:
                choice = self._wildcard.get(server_name.partition(".")[2])
            if choice is not None:
                return choice
        return self._default

    @property
    def choices(self) -> tuple[Choice[C], ...]:
        """Every distinct choice that some name, or no name, leads to."""
        default = (self._default,) if self._default is not None else ()
        return (*self._choices.values(), *default)

    def _choice(self, by_type: dict[str, int]) -> Choice[C]:
        key = tuple(sorted(by_type.values()))
        if key not in self._choices:
            self._choices[key] = Choice(tuple(self._certificates[index] for index in key), is_default=False)
        return self._choices[key]

    def _default_choice(self) -> Choice[C] | None:
        default = next((certificate for certificate in self._certificates if certificate.default), None)
        if default is None:
            return None
        by_type = {default.key_type: default}
        for certificate in self._certificates:
            if set(certificate.names) == set(default.names):
                by_type.setdefault(certificate.key_type, certificate)
        return Choice(tuple(by_type.values()), is_default=True)


def covers(names: Sequence[str], server_name: str) -> bool:
    """Whether a certificate with these names is one for `server_name` (RFC 9525, 6.3)."""
    return server_name in names or "*." + server_name.partition(".")[2] in names
