"""What is wrong, or will be, with the certificates of a configuration.

They are read and chosen from by the same code that serves them: what has no error here, `run` can serve.
Names are looked up, not searched for: thousands of certificates for thousands of routes are usual.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from spyhole.certs.choose import CertificateTable
from spyhole.certs.store import read_certificates, refused
from spyhole.config.lint import warning
from spyhole.routing.patterns import ANY, NamePattern, PatternKind
from spyhole.routing.route import Mode

if TYPE_CHECKING:
    from spyhole.certs.certificate import Certificate
    from spyhole.certs.store import CertificateFiles
    from spyhole.config.model import Config
    from spyhole.config.positions import Path as Place
    from spyhole.config.problems import Finding

SOON: Final = datetime.timedelta(days=30)
"""A certificate that ends within this time is warned about: ACME clients renew this long before."""


def lint(config: Config, now: datetime.datetime | None = None) -> list[Finding]:
    """Errors (what `run` would refuse) and warnings, in no particular order."""
    now = now or datetime.datetime.now(datetime.UTC)
    certificates, findings = _read(config.certificates)
    for index, certificate in enumerate(certificates):
        if certificate is not None:
            findings += _by_itself(certificate, ("certificates", index, "cert"), now)
    usable = [certificate for certificate in certificates if certificate is not None]
    if len(usable) == len(certificates):
        findings += _not_covered(config, usable)
        findings += _never_used(config, usable)
    return findings


def errors_in(files: Iterable[CertificateFiles | None]) -> list[Finding]:
    """What `run` would refuse, when only these of a configuration's certificates are known."""
    return _read(files)[1]


def _read(files: Iterable[CertificateFiles | None]) -> tuple[list[Certificate | None], list[Finding]]:
    certificates, findings = read_certificates(files)
    return certificates, findings + refused(certificates)


def _by_itself(certificate: Certificate, path: Place, now: datetime.datetime) -> Iterator[Finding]:
    begins, ends = certificate.not_before, certificate.not_after
    if now > ends:
        ago = _days(now - ends)
        yield warning(path, "expired", f"this certificate expired {ago} ago, on {ends:%Y-%m-%d}")
    elif now < begins:
        text = f"this certificate is not valid before {begins:%Y-%m-%d %H:%M} UTC"
        yield warning(path, "not-yet-valid", text, "is this machine's clock right?")
    elif ends - now < SOON:
        left = _days(ends - now)
        yield warning(path, "expires-soon", f"this certificate expires in {left}, on {ends:%Y-%m-%d}")
    if certificate.chain_fault is not None:
        yield warning(path, "chain-order", "clients may refuse this chain", certificate.chain_fault)


def _days(time: datetime.timedelta) -> str:
    if time.days:
        return f"{time.days} day" + "s" * (time.days != 1)
    hours = time.seconds // 3600
    return f"{hours} hour" + "s" * (hours != 1)


def _not_covered(config: Config, certificates: Sequence[Certificate]) -> Iterator[Finding]:
    names = {name for certificate in certificates for name in certificate.names}
    above = {ancestor for name in names for ancestor in _ancestors(name)}
    hint = "connections for names that no certificate covers are refused"
    if any(certificate.default for certificate in certificates):
        hint = "clients get the default one, and will not accept it"
    for number, route in enumerate(config.routes):
        if route.mode is Mode.TERMINATE:
            for index, pattern in enumerate(route.sni):
                if not _is_covered(pattern, names, above):
                    text = f"no certificate covers {str(pattern)!r}"
                    yield warning(("routes", number, "sni", index), "name-not-covered", text, hint)


def _is_covered(pattern: NamePattern, names: set[str], above: set[str]) -> bool:
    """Whether every name of an exact or `*.` pattern is covered, and some name of a `**.` pattern."""
    if pattern.kind is PatternKind.EXACT:
        return pattern.name in names or "*." + pattern.name.partition(".")[2] in names
    if pattern.kind is PatternKind.ONE_LABEL:
        return "*." + pattern.name in names
    if pattern.kind is PatternKind.ANY_DEPTH:
        return pattern.name in above
    return True  # which names will come nobody knows


def _never_used(config: Config, certificates: Sequence[Certificate]) -> Iterator[Finding]:
    """Certificates that no name selects, or none that a terminate route takes."""
    terminating = [route for route in config.routes if route.mode is Mode.TERMINATE]
    wanted = {pattern for route in terminating for pattern in route.sni}
    any_name = ANY in wanted or any(not route.sni or route.sni_regex for route in terminating)
    parents = {pattern.name.partition(".")[2] for pattern in wanted if pattern.kind is PatternKind.EXACT}
    chosen = {one for choice in CertificateTable(certificates).choices for one in choice.certificates}
    for index, certificate in enumerate(certificates):
        path: Place = ("certificates", index, "cert")
        if certificate.names and certificate not in chosen:
            hint = "earlier ones with the same type of key have all of its names"
            yield warning(path, "unused-certificate", "this certificate is never chosen", hint)
            continue
        used = (
            certificate.default
            or any_name
            or any(_wants(name, wanted, parents) for name in certificate.names)
        )
        if not (terminating and used and certificate in chosen):
            names = ", ".join(certificate.names[:5]) or "no host name at all"
            text = "no route uses this certificate"
            yield warning(path, "unused-certificate", text, f"it is for {names}")


def _wants(name: str, wanted: set[NamePattern], parents: set[str]) -> bool:
    """Whether some name of the patterns `wanted` is covered by a certificate's `name`, maybe `*.a`."""
    first, _, rest = name.partition(".")
    if rest in parents if first == "*" else NamePattern(PatternKind.EXACT, name) in wanted:
        return True
    if NamePattern(PatternKind.ONE_LABEL, rest) in wanted:
        return True
    return any(NamePattern(PatternKind.ANY_DEPTH, ancestor) in wanted for ancestor in _ancestors(name))


def _ancestors(name: str) -> Iterator[str]:
    """`b.c` and `c` for `a.b.c`."""
    while name := name.partition(".")[2]:
        yield name
