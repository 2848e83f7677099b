"""Server names: those that are routed, those that are not, and what is no name at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spyhole.conformance.case import Case, Group, Severity
from spyhole.conformance.cases.plain import NAME
from spyhole.conformance.hello import TLS13, Extension, Vector, browser, client_hello, encode, server_name
from spyhole.conformance.records import records
from spyhole.conformance.routes import (
    A_LABEL_NAME,
    BETA_NAME,
    DOMAIN,
    LONG_LABEL_NAME,
    LONGEST_NAME,
    UNDERSCORE_NAME,
    Routes,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_BETA: Final = BETA_NAME.encode()

_CASE: Final = "host names are compared without regard to case (RFC 6066, 3; RFC 4343)"
_DOT: Final = "a name has no trailing dot (RFC 6066, 3), but with one it is still the same host"
_EXACT: Final = "an exact name takes that name only"
_HOST: Final = "no host name (RFC 6066, 3; RFC 1123, 2.1): it must not pass for one that is"
_LIMITS: Final = "63 bytes a label, 253 in all (RFC 1035, 2.3.4)"
_LITERAL: Final = "an address is no server name (RFC 6066, 3): refused, or as if there were none"
_LIST: Final = "one name of each type, none empty (RFC 6066, 3)"


def cases(routes: Routes) -> list[Case]:
    return [*_routed(routes), *_lookalikes(), *_not_hosts(), *_long(), *_lists()]


def _case(
    label: str,
    name: bytes | None,
    why: str,
    severity: Severity = Severity.MEDIUM,
    cve: str = "",
    *,
    names: Extension | None = None,
    may_refuse: bool = False,
) -> Case:
    size = 517 if name is None or len(name) < 100 else None
    wire = records(encode(browser(name, names=names, size=size)))
    return Case(Group.NAMES, label, why, wire, severity, cve, name, may_refuse=may_refuse)


def _routed(routes: Routes) -> Iterator[Case]:
    high = Severity.HIGH
    names = list(routes.names)
    yield _case("the first route's name", NAME, "the plainest case there is", high)
    yield _case(
        "the route in the middle", names[len(names) // 2].encode(), "the plainest case there is", high
    )
    yield _case("the last route's name", names[-1].encode(), "the plainest case there is", high)
    yield _case("a name without a route", f"nobody.{DOMAIN}".encode(), "the default is for these", high)
    yield _case("upper case", NAME.upper(), _CASE, high, "CVE-2026-53622")
    yield _case("mixed case", b"aLpHa.cOnFoRmAnCe.TeSt", _CASE, high, "CVE-2026-53622")
    yield _case("a trailing dot", NAME + b".", _DOT, cve="CVE-2022-23632")
    yield _case("upper case and a trailing dot", NAME.upper() + b".", _DOT, cve="CVE-2022-23632")
    yield _case("an underscore", UNDERSCORE_NAME.encode(), "not RFC 1123, but real hosts have it", high)
    yield _case("an A-label", A_LABEL_NAME.encode(), "how other scripts travel (RFC 5890, 2.3.2.1)", high)
    yield _case("a label of 63 bytes", LONG_LABEL_NAME.encode(), _LIMITS, high)
    yield _case("a name of 253 bytes", LONGEST_NAME.encode(), _LIMITS, high)
    yield _case("a name of 253 bytes and a trailing dot", LONGEST_NAME.encode() + b".", _DOT)
    for place, extensions in {
        "first": [server_name(NAME), *TLS13],
        "last": [*TLS13, server_name(NAME)],
    }.items():
        yield Case(
            Group.NAMES,
            f"the name in the {place} extension",
            "extensions come in any order (RFC 8446, 4.2)",
            records(encode(client_hello(extensions))),
            high,
        )


def _lookalikes() -> Iterator[Case]:
    high = Severity.HIGH
    for label, name in {
        "one label more": b"www." + NAME,
        "one label less": DOMAIN.encode(),
        "a longer first label": b"x" + NAME,
        "a shorter first label": NAME[1:],
        "another domain behind it": NAME + b".example",
        "a longer last label": NAME + b"x",
        "a letter for the dot": NAME.replace(b".", b"x", 1),
    }.items():
        yield _case(label, name, _EXACT, high)


def _not_hosts() -> Iterator[Case]:
    high = Severity.HIGH
    for label, name in {
        "a leading dot": b"." + NAME,
        "an empty label": NAME.replace(b".", b"..", 1),
        "two trailing dots": NAME + b"..",
        "a dot and nothing else": b".",
        "NUL behind the name": NAME + b"\0",
        "NUL and another name": NAME + b"\0." + _BETA,
        "NUL before the name": b"\0" + NAME,
        "a newline behind the name": NAME + b"\n",
        "a newline and another name": NAME + b"\n" + _BETA,
        "CR LF behind the name": NAME + b"\r\n",
        "a space behind the name": NAME + b" ",
        "a space before the name": b" " + NAME,
        "a tab behind the name": NAME + b"\t",
        "a port": NAME + b":443",
        "a path": NAME + b"/",
        "a user": b"user@" + NAME,
        "UTF-8": f"bücher.{DOMAIN}".encode(),
        "UTF-8 that looks like ASCII": "аlpha.conformance.test".encode(),
        "full-width letters": "ａlpha.conformance.test".encode(),
        "an ideographic full stop": "alpha。conformance.test".encode(),
        "Latin-1": f"bücher.{DOMAIN}".encode("latin-1"),
        "bytes that are no text": b"\xff\xfe." + DOMAIN.encode(),
        "the soft hyphen of IDNA": "al\xadpha.conformance.test".encode(),
        "an asterisk": f"*.{DOMAIN}".encode(),
        "an asterisk alone": b"*",
        "quotes": b'"' + NAME + b'"',
        "a backslash": NAME.replace(b".", b"\\.", 1),
        "a percent escape": NAME.replace(b".", b"%2e", 1),
        "a comma and another name": NAME + b"," + _BETA,
        "a semicolon and another name": NAME + b";" + _BETA,
        "an escape sequence": b"\x1b[31m" + NAME,
    }.items():
        yield _case(label, name, _HOST, high)
    for label, name in {
        "an IPv4 address": b"192.0.2.1",
        "an IPv4 address and a trailing dot": b"192.0.2.1.",
        "an IPv6 address": b"2001:db8::1",
        "an IPv6 address in brackets": b"[2001:db8::1]",
        "the unspecified address": b"::",
    }.items():
        yield _case(label, name, _LITERAL, cve="CVE-2023-25076" if b":" in name else "")


def _long() -> Iterator[Case]:
    for label, name in {
        "a label of 64 bytes": b"l" * 64 + b"." + DOMAIN.encode(),
        "a name of 254 bytes": b"n" + LONGEST_NAME.encode(),
        "a name of 255 bytes": b"nn" + LONGEST_NAME.encode(),
        "a name of 256 bytes": b"nn." + LONGEST_NAME.encode(),
        "a name of 1,000 bytes": b"n" * 990 + b".test.test",
        "a name of 1,000 bytes that ends in a route's": b"n." * 489 + NAME,
        "a name of 60,000 bytes": b"n" * 60_000,
    }.items():
        yield _case(label, name, _LIMITS, Severity.MEDIUM, "CVE-2023-25076")
    # 65,535 bytes is more than the list has room for, and proxies may have a cap of 64 KiB for a hello
    size = (64 << 10) - len(encode(client_hello([server_name(b""), *TLS13])))
    yield Case(
        Group.NAMES,
        f"a name of {size:,} bytes, in a hello of 64 KiB",
        _LIMITS,
        records(encode(client_hello([server_name(b"n" * size), *TLS13]))),
        cve="CVE-2023-25076",
    )
    listed = Vector("server_name: list", 2, (b"\0\xff\xff", NAME))
    yield _case(
        "a name that says to have 65,535 bytes",
        NAME,
        "lengths that disagree are no name (RFC 8446, 3.4)",
        names=Extension(0, "server_name", (listed,)),
    )


def _lists() -> Iterator[Case]:
    high = Severity.HIGH
    other = server_name(b"something else", kind=1).content[0]
    host = server_name(NAME).content[0]
    assert isinstance(other, Vector)
    assert isinstance(host, Vector)
    both = "two names, of which two readers take two"

    def listed(*entries: Vector) -> Extension:
        content = tuple(node for entry in entries for node in entry.content)
        return Extension(0, "server_name", (Vector("server_name: list", 2, content),))

    yield _case("no name", None, "a client need not send one (RFC 6066, 3)")
    yield _case("an empty server_name extension", None, _LIST, names=Extension(0, "server_name", ()))
    yield _case("an empty list", None, _LIST, names=server_name())
    yield _case("an empty name", b"", _LIST)
    yield _case("two names", NAME, both, high, names=server_name(NAME, _BETA))
    yield _case("the same name twice", NAME, _LIST, names=server_name(NAME, NAME))
    yield _case("an unknown name type first", NAME, both, high, names=listed(other, host))
    yield _case("an unknown name type last", NAME, both, high, names=listed(host, other))
    yield _case("an unknown name type alone", None, _LIST, names=server_name(NAME, kind=1))
    yield _case("name type 255", None, _LIST, names=server_name(NAME, kind=255))
    for label, names in {
        "two server_name extensions": (NAME, _BETA),
        "two server_name extensions, the other first": (_BETA, NAME),
        "two server_name extensions, both the same": (NAME, NAME),
    }.items():
        first, second = map(server_name, names)
        for place, extensions in {
            "together": [first, second, *TLS13],
            "apart": [first, *TLS13, second],
        }.items():
            yield Case(
                Group.NAMES,
                f"{label}, {place}",
                "an extension comes once (RFC 8446, 4.2), or two readers take two names",
                records(encode(client_hello(extensions))),
                high,
                server_name=names[0],
            )
