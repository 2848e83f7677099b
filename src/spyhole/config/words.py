"""Names, addresses, networks, paths and choices: values of the configuration that are words, each parsed
once into what the code uses. See `config/values.py`."""

from __future__ import annotations

import os
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import (
    BeforeValidator,
    PlainSerializer,
    PlainValidator,
    StrictBool,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from spyhole.config.problems import nearest, one_of
from spyhole.config.values import Kind, fault, quoted, wrong_type
from spyhole.routing.patterns import NamePattern, PatternError, compile_regex
from spyhole.routing.route import Mode
from spyhole.upstreams.address import Address, AddressError, TcpAddress, UnixAddress, parse_address

DIRECTORY: Final = "directory"
"""The key of the validation context that has the directory which relative paths start from."""


def text_of(value: object, expected: str) -> str:
    """`value`, if it is a string, and one that is not empty."""
    if not isinstance(value, str):
        wrong_type(value, expected)
    if not value:
        raise fault("empty", "an empty string", expected=expected)
    return value


# one or many

_T = TypeVar("_T")


def _listed(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return value
    return [value]


OneOrMany = Annotated[tuple[_T, ...], BeforeValidator(_listed)]
"""A value, or a list of such values."""


def not_empty(value: tuple[_T, ...]) -> tuple[_T, ...]:
    if not value:
        raise fault("empty", "an empty list", expected="at least one")
    return value


# choices


def choice(choices: tuple[str, ...]) -> BeforeValidator:
    """Says what was probably meant, where the value is none of the choices."""

    def check(value: object) -> object:
        if value in choices:
            return value
        suggestion = None
        if isinstance(value, str):
            suggestion = nearest(value, choices)
        elif isinstance(value, (int, float)) and str(value) in choices:
            raise fault("wrong-type", f"wrong type: {value} without quotes", expected=f'"{value}"')
        else:
            wrong_type(value, one_of(choices))
        raise fault(
            "unknown-value", f"unknown value {value!r}", expected=one_of(choices), suggestion=suggestion
        )

    return BeforeValidator(check)


def _of(choices: tuple[str, ...]) -> Kind:
    return Kind("one of " + ", ".join(f'"{text}"' for text in choices), "|".join(choices), quoted)


_FORMATS: Final = ("json", "human")
_LEVELS: Final = ("debug", "info", "warning", "error")
_VERSIONS: Final = ("1.2", "1.3")
_MODES: Final = tuple(str(mode) for mode in Mode)

LogFormat = Annotated[Literal["json", "human"], choice(_FORMATS), _of(_FORMATS)]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], choice(_LEVELS), _of(_LEVELS)]
TlsVersion = Annotated[Literal["1.2", "1.3"], choice(_VERSIONS), _of(_VERSIONS)]
RouteMode = Annotated[Mode, choice(_MODES), _of(_MODES)]


def _parse_boolean(value: object) -> object:
    if not isinstance(value, bool):
        meant = value.lower() if isinstance(value, str) and value.lower() in ("true", "false") else None
        wrong_type(value, f"{meant}, without quotes" if meant else "true or false")
    return value


Boolean = Annotated[StrictBool, BeforeValidator(_parse_boolean), Kind("boolean", "BOOL", quoted)]


# addresses


def _parse(text: str, parser: Callable[[str], Any], code: str) -> Any:
    try:
        return parser(text)
    except (AddressError, PatternError) as error:
        raise fault(code, str(error)) from None


def _parse_bind(value: object) -> Address:
    expected = "an address and a port, as in '0.0.0.0:443', '[::]:443' or 'unix:/run/spyhole.sock'"
    text = text_of(value, expected)
    if text.isdecimal():
        raise fault(
            "bad-address", f"{text!r} has no address", expected=expected, suggestion=f"0.0.0.0:{text}"
        )
    address: Address = _parse(text, lambda text: parse_address(text, listening=True), "bad-address")
    if isinstance(address, TcpAddress) and address.family is None and address.host != "*":
        local = address.host == "localhost"
        raise fault(
            "bad-address",
            f"{text!r}: a listener takes an IP address, not a name",
            expected=None if local else expected,
            suggestion=f"127.0.0.1:{address.port}" if local else None,
        )
    return address


def name_of_first(bind: object) -> str | None:
    """The first of a listener's addresses, as text; None where it has no valid one."""
    first = bind[0] if isinstance(bind, (list, tuple)) and bind else bind
    try:
        return str(_parse_bind(first))
    except PydanticCustomError:
        return None


def _placed(address: Address, info: ValidationInfo) -> Address:
    """A unix socket's path starts where every path of the configuration does."""
    directory = str((info.context or {}).get(DIRECTORY, ""))
    if isinstance(address, TcpAddress) or directory in ("", "."):
        return address
    # not pathlib: it would make the path "@x" of "./@x", which is no address
    path = os.path.join(directory, address.path)  # noqa: PTH118
    placed: Address = _parse(f"unix:{path}", parse_address, "bad-address")
    return placed


def _parse_server(value: object) -> Address:
    expected = "an address and a port, as in '10.0.0.5:443', '[::1]:443', 'name:443' or 'unix:/path'"
    address: Address = _parse(text_of(value, expected), parse_address, "bad-address")
    return address


def is_address(reference: str) -> bool:
    """Whether a route's `upstream` is an address itself: names of upstreams have no colon in them."""
    return ":" in reference or reference.startswith("/")


