"""`spyhole demo`, run as a person would, its printed commands and all."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from spyhole.cli.demo_table import Column, broken_promises
from spyhole.cli.demo_visit import Seen
from spyhole.wire.alerts import Alert
from support.program import Program, descendants
from support.tools import needs, tool

SPYHOLE = (sys.executable, "-Wd", "-m", "spyhole")


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    folder = tmp_path / "where temporary files go"
    folder.mkdir()
    return folder


def demo(temporary: Path, *flags: str, **environment: str) -> Program:
    surroundings = {"TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1", "COLUMNS": "120", **environment}
    return Program(*SPYHOLE, "demo", *flags, environment=surroundings)


def runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(") ")[2][0] != "Z"  # not every init reaps its orphans


def assert_quiet_and_gone(program: Program, temporary: Path, pids: list[int]) -> None:
    assert "Traceback" not in program.text
    assert "Warning" not in program.text, program.text
    assert list(temporary.iterdir()) == []
    assert [pid for pid in pids if runs(pid)] == []


def printed_commands(program: Program, first: str) -> list[str]:
    return [line.strip() for line in program.text.splitlines() if line.startswith(f"  {first}")]


def run(command: str) -> tuple[int, str]:
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_once_shows_everything_and_ends(temporary: Path) -> None:
    with demo(temporary, "--once") as program:
        status = program.wait()
        text = program.text
        assert status == 0, text
        assert_quiet_and_gone(program, temporary, [])
    rows = {line[:18].strip(): line[18:] for line in text.splitlines()}
    assert rows["server name"].split() == ["git.spyhole.test", "www.spyhole.test", "nobody.spyhole.test"]
    assert rows["mode"].split() == ["passthrough", "terminate", "-"]
    assert re.split(r"\s{2,}", rows["who has the key"]) == ["the backend", "Spyhole", "-"]
    assert re.split(r"\s{2,}", rows["TLS"]) == [
        "TLSv1.3 with the backend",
        "TLSv1.3 with Spyhole",
        "alert unrecognized_name",
    ]
    assert len(re.findall(r'^\{"time":.*\}$', text, re.MULTILINE)) == 3
    assert "All of it is as promised." in text
    assert "Try it" not in text


@needs("curl", "openssl")
def test_the_printed_commands_work_as_pasted(temporary: Path) -> None:
    with demo(temporary) as program:
        program.wait_for("Ctrl-C ends the demo")
        git, www, nobody = printed_commands(program, "curl")
        status, said = run(git)
        assert (status, "hello from the git backend" in said) == (0, True), said
        status, said = run(www)
        assert (status, "hello from the web backend: plain HTTP" in said) == (0, True), said
        status, said = run(nobody)
        assert status == 35, said

        git, www, nobody = printed_commands(program, "openssl")
        status, said = run(git)
        assert (status, "O = the git backend" in said or "O=the git backend" in said) == (0, True), said
        status, said = run(www)
        assert (status, "O = Spyhole" in said or "O=Spyhole" in said) == (0, True), said
        status, said = run(nobody)
        assert (status, "SSL alert number 112" in said) == (1, True), said

        (explain,) = printed_commands(program, shlex.quote(sys.executable))
        status, said = run(explain)
        assert (status, "is carried by route 'git'" in said) == (0, True), said

        program.wait_for(
            r"^  git.spyhole.test: passthrough to 127.0.0.1:\d+, \d+ bytes in, \d+ out, closed"
        )
        program.wait_for(r"^  www.spyhole.test: terminate to 127.0.0.1:\d+, \d+ bytes in, \d+ out, closed")
        program.wait_for(r"^  nobody.spyhole.test: no_route, alert unrecognized_name")
        pids = descendants(program.pid)
        program.signal(signal.SIGINT)
        assert program.wait() == 0
        assert_quiet_and_gone(program, temporary, pids)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_nothing_is_left(temporary: Path, number: signal.Signals) -> None:
    with demo(temporary) as program:
        program.wait_for("Ctrl-C ends the demo")
        pids = descendants(program.pid)
        assert len(pids) == 3  # a supervisor and two workers
        assert len(list(temporary.iterdir())) == 1
        program.signal(number)
        program.signal(number)  # an impatient one
        assert program.wait() == 0
        assert_quiet_and_gone(program, temporary, pids)


def test_a_signal_before_it_is_done(temporary: Path) -> None:
    with demo(temporary) as program:
        program.wait_for("spyhole listens on")
        pids = descendants(program.pid)
        program.signal(signal.SIGINT)
        assert program.wait() == 128 + signal.SIGINT
        assert_quiet_and_gone(program, temporary, pids)


def test_the_proxy_dies(temporary: Path) -> None:
    with demo(temporary) as program:
        program.wait_for("Ctrl-C ends the demo")
        pids = descendants(program.pid)
        os.kill(pids[0], signal.SIGKILL)
        program.wait_for("error: the proxy ended by itself")
        assert program.wait() == 1
        assert_quiet_and_gone(program, temporary, pids)


@needs("curl")
def test_a_broken_promise_is_told_and_counts(temporary: Path, tmp_path: Path) -> None:
    curl = tmp_path / "curl"
    curl.write_text(f'#!/bin/sh\n{tool("curl")} "$@" >/dev/null 2>&1\necho hello from somebody else\n')
    curl.chmod(0o755)
    with demo(temporary, "--once", PATH=f"{tmp_path}:{os.environ['PATH']}") as program:
        assert program.wait() == 1
        assert "NOT AS PROMISED: git.spyhole.test: curl gets the same" in program.text
        assert "NOT AS PROMISED: refused, curl fails" in program.text
        assert "All of it" not in program.text
        assert_quiet_and_gone(program, temporary, [])


def columns() -> list[Column]:
    def record(**values: object) -> dict[str, object]:
        nothing = dict.fromkeys(["route", "mode", "upstream", "tls_version", "alert"])
        return {**nothing, "bytes_in": 9, "bytes_out": 9, "reason": "closed", **values}

    return [
        Column(
            "passed through",
            "git.test",
            Seen("", "THEIRS", "git", "TLSv1.3", "hello from git: with my own key"),
            "",
            record(mode="passthrough", upstream="127.0.0.1:1"),
            "hello from git: with my own key",
        ),
        Column(
            "terminated",
            "www.test",
            Seen("", "OWN", "Spyhole", "TLSv1.3", "hello from www: plain HTTP"),
            "",
            record(mode="terminate", upstream="127.0.0.1:2", tls_version="1.3"),
        ),
        Column(
            "refused", "no.test", Seen("", alert=Alert.UNRECOGNIZED_NAME), "", record(reason="no_route")
        ),
    ]


def test_all_as_promised() -> None:
    assert broken_promises(columns(), "OWN", "THEIRS") == []


@pytest.mark.parametrize(
    ("which", "change", "promise"),
    [
        (0, {"mode": "terminate"}, "the route for git passes through"),
        (0, {"tls_version": "1.3"}, "passed through, the log knows of no TLS of Spyhole's own"),
        (0, {"bytes_out": 0}, "git.test: the log counts bytes both ways"),
        (1, {"tls_version": "1.2"}, "terminated, the log has the version that the client negotiated"),
        (1, {"reason": "client_truncated"}, "www.test: it ends cleanly"),
        (2, {"reason": "rejected"}, "refused, the log says no_route"),
        (2, {"upstream": "127.0.0.1:1"}, "refused, nothing is dialled"),
    ],
)
def test_each_promise_can_be_broken(which: int, change: dict[str, object], promise: str) -> None:
    changed = columns()
    changed[which].record |= change
    assert broken_promises(changed, "OWN", "THEIRS") == [promise]


def test_the_wrong_key() -> None:
    assert "passed through, the client sees the backend's own certificate" in broken_promises(
        columns(), "THEIRS", "OWN"
    )
