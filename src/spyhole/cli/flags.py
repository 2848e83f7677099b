"""The flags that say what to run: made from the configuration's model, so that each key is a flag.

`@config_options` gives a command these flags, and hands it a `Flags`, of which `load()` is the
configuration. The rules:

- Without `-c`, the flags alone are the configuration. Without `-c`, `--listen` and `--route`, it is
  `spyhole.toml` in the current directory, if there is one.
- With a file, flags of top-level keys (`--hello-timeout`) override the file's.
- `--listen`, `--route`, `--cert` and `--key` with a file are refused: whether they should add to its
  listeners and routes or replace them has no answer that surprises nobody.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import click

from spyhole.config.describe import Key, scalar_keys
from spyhole.config.loader import DEFAULT_FILE, Loaded, build, read
from spyhole.config.model import Group
from spyhole.config.problems import ConfigErrors, Problem, nearest, one_of
from spyhole.config.source import FlagSource
from spyhole.routing.route import Mode
from spyhole.upstreams.address import AddressError, parse_address

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from spyhole.config.model import Config
    from spyhole.config.positions import Path as Place

F = TypeVar("F", bound="Callable[..., Any]")


@dataclass(frozen=True, slots=True)
class Flags:
    """What was given on the command line; nothing is checked before `load`."""

    file: str | None = None
    listen: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    certs: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    scalars: Mapping[str, str] = field(default_factory=dict)
    """Texts by key: `{"hello_timeout": "5s"}`."""

    def load(self) -> Config:
        """The configuration; raises `ConfigErrors`. May be called again, for a reload."""
        return self.load_with_source().config

    def load_with_source(self) -> Loaded:
        """As `load`, with the source, for warnings."""
        file = self.file
        if file is None and not self._tables():
            if not Path(DEFAULT_FILE).exists():
                raise ConfigErrors([_NOTHING])
            file = DEFAULT_FILE
        return self._from_flags() if file is None else self._from_file(file)

    def _tables(self) -> dict[str, tuple[str, ...]]:
        given = {"--listen": self.listen, "--route": self.routes, "--cert": self.certs, "--key": self.keys}
        return {flag: values for flag, values in given.items() if values}

    def _from_file(self, file: str) -> Loaded:
        if refused := self._tables():
            raise ConfigErrors(
                [
                    Problem(
                        f"can't be combined with -c {file}",
                        "flag-with-file",
                        flag=_typed(flag, values[0]),
                        hint="write it in the file, or leave -c out",
                    )
                    for flag, values in refused.items()
                ]
            )
        document, file_source = read(file)
        origins: dict[Place, str] = {}
        for key, value in self._given():
            document[key.name] = value
            origins[key.name,] = _typed(_flag(key), self.scalars[key.name])
        source = FlagSource(origins, file_source)
        return Loaded(build(document, source, Path(file).parent), source)

    def _from_flags(self) -> Loaded:
        document: dict[str, Any] = {}
        origins: dict[Place, str] = {}
        problems: list[Problem] = []
        for key, value in self._given():
            document[key.name] = value
            origins[key.name,] = _typed(_flag(key), self.scalars[key.name])
        document["listeners"] = [{"bind": address} for address in self.listen]
        for index, address in enumerate(self.listen):
            origins["listeners", index] = _typed("--listen", address)
        document["routes"] = []
        for index, text in enumerate(self.routes):
            origins["routes", index] = _typed("--route", text)
            try:
                document["routes"].append(parse_route(text))
            except RouteFlagError as error:
                problems.append(error.problem)
                # It keeps its place, and says nothing that could be wrong once more.
                document["routes"].append({"mode": "reject"})
        document["certificates"] = []
        for index, (cert, key_file) in enumerate(zip_longest(self.certs, self.keys)):
            # One without the other is told of by itself, and must not make "no certificate" as well.
            pair = {
                "cert": key_file if cert is None else cert,
                "key": cert if key_file is None else key_file,
            }
            document["certificates"].append(pair)
            origins["certificates", index, "cert"] = _typed("--cert", pair["cert"])
            origins["certificates", index, "key"] = _typed("--key", pair["key"])
        problems += self._unpaired()
        source = FlagSource(origins, advice=_ADVICE)
        try:
            config = build(document, source, Path())
        except ConfigErrors as errors:
            raise ConfigErrors([*problems, *errors.problems]) from None
        if problems:
            raise ConfigErrors(problems)
        return Loaded(config, source)

    def _given(self) -> list[tuple[Key, object]]:
        given = [key for key in scalar_keys() if key.name in self.scalars]
        return [(key, _value(key, self.scalars[key.name])) for key in given]

    def _unpaired(self) -> list[Problem]:
        certs, keys = len(self.certs), len(self.keys)
        if certs == keys:
            return []
        flag, last = ("--cert", self.certs[-1]) if certs > keys else ("--key", self.keys[-1])
        other = "--key" if certs > keys else "--cert"
        return [
            Problem(
                f"{flag} without a {other}", "unpaired", flag=_typed(flag, last), expected=f"{other} FILE"
            )
        ]


def config_from_flags(
    *,
    file: str | None = None,
    listen: tuple[str, ...] = (),
    routes: tuple[str, ...] = (),
    certs: tuple[str, ...] = (),
    keys: tuple[str, ...] = (),
    **scalars: str,
) -> Config:
    """The configuration of a command line; `scalars` are the top-level keys. Raises `ConfigErrors`."""
    return Flags(file, listen, routes, certs, keys, scalars).load()


def fail(errors: ConfigErrors, *, status: int | None = None) -> NoReturn:
    """Ends the command: the errors on standard error, exit code 2 for flags alone, and else 1."""
    click.echo(str(errors), err=True)
    if status is None:
        status = 2 if errors.only_flags else 1
    click.get_current_context().exit(status)


_NOTHING: Final = Problem(
    f"no {DEFAULT_FILE} here, and no --listen and --route: give those, or name the file with -c FILE",
    "no-configuration",
)

_ADVICE: Final = {
    "no-listeners": "--listen ADDR, or -c FILE",
    "no-routes": "--route 'NAME=[MODE:]ADDR', or -c FILE",
    "no-certificate": "--cert FILE --key FILE",
}


# --route


class RouteFlagError(ValueError):
    """A `--route` that can't be read."""

    def __init__(
        self, text: str, message: str, *, expected: str | None = None, meant: str | None = None
    ) -> None:
        super().__init__(message)
        self.problem = Problem(
            message, "bad-route", flag=_typed("--route", text), expected=expected, suggestion=meant
        )


