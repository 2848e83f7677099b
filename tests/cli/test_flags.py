"""The flags of `run`: every key is one, and a mistake names the flag."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from spyhole.cli.flags import (
    Flags,
    GroupedCommand,
    RouteFlagError,
    config_from_flags,
    config_options,
    fail,
    parse_route,
)
from spyhole.config.describe import scalar_keys
from spyhole.config.loader import load
from spyhole.config.problems import ConfigErrors
from spyhole.routing.route import Mode

LISTEN = ("127.0.0.1:0",)
ROUTE = ("*=127.0.0.1:1",)
FILE = '[[listeners]]\nbind = "*:443"\n[[routes]]\nmode = "reject"\n'


@click.command(cls=GroupedCommand)
@config_options
def probe(flags: Flags) -> None:
    """A command with the flags."""
    try:
        click.echo(repr(flags.load()))
    except ConfigErrors as errors:
        fail(errors)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(probe, list(arguments))


def errors(**flags: object) -> list[str]:
    with pytest.raises(ConfigErrors) as raised:
        config_from_flags(**{"listen": LISTEN, "routes": ROUTE, **flags})  # type: ignore[arg-type]
    assert raised.value.only_flags == ("file" not in flags)
    return [str(problem) for problem in raised.value.problems]


def test_flags_alone_are_a_configuration() -> None:
    config = config_from_flags(
        listen=("127.0.0.1:8443", "unix:/run/x.sock"),
        routes=("git.test=127.0.0.1:9443", "*.shop.test=terminate:[::1]:80", "*=reject"),
        certs=("a.pem", "b.pem"),
        keys=("a.key", "b.key"),
        workers="1",
        idle_timeout="0.5",
        max_hello_size="16KiB",
        access_log="off",
    )
    assert [listener.name for listener in config.listeners] == ["127.0.0.1:8443", "unix:/run/x.sock"]
    assert [(route.mode, route.upstream) for route in config.routes] == [
        (Mode.PASSTHROUGH, "127.0.0.1:9443"),
        (Mode.TERMINATE, "[::1]:80"),
        (Mode.REJECT, None),
    ]
    assert [(pair.cert, pair.key) for pair in config.certificates] == [
        (Path("a.pem"), Path("a.key")),
        (Path("b.pem"), Path("b.key")),
    ]
    assert (config.workers, config.idle_timeout, config.max_hello_size) == (1, 0.5, 16_384)
    assert config.access_log == "off"


@pytest.mark.parametrize("key", scalar_keys(), ids=lambda key: key.name)
def test_every_top_level_key_is_a_flag_and_means_the_same(key: object, tmp_path: Path) -> None:
    assert hasattr(key, "examples")
    shown = key.examples[0]  # type: ignore[attr-defined]
    name = key.name  # type: ignore[attr-defined]
    file = tmp_path / "spyhole.toml"
    written = f'"{shown}"' if isinstance(shown, str) else shown
    file.write_text(
        f'{name} = {written}\nlisteners = [{{ bind = "127.0.0.1:0" }}]\nroutes = [{{ upstream = "a:1" }}]'
    )
    assert getattr(config_from_flags(listen=LISTEN, routes=ROUTE, **{name: str(shown)}), name) == getattr(
        load(file), name
    )
    flag = "--" + name.replace("_", "-")
    assert flag in invoke("--help").output
    assert invoke("--listen", *LISTEN, "--route", *ROUTE, flag, str(shown)).exit_code == 0


# --route

addresses = st.sampled_from(
    [
        "10.0.0.5:443",
        "[::1]:443",
        "name:443",
        "unix:/run/x",
        "unix:/a:b",
        "unix:rel",
        "terminator:1",
        "reject.test:1",
    ]
)


@given(
    name=st.sampled_from(["a.test", "*", "*.a.test", "**.a.test"]),
    mode=st.sampled_from(["", "passthrough:", "terminate:"]),
    address=addresses,
)
def test_routes_of_every_form(name: str, mode: str, address: str) -> None:
    expected = {"sni": name, "upstream": address} | ({"mode": mode.rstrip(":")} if mode else {})
    assert parse_route(f"{name}={mode}{address}") == expected


@given(st.text(max_size=20))
def test_any_text_is_a_route_or_an_error(text: str) -> None:
    try:
        route = parse_route(text)
    except RouteFlagError as error:
        problem = str(error.problem)
    else:
        problem = f"error: --route {text!r}: " if route.keys() <= {"sni", "mode", "upstream"} else ""
    assert problem.startswith(f"error: --route {text!r}: ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x=terminat:1.2.3.4:5", "unknown mode 'terminat', did you mean 'terminate'?"),
        ("x=pass:1.2.3.4:5", "unknown mode 'pass', did you mean 'passthrough'?"),
        ("x=tls:1.2.3.4:5", "unknown mode 'tls', expected 'passthrough', 'terminate' or 'reject'"),
        ("x=rejct", "unknown mode 'rejct', did you mean 'reject'?"),
        ("x=reject:a:1", "a route that rejects has no address, did you mean 'x=reject'?"),
        ("x=terminate", "mode 'terminate' without an address, expected x=terminate:ADDR"),
        ("x=terminate:", "mode 'terminate' without an address, expected x=terminate:ADDR"),
        ("x=", "an address is missing"),
        ("=a:1", "a name is missing"),
        ("10.0.0.5:443", "there is no '=' in it"),
        ("x=10.0.0.5", "expected 'host:port' or 'unix:/path'"),
        ("x=::1:443", "write an IPv6 address in brackets"),
        ("x=https://a:1", "not a URL"),
        ("x=terminate:10.0.0.5", "expected 'host:port' or 'unix:/path'"),
        ("x=a:70000", "expected a number from 1 to 65535"),
        ("x*y=a:1", "a star stands for whole labels"),
        ("10.0.0.1=a:1", "an IP address is not a server name"),
    ],
)
def test_mistakes_in_a_route(text: str, said: str) -> None:
    (error,) = errors(routes=(text,), certs=("c",), keys=("k",))
    assert error.startswith(f"error: --route {text!r}: ")
    assert said in error


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            {"listen": ("localhost:1",)},
            "--listen 'localhost:1': 'localhost:1': a listener takes an IP address",
        ),
        ({"listen": ("*:1", "*:1")}, "--listen '*:1': '*:1' is bound twice"),
        ({"listen": ()}, "no listeners, expected --listen ADDR, or -c FILE"),
        ({"routes": ()}, "no routes, expected --route 'NAME=[MODE:]ADDR', or -c FILE"),
        (
            {"routes": ("x=terminate:a:1",)},
            "mode 'terminate' needs a certificate, and there is none, expected --cert",
        ),
        ({"certs": ("c",)}, "--cert 'c': --cert without a --key, expected --key FILE"),
        ({"keys": ("k",)}, "--key 'k': --key without a --cert, expected --cert FILE"),
        ({"certs": ("",), "keys": ("k",)}, "--cert '': an empty string"),
        ({"hello_timeout": "5x"}, "--hello-timeout '5x': '5x' is not a duration"),
        ({"hello_timeout": "off"}, "--hello-timeout 'off': this can't be off"),
        ({"workers": "many"}, "--workers 'many': 'many' is not a number"),
        ({"workers": "1.5"}, "--workers '1.5': wrong type: a float"),
        ({"workers": "9" * 100}, "--workers"),
        ({"log_level": "inf"}, "did you mean 'info'?"),
        ({"access_log": ""}, "--access-log '': an empty string"),
        ({"min_version": "1.1"}, "--min-version '1.1': unknown value '1.1'"),
        ({"user": ""}, "--user '': an empty string"),
    ],
)
def test_mistakes_in_the_others(flags: dict[str, object], said: str) -> None:
    (error,) = errors(**flags)
    assert said in error


def test_all_mistakes_at_once() -> None:
    found = errors(listen=("x",), routes=("y",), certs=("c",), workers="z")
    assert [error.split()[1] for error in found] == ["--route", "--cert", "--workers", "--listen"]


# with a file


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "etc" / "spyhole.toml"
    path.parent.mkdir()
    path.write_text('idle_timeout = "2h"\nlog_level = "debug"\nerror_log = "e.log"\n' + FILE)
    return path


def test_flags_override_the_file(file: Path, tmp_path: Path) -> None:
    config = config_from_flags(file=str(file), idle_timeout="3h", access_log="a.log")
    assert (config.idle_timeout, config.log_level) == (3 * 3600, "debug")
    assert (config.error_log, config.access_log) == (file.parent / "e.log", tmp_path / "a.log")


def test_a_mistake_in_a_flag_names_the_flag_and_the_others_their_line(file: Path) -> None:
    file.write_text(FILE.replace("mode", "mdoe"))
    found = errors(file=str(file), listen=(), routes=(), idle_timeout="5x")
    assert found[0].startswith("error: --idle-timeout '5x': ")
    assert found[1].startswith(f"{file}:4:1: error: ")


@pytest.mark.parametrize("flag", ["--listen", "--route", "--cert", "--key"])
def test_tables_do_not_mix_with_a_file(file: Path, flag: str) -> None:
    result = invoke("-c", str(file), flag, "x=a:1")
    assert result.exit_code == 2
    assert (
        f"{flag} 'x=a:1': can't be combined with -c {file}, write it in the file, or leave -c out"
        in result.output
    )


def test_the_file_in_the_current_directory(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    assert config_from_flags().log_level == "debug"
    assert config_from_flags(workers="3").workers == 3
    assert config_from_flags(listen=LISTEN, routes=ROUTE).log_level == "info"


# the command


def test_exit_codes(file: Path) -> None:
    assert invoke("--listen", "127.0.0.1:0", "--route", "*=a:1").exit_code == 0
    assert invoke("--listen", "127.0.0.1:0", "--route", "*").exit_code == 2
    assert invoke().exit_code == 2
    assert invoke("--no-such-flag").exit_code == 2
    file.write_text("x = 1")
    assert invoke("-c", str(file)).exit_code == 1
    assert invoke("-c", "none.toml").exit_code == 1


def test_help_has_headings_and_defaults() -> None:
    text = invoke("--help").output
    headings = [line for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings == ["Routing:", "Timeouts:", "Limits:", "Logging:", "Process:", "Options:"]
    assert "[default: 5s]" in text
    assert "Relative to the configuration file" not in " ".join(text.split())


words = st.text(max_size=12) | st.sampled_from(
    ["*=a:1", "a=terminate:a:1", "*:1", "[::1]:1", "off", "auto", "1e9"]
)


@settings(max_examples=200)
@given(
    listen=st.lists(words, max_size=2).map(tuple),
    routes=st.lists(words, max_size=2).map(tuple),
    pairs=st.lists(st.tuples(words, words), max_size=2),
    scalars=st.dictionaries(st.sampled_from([key.name for key in scalar_keys()]), words, max_size=3),
)
def test_any_words_are_a_configuration_or_errors(
    listen: tuple[str, ...],
    routes: tuple[str, ...],
    pairs: list[tuple[str, str]],
    scalars: dict[str, str],
) -> None:
    certs, keys = tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)
    flags = Flags(None, listen or LISTEN, routes, certs, keys, scalars)
    with contextlib.suppress(ConfigErrors):
        flags.load()


def test_bytes_that_are_not_utf8(file: Path) -> None:
    command = [sys.executable, "-m", "spyhole", "check", "-c", b"\xff.toml"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (1, b"")
    assert b"no such file" in done.stdout