def _parse_upstream(value: object, info: ValidationInfo) -> str:
    expected = "the X of an [upstreams.X], or an address as in '10.0.0.5:443' or 'unix:/path'"
    text = text_of(value, expected)
    return str(_placed(_parse_server(text), info)) if is_address(text) else text


_ADDRESS_SCHEMA: Final = {"type": "string", "pattern": "^(unix:.+|.*:[0-9]+)$"}
_AS_TEXT: Final = PlainSerializer(str, return_type=str)
BindAddress = Annotated[
    TcpAddress | UnixAddress,
    PlainValidator(lambda value, info: _placed(_parse_bind(value), info)),
    _AS_TEXT,
    WithJsonSchema(_ADDRESS_SCHEMA),
    Kind("address", "ADDR", quoted),
]
ServerAddress = Annotated[
    TcpAddress | UnixAddress,
    PlainValidator(lambda value, info: _placed(_parse_server(value), info)),
    _AS_TEXT,
    WithJsonSchema(_ADDRESS_SCHEMA),
    Kind("address", "ADDR", quoted),
]
UpstreamReference = Annotated[
    str,
    PlainValidator(_parse_upstream),
    WithJsonSchema({"type": "string", "minLength": 1}),
    Kind("name of an upstream, or address", "UPSTREAM", quoted),
]


# names


def _parse_pattern(value: object) -> NamePattern:
    text = text_of(
        value, "a server name, as in 'www.example.com', '*.example.com', '**.example.com' or '*'"
    )
    pattern: NamePattern = _parse(text, NamePattern.parse, "bad-pattern")
    return pattern


def _parse_regex(value: object) -> str:
    text = text_of(value, "a regular expression")
    _parse(text, compile_regex, "bad-regex")
    return text


def _parse_protocol(value: object) -> str:
    if not isinstance(value, str):
        wrong_type(value, "an ALPN protocol, as in 'h2' or 'http/1.1', or \"\" for clients that offer none")
    if len(value.encode("utf-8", "surrogatepass")) > 255:
        raise fault(
            "bad-protocol", "an ALPN protocol of more than 255 bytes", expected="1 to 255 bytes (RFC 7301)"
        )
    return value


def _parse_name(value: object) -> str:
    return text_of(value, "a name")


Pattern = Annotated[
    NamePattern,
    PlainValidator(_parse_pattern),
    _AS_TEXT,
    WithJsonSchema({"type": "string", "minLength": 1}),
    Kind("name pattern", "NAME", quoted),
]
Regex = Annotated[
    str,
    PlainValidator(_parse_regex),
    WithJsonSchema({"type": "string", "format": "regex", "minLength": 1}),
    Kind("regular expression", "REGEX", quoted),
]
Protocol = Annotated[
    str,
    PlainValidator(_parse_protocol),
    WithJsonSchema({"type": "string", "maxLength": 255}),
    Kind("ALPN protocol", "PROTO", quoted),
]
Name = Annotated[
    str,
    PlainValidator(_parse_name),
    WithJsonSchema({"type": "string", "minLength": 1}),
    Kind("string", "NAME", quoted),
]


# networks


def _parse_network(value: object) -> IPv4Network | IPv6Network:
    expected = "a network or an address, as in '10.0.0.0/8' or '2001:db8::/32'"
    text = text_of(value, expected)
    try:
        return ip_network(text)
    except ValueError:
        pass
    try:
        right = ip_network(text, strict=False)
    except ValueError:
        raise fault("bad-network", f"{text!r} is not a network", expected=expected) from None
    raise fault(
        "bad-network",
        f"{text!r} has host bits set",
        expected=f"'{right}' for the whole network, or '{text.partition('/')[0]}' for the one address",
        suggestion=str(right),
    )


Network = Annotated[
    IPv4Network | IPv6Network,
    PlainValidator(_parse_network),
    _AS_TEXT,
    WithJsonSchema({"type": "string", "pattern": r"^[0-9A-Fa-f.:]+(/[0-9.]+)?$"}),
    Kind("network", "NETWORK", quoted),
]


# paths


def _parse_path(value: object, info: ValidationInfo) -> Path:
    if isinstance(value, Path):
        return value
    text = text_of(value, "a path")
    if "\0" in text:
        raise fault("bad-path", "a path has no NUL in it")
    return Path((info.context or {}).get(DIRECTORY, "")) / text


def _parse_log_target(value: object, info: ValidationInfo) -> Path | Literal["-", "off"]:
    if value == "-" or value == "off":
        return value
    if value is False:
        wrong_type(value, 'a path, "-" or "off"', suggestion="off")
    return _parse_path(value, info)


FilePath = Annotated[
    Path,
    PlainValidator(_parse_path),
    WithJsonSchema({"type": "string", "minLength": 1}),
    Kind("path", "FILE", quoted, path=True),
]
LogTarget = Annotated[
    Path | Literal["-", "off"],
    PlainValidator(_parse_log_target),
    WithJsonSchema({"type": "string", "minLength": 1}),
    Kind('path, "-" or "off"', "FILE|-|off", quoted, path=True),
]
ErrorLogTarget = Annotated[
    Path | Literal["-"],
    PlainValidator(lambda value, info: _parse_path(value, info) if value != "-" else value),
    WithJsonSchema({"type": "string", "minLength": 1}),
    Kind('path, or "-"', "FILE|-", quoted, path=True),
]