_ROUTE: Final = "NAME=[MODE:]ADDR or NAME=reject, as in 'git.example.com=10.0.0.5:443'"
_MODES: Final = [str(mode) for mode in Mode]


def parse_route(text: str) -> dict[str, str]:
    """The keys of the route that `NAME=[MODE:]ADDR` or `NAME=reject` says; raises `RouteFlagError`.

    An address may have colons in it: a MODE is what is one, and what can't begin an address.
    """
    name, equals, target = text.partition("=")
    if not equals:
        raise RouteFlagError(text, "there is no '=' in it", expected=_ROUTE)
    if not name:
        raise RouteFlagError(text, "a name is missing", expected=f"{_ROUTE}; '*' is any name")
    if target == Mode.REJECT:
        return {"sni": name, "mode": target}
    mode, _, address = target.partition(":")
    if mode in _MODES:
        if mode == Mode.REJECT:
            raise RouteFlagError(text, "a route that rejects has no address", meant=f"{name}=reject")
        if not address:
            raise RouteFlagError(text, f"mode {mode!r} without an address", expected=f"{name}={mode}:ADDR")
        _check_address(text, address)
        return {"sni": name, "mode": mode, "upstream": address}
    if not target:
        raise RouteFlagError(text, "an address is missing", expected=_ROUTE)
    try:
        parse_address(target)
    except AddressError as error:
        meant = nearest(mode, _MODES)
        if meant or _is_address(address):
            raise RouteFlagError(
                text, f"unknown mode {mode!r}", expected=None if meant else one_of(_MODES), meant=meant
            ) from None
        raise RouteFlagError(text, str(error)) from None
    return {"sni": name, "upstream": target}


