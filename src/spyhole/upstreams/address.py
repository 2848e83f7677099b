"""Where to listen or dial, as the operator writes it: `host:port`, `[v6]:port` or `unix:path`.

Equal addresses are equal values: hosts are lower case and IPv6 is in its shortest form, so an address can
be a key. `str()` gives the text back.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Literal, TypeAlias

from spyhole.errors import OperatorError
from spyhole.routing.host_names import name_problem
from spyhole.routing.idna import AmbiguousLabelError, to_ascii

ANY_HOST: Final = "*"
"""The host of a listening address that takes every address of the machine, IPv4 and IPv6."""

MAX_UNIX_PATH: Final = 107
"""Bytes of `sun_path`, less the NUL that ends it (unix(7))."""


class AddressError(OperatorError, ValueError):
    """The operator's text is not an address; the message says what was expected."""


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A host and a port. `host` is an IPv4 or IPv6 address (no brackets; zone id after `%`), a host name
    in lower case, or `ANY_HOST` when listening."""

    host: str
    port: int
    family: Literal[4, 6] | None = field(init=False, compare=False, repr=False)
    """4 or 6; None when it is a name, which has to be resolved, or `ANY_HOST`, which is both."""
    text: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        # made once: both are asked for with each connection
        is_v6 = ":" in self.host
        family = 6 if is_v6 else 4 if _DOTTED.fullmatch(self.host) else None
        object.__setattr__(self, "family", family)
        object.__setattr__(
            self, "text", f"[{self.host}]:{self.port}" if is_v6 else f"{self.host}:{self.port}"
        )

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A unix socket's path, absolute or relative to the working directory."""

    path: str

    @property
    def text(self) -> str:
        """The address as an operator would write it."""
        return f"unix:{self.path}"

    def __str__(self) -> str:
        return self.text


Address: TypeAlias = TcpAddress | UnixAddress


def parse_address(text: str, *, listening: bool = False) -> Address:
    """The address that `text` says; raises `AddressError`.

    `listening` also takes `*` or nothing as the host, meaning every address of the machine, and port 0,
    meaning one that the kernel picks.
    """
    if text.startswith("unix:"):
        return _unix(text)
    if text.startswith("/"):
        raise AddressError(f"address {text!r}: write a unix socket as {'unix:' + text!r}")
    host, port = _split(text)
    return TcpAddress(_host(text, host, listening=listening), _port(text, port, listening=listening))


_DOTTED: Final = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+")
_PORT: Final = re.compile(r"0|[1-9][0-9]{0,4}")
# inet_aton, and so getaddrinfo, reads these as IPv4: "10.1" as 10.0.0.1, "0x7f000001" as 127.0.0.1
_NUMERIC_END: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)", re.ASCII)
# the kernel's rule for an interface name (dev_valid_name), less what would end the address
_ZONE: Final = re.compile(r"[^\s/%\]]{1,15}")


def _split(text: str) -> tuple[str, str]:
    """Host (IPv6 still in its brackets) and port, both unchecked."""
    if "://" in text:
        raise AddressError(f"address {text!r}: expected 'host:port', not a URL")
    if text.startswith("["):
        host, bracket, rest = text.partition("]")
        if not bracket:
            raise AddressError(f"address {text!r}: the bracket is not closed; expected '[::1]:443'")
        if not rest.startswith(":"):
            raise AddressError(f"address {text!r}: expected a port after the bracket, as in '{host}]:443'")
        return host + "]", rest[1:]
    host, colon, port = text.rpartition(":")
    if not colon:
        example = f"{text}:443" if text else "10.0.0.5:443"
        raise AddressError(
            f"address {text!r}: expected 'host:port' or 'unix:/path', for example {example!r}"
        )
    if ":" in host:
        whole = f"[{text}]:443" if _is_ipv6(text) else f"[{host}]:{port}"
        raise AddressError(f"address {text!r}: write an IPv6 address in brackets, for example {whole!r}")
    return host, port


def _host(text: str, host: str, *, listening: bool) -> str:
    if host in ("", ANY_HOST):
        if listening:
            return ANY_HOST
        raise AddressError(f"address {text!r}: expected a host before the port, for example '10.0.0.5:443'")
    if host.startswith("["):
        return _ipv6(text, host[1:-1])
    try:
        host = to_ascii(host).lower()
    except AmbiguousLabelError as error:
        raise AddressError(f"address {text!r}: {error}") from None
    if _NUMERIC_END.fullmatch(host):
        try:
            return str(IPv4Address(host))
        except ValueError:
            raise AddressError(
                f"address {text!r}: {host!r} is not an IPv4 address; expected four numbers of 0–255, "
                "no leading zeros"
            ) from None
    # the trailing dot stays: for the resolver it means "no search domains"
    problem = name_problem(host.removesuffix(".").encode("ascii"))
    if problem is not None:
        raise AddressError(f"address {text!r}: the host is not a host name: {problem}")
    return host


def _ipv6(text: str, inside: str) -> str:
    address, percent, zone = inside.partition("%")
    if percent and not _ZONE.fullmatch(zone):
        raise AddressError(
            f"address {text!r}: expected an interface after the '%', as in '[fe80::1%eth0]:443'"
        )
    try:
        parsed = IPv6Address(address)
    except ValueError:
        raise AddressError(
            f"address {text!r}: {address!r} is not an IPv6 address, and brackets are for IPv6 only"
        ) from None
    # RFC 5952, 5: a mapped IPv4 address in dots, as inet_ntop writes it; Python does from 3.13 on only.
    mapped = parsed.ipv4_mapped
    return f"{parsed.compressed if mapped is None else f'::ffff:{mapped}'}{percent}{zone}"


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _port(text: str, port: str, *, listening: bool) -> int:
    lowest = 0 if listening else 1
    number = int(port) if _PORT.fullmatch(port) else -1
    if not lowest <= number <= 65535:
        raise AddressError(f"address {text!r}: port {port!r}: expected a number from {lowest} to 65535")
    return number


def _unix(text: str) -> UnixAddress:
    path = text.removeprefix("unix:")
    if not path:
        raise AddressError(f"address {text!r}: expected a path, for example 'unix:/run/spyhole.sock'")
    if path.startswith("//"):
        raise AddressError(f"address {text!r}: expected one slash, as in {'unix:/' + path.lstrip('/')!r}")
    if path.startswith("@"):
        raise AddressError(
            f"address {text!r}: abstract unix sockets are not supported; "
            f"a file of that name is {'unix:./' + path!r}"
        )
    if "\0" in path:
        raise AddressError(f"address {text!r}: a path has no NUL in it")
    try:
        size = len(os.fsencode(path))
    except UnicodeEncodeError:
        raise AddressError(f"address {text!r}: the path can't be encoded for this file system") from None
    if size > MAX_UNIX_PATH:
        raise AddressError(
            f"address {text!r}: a path of {size} bytes, where the kernel takes {MAX_UNIX_PATH}; "
            "use a shorter one"
        )
    return UnixAddress(path)
