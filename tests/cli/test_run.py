"""What `spyhole run` says when it can't start: the file, line and caret, or the flag."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.certificates import Authority


@pytest.fixture
def taken() -> Iterator[str]:
    """An address that another process listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield "{}:{}".format(*server.getsockname())


def run(directory: Path, *arguments: str, text: str | None = None) -> tuple[int, str]:
    """The exit status and standard error of a `spyhole run` that can't start."""
    if text is not None:
        (directory / "spyhole.toml").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "spyhole", "run", *arguments],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


TERMINATE = """\
[[listeners]]
bind = "127.0.0.1:0"
[[routes]]
mode = "terminate"
upstream = "127.0.0.1:1"
"""


def test_certificates_in_a_file(tmp_path: Path, authority: Authority) -> None:
    leaf, other = authority.issue("a.test"), authority.issue("b.test")
    pairs = [("none.pem", leaf.key), (leaf.cert, other.key)]
    text = TERMINATE + "".join(f'[[certificates]]\ncert = "{cert}"\nkey = "{key}"\n' for cert, key in pairs)
    status, said = run(tmp_path, text=text)
    assert status == 1
    assert "spyhole.toml:7:8: error: " in said
    assert '7 | cert = "none.pem"\n  |        ^^^^^^^^^^\n' in said
    assert "spyhole.toml:11:7: error: the key in" in said


def test_certificates_in_flags(tmp_path: Path, authority: Authority) -> None:
    leaf, other = authority.issue("a.test"), authority.issue("b.test")
    flags = ("--listen", "127.0.0.1:0", "--route", "*=terminate:127.0.0.1:1")
    status, said = run(tmp_path, *flags, "--cert", "www.pem", "--key", str(leaf.key))
    assert status == 1
    assert said.startswith("error: --cert 'www.pem': ")
    status, said = run(tmp_path, *flags, "--cert", str(leaf.cert), "--key", str(other.key))
    assert status == 1
    assert said.startswith(f"error: --key {str(other.key)!r}: the key in")


def test_an_address_that_is_taken_in_a_file(tmp_path: Path, taken: str) -> None:
    text = f"""\
[[listeners]]
bind = [
  "unix:{tmp_path}/a.sock",
  "{taken}",
]
[[routes]]
mode = "reject"
"""
    status, said = run(tmp_path, text=text)
    assert status == 1
    assert said.startswith(f"spyhole.toml:4:3: error: can't listen on {taken!r}: address already in use")
    assert f"  |   {'^' * (len(taken) + 2)}\n" in said + "\n"
    assert not (tmp_path / "a.sock").exists()


def test_an_address_that_is_taken_in_flags(tmp_path: Path, taken: str) -> None:
    status, said = run(tmp_path, "--listen", "127.0.0.1:0", "--listen", taken, "--route", "*=reject")
    assert status == 1
    assert said.startswith(f"error: --listen {taken!r}: can't listen on {taken!r}: address already in use")


def test_a_socket_of_another_process_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        status, said = run(tmp_path, "--listen", f"unix:{path}", "--route", "*=reject")
    assert status == 1
    assert "another process listens there" in said
    assert path.exists()


def test_a_log_that_can_not_be_opened(tmp_path: Path) -> None:
    flags = ("--listen", "127.0.0.1:0", "--route", "*=reject")
    status, said = run(tmp_path, *flags, "--access-log", "none/a.log")
    assert status == 1
    assert said.startswith("error: access_log = ")


def test_nothing_to_run(tmp_path: Path) -> None:
    status, said = run(tmp_path)
    assert status == 2
    assert said.startswith("error: no spyhole.toml here, and no --listen")
    assert said.count("\n") == 1
    status, said = run(tmp_path, "--listen", "127.0.0.1:0")
    assert status == 2
    assert said == "error: no routes, expected --route 'NAME=[MODE:]ADDR', or -c FILE\n"