def _check_address(text: str, address: str) -> None:
    try:
        parse_address(address)
    except AddressError as error:
        raise RouteFlagError(text, str(error)) from None


def _is_address(text: str) -> bool:
    try:
        parse_address(text)
    except AddressError:
        return False
    return True


# options


class GroupedOption(click.Option):
    """An option with a heading."""

    def __init__(self, *args: Any, heading: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.heading = heading


class GroupedCommand(click.Command):
    """A command that shows its options under their headings; those without one come last."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.context_settings.setdefault("max_content_width", 100)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                groups.setdefault(getattr(parameter, "heading", "Options"), []).append(record)
        for heading in sorted(groups, key=lambda heading: _HEADINGS.get(heading, len(_HEADINGS))):
            with formatter.section(heading):
                formatter.write_dl(groups[heading])


_HEADINGS: Final = {
    heading: place
    for place, heading in enumerate(
        [Group.ROUTING, Group.TIMEOUTS, Group.LIMITS, Group.LOGGING, Group.PROCESS, "Options"]
    )
}


def config_options(function: F) -> F:
    """Gives a command the flags of the configuration; its function gets them as `flags: Flags`.

    Use it with `click.command(cls=GroupedCommand)`.
    """

    @functools.wraps(function)
    def command(*args: Any, **values: Any) -> Any:
        scalars = {key.name: values.pop(key.name) for key in scalar_keys()}
        flags = Flags(
            file=values.pop("config_file"),
            listen=values.pop("listen"),
            routes=values.pop("route"),
            certs=values.pop("cert"),
            keys=values.pop("key"),
            scalars={name: value for name, value in scalars.items() if value is not None},
        )
        return function(*args, flags=flags, **values)

    for decorate in reversed([*_table_options(), *map(_scalar_option, scalar_keys())]):
        command = decorate(command)
    return command  # type: ignore[return-value]


def _table_options() -> list[Callable[[Any], Any]]:
    def option(*names: str, metavar: str, text: str, multiple: bool = True) -> Callable[[Any], Any]:
        return click.option(
            *names, cls=GroupedOption, heading=Group.ROUTING, metavar=metavar, help=text, multiple=multiple
        )

    return [
        option(
            "-c",
            "--config",
            "config_file",
            metavar="FILE",
            text=f"The configuration.  [default: {DEFAULT_FILE}, if there is one]",
            multiple=False,
        ),
        option("--listen", metavar="ADDR", text="Listen: IP:port, [IPv6]:port or unix:/path. Repeatable."),
        option(
            "--route",
            metavar="'NAME=[MODE:]ADDR'",
            text="Send connections for NAME to ADDR. MODE is passthrough (the default) or terminate; "
            "NAME=reject refuses. NAME is a server name, '*.example.com', '**.example.com' or '*'. "
            "Repeatable.",
        ),
        option("--cert", metavar="FILE", text="A certificate to terminate with. Repeatable, with --key."),
        option("--key", metavar="FILE", text="The private key of the --cert in the same place."),
    ]


def _scalar_option(key: Key) -> Callable[[Any], Any]:
    # A flag's paths start from the working directory.
    text = key.description.replace(" Relative to the configuration file.", "").replace("`", "")
    if key.default is not None:
        text += f"  [default: {key.default.strip(chr(34))}]"
    return click.option(
        _flag(key), key.name, cls=GroupedOption, heading=key.group, metavar=key.kind.metavar, help=text
    )


def _flag(key: Key) -> str:
    return "--" + key.name.replace("_", "-")


def _typed(flag: str, value: str) -> str:
    return f"{flag} {value!r}"


_WHOLE: Final = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_FRACTION: Final = re.compile(r"-?[0-9]{1,18}\.[0-9]{1,18}", re.ASCII)


def _value(key: Key, text: str) -> object:
    """What the text would be in a file: numbers stand there without quotes."""
    if key.kind.numeric:
        if _WHOLE.fullmatch(text):
            return int(text)
        if _FRACTION.fullmatch(text):
            return float(text)
    if key.kind.path and text not in ("", "-", "off"):
        return str(Path(text).absolute())
    return text
