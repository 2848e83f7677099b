"""What is wrong, or will be, with the certificates of a configuration. Reads the files, serves nothing."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from spyhole.config.lint import warning
from spyhole.config.problems import Finding
from spyhole.routing.patterns import NamePattern, PatternKind
from spyhole.routing.route import Mode

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

    from spyhole.config.model import Config
    from spyhole.config.positions import Path as Place

SOON: Final = datetime.timedelta(days=30)
"""A certificate that ends within this time is warned about: ACME clients renew this long before."""

LARGEST: Final = 1 << 20


def lint(config: Config, now: datetime.datetime | None = None) -> list[Finding]:
    """Errors (what `run` would refuse) and warnings, in no particular order."""
    now = now or datetime.datetime.now(datetime.UTC)
    findings: list[Finding] = []
    leaves: list[_Leaf] = []
    for index, certificate in enumerate(config.certificates):
        path: Place = ("certificates", index)
        try:
            chain = _chain(certificate.cert, (*path, "cert"))
            leaves.append(_Leaf((*path, "cert"), certificate.default, _names(chain[0])))
            findings += _validity(chain[0], (*path, "cert"), now)
        except _BadFileError as error:
            findings.append(error.finding)
            chain = []
        try:
            _check_key(certificate.key, (*path, "key"), chain)
        except _BadFileError as error:
            findings.append(error.finding)
    if len(leaves) == len(config.certificates):
        findings += _not_covered(config, leaves)
        findings += _never_used(config, leaves)
    return findings


@dataclass(frozen=True, slots=True)
class _Leaf:
    path: Place
    default: bool
    names: frozenset[str]

    def covers(self, pattern: NamePattern) -> bool:
        """Whether it covers every name of an exact or `*.` pattern, and some of a `**.` pattern."""
        one_up = "*." + pattern.name.partition(".")[2]
        if pattern.kind is PatternKind.EXACT:
            return pattern.name in self.names or one_up in self.names
        if pattern.kind is PatternKind.ONE_LABEL:
            return str(pattern) in self.names
        return self.serves(pattern)

    def serves(self, pattern: NamePattern) -> bool:
        """Whether it covers any name of the pattern."""
        if pattern.kind in (PatternKind.ANY, PatternKind.REGEX):
            return True
        if pattern.kind is PatternKind.EXACT:
            return self.covers(pattern)
        return any(
            # "*.a.test" has names of "**.test", and "*.test" has names of "*.test"
            pattern.matches(name.replace("*", "x", 1) if name.startswith("*.") else name)
            for name in self.names
        )


class _BadFileError(Exception):
    def __init__(self, path: Place, code: str, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.finding = Finding(path, code, message, hint=hint)


def _read(file: Path, path: Place) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(LARGEST)
    except FileNotFoundError:
        hint = None if file.parent.is_dir() else f"there is no directory {str(file.parent)!r} either"
        raise _BadFileError(path, "unreadable-file", f"no such file: {str(file)!r}", hint) from None
    except (OSError, ValueError) as error:
        text = (
            os.strerror(error.errno).lower() if isinstance(error, OSError) and error.errno else str(error)
        )
        raise _BadFileError(path, "unreadable-file", f"can't read {str(file)!r}: {text}") from None


def _chain(file: Path, path: Place) -> list[x509.Certificate]:
    """The certificates of the file, the leaf first."""
    pem = _read(file, path)
    if b"-----BEGIN CERTIFICATE-----" not in pem:
        if b"PRIVATE KEY-----" in pem:
            raise _BadFileError(
                path,
                "bad-certificate",
                f"{str(file)!r} has a key, not a certificate",
                "are cert and key swapped?",
            )
        raise _BadFileError(
            path,
            "bad-certificate",
            f"no certificate in {str(file)!r}",
            "expected PEM: -----BEGIN CERTIFICATE-----",
        )
    try:
        chain = x509.load_pem_x509_certificates(pem)
        _names(chain[0])
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _BadFileError(
            path, "bad-certificate", f"the certificate in {str(file)!r} is damaged: {error}"
        ) from None
    return chain


def _check_key(file: Path, path: Place, chain: Sequence[x509.Certificate]) -> None:
    pem = _read(file, path)
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError:
        raise _BadFileError(
            path,
            "bad-key",
            f"the key in {str(file)!r} has a passphrase",
            f"remove it: openssl pkey -in {file} -out {file}.plain",
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise _BadFileError(
            path, "bad-key", f"no private key in {str(file)!r}", "expected PEM: -----BEGIN PRIVATE KEY-----"
        ) from None
    if not chain:
        return
    public = _public(key.public_key())
    if public == _public(chain[0].public_key()):
        return
    later = any(public == _public(certificate.public_key()) for certificate in chain[1:])
    raise _BadFileError(
        path,
        "key-mismatch",
        f"the key in {str(file)!r} does not belong to the certificate",
        "it belongs to a later one of the chain: the server's own has to come first" if later else None,
    )


def _public(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _names(certificate: x509.Certificate) -> frozenset[str]:
    """The host names that it is for; the common name is not one (RFC 9525, 6.3)."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(name.lower().rstrip(".") for name in extension.value.get_values_for_type(x509.DNSName))


def _validity(certificate: x509.Certificate, path: Place, now: datetime.datetime) -> Iterator[Finding]:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > ends:
        yield warning(
            path, "expired", f"this certificate expired {_days(now - ends)} ago, on {ends:%Y-%m-%d}"
        )
    elif now < begins:
        yield warning(
            path,
            "not-yet-valid",
            f"this certificate is not valid before {begins:%Y-%m-%d %H:%M} UTC",
            "is this machine's clock right?",
        )
    elif ends - now < SOON:
        yield warning(
            path, "expires-soon", f"this certificate expires in {_days(ends - now)}, on {ends:%Y-%m-%d}"
        )


def _days(time: datetime.timedelta) -> str:
    if time.days:
        return f"{time.days} day" + "s" * (time.days != 1)
    hours = time.seconds // 3600
    return f"{hours} hour" + "s" * (hours != 1)


def _not_covered(config: Config, leaves: Sequence[_Leaf]) -> Iterator[Finding]:
    has_default = any(leaf.default for leaf in leaves)
    for number, route in enumerate(config.routes):
        if route.mode is not Mode.TERMINATE:
            continue
        for index, pattern in enumerate(route.sni):
            if pattern.kind in (PatternKind.ANY, PatternKind.REGEX):
                continue  # which names will come nobody knows
            if not any(leaf.covers(pattern) for leaf in leaves):
                yield warning(
                    ("routes", number, "sni", index),
                    "name-not-covered",
                    f"no certificate covers {str(pattern)!r}",
                    "clients get the default one, and will not accept it"
                    if has_default
                    else "connections for names that no certificate covers are refused",
                )


def _never_used(config: Config, leaves: Sequence[_Leaf]) -> Iterator[Finding]:
    terminating = [route for route in config.routes if route.mode is Mode.TERMINATE]
    for leaf in leaves:
        if terminating and leaf.default:
            continue
        used = any(
            not route.sni or route.sni_regex or any(leaf.serves(pattern) for pattern in route.sni)
            for route in terminating
        )
        if not used:
            names = ", ".join(sorted(leaf.names)[:5]) or "no host name at all"
            yield warning(
                leaf.path, "unused-certificate", "no route uses this certificate", f"it is for {names}"
            )
