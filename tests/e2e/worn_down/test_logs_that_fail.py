"""A log whose disk is full, or whose reader has left, costs its lines and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from support.backends import Backend, echo
from support.clients import client_hello, connect, read_exactly, read_to_end
from support.proc import cpu_ticks
from support.scale import scaled
from support.spyhole_process import SPYHOLE_RUN, SpyholeProcess
from support.waiting import assert_idle, until

HELLO = client_hello("a.test")
SIZE = 65_536
VISITS = scaled(5000, small=100)

Start = Callable[..., SpyholeProcess]


@pytest.fixture
def backend() -> Iterator[Backend]:
    with echo("hi") as backend:
        yield backend


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB: `SIZE`."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"needs leave to mount a file system (root): {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def visit(proxy: SpyholeProcess) -> None:
    with connect(proxy.sockaddr(), any_port=True) as client:
        client.sendall(HELLO)
        assert read_exactly(client, 3 + len(HELLO)) == b"hi\n" + HELLO


def knock(proxy: SpyholeProcess) -> str:
    """Be refused, which costs a line and little else; the client's address."""
    with connect(proxy.sockaddr()) as client:
        client.sendall(b"not TLS at all")
        assert read_to_end(client) == b""
        return "{}:{}".format(*client.getsockname())


def test_a_full_disk(spyhole: Start, backend: Backend, small_disk: Path) -> None:
    log = small_disk / "access.log"
    proxy = spyhole(
        *("--listen", "127.0.0.1:0", "--route", f"*={backend.address}", "--workers", "1"),
        *("--access-log", log),
    )
    (worker,) = proxy.worker_pids()
    fill(small_disk)
    clients = [knock(proxy) for _ in range(180)]
    visit(proxy)
    assert "No space left on device" in proxy.wait_for_error_log("access_log")
    assert_idle(worker)
    (small_disk / "filling").unlink()
    # Half of the lines find room, the rest waits. A line may be cut short where the room ended.
    until(lambda: log.stat().st_size >= SIZE - 4096)
    visit(proxy)
    assert_idle(worker)
    written = clients_in(log)
    assert 0 < len(written) < 180
    os.truncate(log, 0)
    until(lambda: set(clients) <= {*written, *clients_in(log)})
    assert len([*written, *clients_in(log)]) == 182
    assert proxy.worker_pids() == [worker]
    assert proxy.stop() == 0
    said = [line for line in proxy.error_log_lines() if "access_log" in line]
    assert len(said) <= 2, "once each time that the disk is full, not four times a second"


def fill(disk: Path) -> None:
    with (disk / "filling").open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass


def clients_in(log: Path) -> list[str]:
    """Of the lines that are whole."""
    lines = log.read_text().splitlines(keepends=True)
    return [json.loads(line)["client"] for line in lines if line.endswith("}\n")]


@pytest.mark.parametrize("which", ["stdout", "stdout and stderr"])
def test_a_reader_that_has_left(backend: Backend, tmp_path: Path, which: str) -> None:
    """As under `spyhole run | head`. The lines are lost, and said to be."""
    with ExitStack() as stack:
        process = subprocess.Popen(
            [*SPYHOLE_RUN, "--listen", "127.0.0.1:0", "--route", f"*={backend.address}", "--workers", "1"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path,
        )  # fmt: skip
        stack.callback(process.wait)
        stack.callback(process.kill)
        assert process.stdout is not None
        assert process.stderr is not None
        stack.callback(process.stderr.close)
        ready = process.stderr.readline().decode()
        host, _, port = ready.split()[-1].rpartition(":")
        (worker,) = map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
        process.stdout.close()
        if which != "stdout":
            process.stderr.close()
        before = cpu_ticks(worker)
        for _ in range(VISITS):
            with connect((host, int(port)), any_port=True) as client:
                client.sendall(HELLO)
                assert read_exactly(client, 3 + len(HELLO)) == b"hi\n" + HELLO
        assert cpu_ticks(worker) > before
        assert_idle(worker)
        process.terminate()
        if which == "stdout":
            said = [line for line in process.stderr.read().decode().splitlines() if "access_log" in line]
            assert any("Broken pipe" in line for line in said)
            assert sum(int(line.split(" lines lost")[0].split()[-1]) for line in said) == VISITS
        assert process.wait() == 0
