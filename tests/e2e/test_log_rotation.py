"""SIGUSR1: the logs are opened again by all processes, and no line is lost."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from support.clients import client_hello, connect, read_to_end
from support.proc import open_files
from support.spyhole_process import SpyholeProcess
from support.waiting import until


@pytest.fixture
def proxy(spyhole: Callable[..., SpyholeProcess], tmp_path: Path) -> SpyholeProcess:
    """Two workers that refuse everybody, with both logs in files."""
    return spyhole(
        *("--listen", "127.0.0.1:0", "--route", "*=reject", "--workers", "2"),
        *("--access-log", "access.log", "--error-log", "error.log"),
    )


def knock(proxy: SpyholeProcess) -> str:
    """Be refused; the client's address, as it is logged."""
    with connect(proxy.sockaddr()) as client:
        client.sendall(client_hello("a.test"))
        client.shutdown(socket.SHUT_WR)
        read_to_end(client)
        host, port = client.getsockname()
        return f"{host}:{port}"


def is_open(proxy: SpyholeProcess, *paths: Path) -> bool:
    """Whether the proxy has one of them open, in any process."""
    held = {name for pid in (proxy.pid, *proxy.worker_pids()) for name in open_files(pid)}
    return not held.isdisjoint(map(str, paths))


def clients_in(path: Path) -> list[str]:
    text = path.read_text() if path.exists() else ""
    return [json.loads(line)["client"] for line in text.splitlines(keepends=True) if line.endswith("\n")]


@pytest.mark.parametrize("group", [False, True], ids=["supervisor", "group"])
def test_both_logs_go_on_in_new_files(proxy: SpyholeProcess, tmp_path: Path, group: bool) -> None:
    access, error = tmp_path / "access.log", tmp_path / "error.log"
    workers = proxy.worker_pids()
    before = [knock(proxy) for _ in range(10)]
    old_access, old_error = access.rename(tmp_path / "access.log.1"), error.rename(tmp_path / "error.log.1")
    assert is_open(proxy, old_access)
    if group:  # as `systemctl kill` does
        os.killpg(proxy.pid, signal.SIGUSR1)
    else:
        proxy.signal(signal.SIGUSR1)
    until(lambda: not is_open(proxy, old_access, old_error))
    after = [knock(proxy) for _ in range(10)]
    until(lambda: len(clients_in(access)) == 10)
    assert sorted(clients_in(access)) == sorted(after)
    assert sorted(clients_in(old_access)) == sorted(before)
    assert "SIGUSR1: access_log and error_log are opened again" in error.read_text()
    assert proxy.worker_pids() == workers
    # one that is started later has the new files, too
    os.kill(workers[0], signal.SIGKILL)
    until(lambda: len(proxy.worker_pids()) == 2 and workers[0] not in proxy.worker_pids())
    assert not is_open(proxy, old_access, old_error)
    assert proxy.stop() == 0


def test_one_that_can_not_be_opened_goes_on_in_the_old_file(proxy: SpyholeProcess, tmp_path: Path) -> None:
    access = tmp_path / "access.log"
    old = access.rename(tmp_path / "access.log.1")
    access.mkdir()
    proxy.signal(signal.SIGUSR1)
    until(lambda: (tmp_path / "error.log").read_text().count("can't be reopened: Is a directory") == 3)
    client = knock(proxy)
    until(lambda: clients_in(old) == [client])
