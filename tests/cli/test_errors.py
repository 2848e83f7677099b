"""Every command says what is wrong in the same words, first of all `error: `."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from spyhole.cli import main


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("rnu", "error: no such command 'rnu', did you mean 'run'?\nTry 'spyhole --help'.\n"),
        ("frobnicate", "error: no such command 'frobnicate'\nTry 'spyhole --help'.\n"),
        (
            "--verison",
            "error: no such option '--verison', did you mean '--version'?\nTry 'spyhole --help'.\n",
        ),
        (
            "run --lisen 127.0.0.1:0",
            "error: no such option '--lisen', did you mean '--listen'?\nTry 'spyhole run --help'.\n",
        ),
        (
            "run --hello-timout 5s",
            "error: no such option '--hello-timout', did you mean '--hello-timeout'?\n",
        ),
        ("run -x", "error: no such option '-x'\n"),
        ("run --listen", "error: option '--listen' requires an argument\n"),
        ("run --listen x --route y", "error: --route 'y': there is no '=' in it"),
        ("run -c none.toml", "none.toml: error: no such file"),
        ("check", "error: there is no spyhole.toml here: name the configuration with -c FILE\n"),
        ("check --format xml", "error: invalid value for '--format': 'xml' is not one of 'text', 'json'\n"),
        ("explain", "error: what does the client send? "),
        ("explain --sni a.test", "error: there is no spyhole.toml here"),
        ("hello", "error: give either a FILE (- is stdin) or --listen ADDR\n"),
        ("hello --listen 127.0.0.1", "error: --listen: address '127.0.0.1': expected 'host:port'"),
        ("hello none.bin", "error: FILE 'none.bin': no such file"),
    ],
)
def test_a_wrong_command_line(
    line: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, line.split(), prog_name="spyhole")
    assert result.stderr.startswith(said)
    assert result.stdout == ""
    assert result.exit_code == (1 if "none.toml" in line else 2)


def test_no_command_is_help() -> None:
    result = CliRunner().invoke(main, [], prog_name="spyhole")
    assert (result.stderr.startswith("Usage: spyhole"), result.exit_code) == (True, 2)
    result = CliRunner().invoke(main, ["--help"], prog_name="spyhole")
    assert (result.stdout.startswith("Usage: spyhole"), result.exit_code) == (True, 0)


def test_one_that_fails_at_its_work(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["run", "--listen", "192.0.2.1:1", "--route", "*=reject"])
    assert result.exit_code == 1
    assert result.stderr.startswith("error: --listen '192.0.2.1:1': can't listen on '192.0.2.1:1': ")


@pytest.mark.parametrize(
    ("words", "completed"), [("ru", "plain,run\n"), ("run --hello", "plain,--hello-timeout\n")]
)
def test_the_shell_completes(words: str, completed: str) -> None:
    env = {
        "_SPYHOLE_COMPLETE": "bash_complete",
        "COMP_WORDS": f"spyhole {words}",
        "COMP_CWORD": str(len(words.split())),
    }
    assert CliRunner(env=env).invoke(main, prog_name="spyhole").stdout == completed
