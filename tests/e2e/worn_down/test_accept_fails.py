"""accept fails, for want of descriptors or memory, or the client is gone: nothing dies, spins or shouts.

strace makes accept4 fail; the connection stays in the kernel's queue, as in earnest.
"""

from __future__ import annotations

import functools
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from support.backends import Backend, echo
from support.clients import client_hello, connect, read_exactly
from support.proc import cpu_ticks
from support.scale import scaled
from support.spyhole_process import SpyholeProcess
from support.tools import find, needs

HELLO = client_hello("a.test")
TRACE = ("-f", "--seccomp-bpf", "-e", "trace=accept4")
FAILURES = scaled(6, small=3)
OURS = scaled(("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"), small=("EMFILE", "ENOBUFS"))

Start = Callable[..., SpyholeProcess]
Figure = Callable[[str], None]


@functools.cache
def may_trace() -> bool:
    """Whether a process may be traced here; in many containers it may not."""
    strace = find("strace")
    return (
        strace is not None and not subprocess.run([strace, *TRACE, "true"], capture_output=True).returncode
    )


pytestmark = [
    needs("strace"),
    pytest.mark.skipif(
        find("strace") is not None and not may_trace(), reason="needs leave to trace processes (ptrace)"
    ),
]


@pytest.fixture
def backend() -> Iterator[Backend]:
    with echo("hi") as backend:
        yield backend


def start(spyhole: Start, backend: Backend, trace: Path, fault: str) -> SpyholeProcess:
    # -D: the tracer is a grandchild, so that the process that was started is spyhole
    strace = (str(find("strace")), "-D", *TRACE, "-e", f"inject=accept4:{fault}", "-o", str(trace))
    listen = ("--listen", "127.0.0.1:0", "--route", f"*={backend.address}", "--workers", "1")
    return spyhole(*listen, prefix=strace)


def visit(proxy: SpyholeProcess) -> None:
    with connect(proxy.sockaddr()) as client:
        client.sendall(HELLO)
        assert read_exactly(client, 3 + len(HELLO)) == b"hi\n" + HELLO


@pytest.mark.parametrize("error", OURS)
def test_an_error_of_ours(
    spyhole: Start, backend: Backend, tmp_path: Path, error: str, figure: Figure
) -> None:
    """Some failures in a row; a client that came meanwhile is served after them, without another's help."""
    proxy = start(spyhole, backend, tmp_path / "trace", f"error={error}:when=2..{1 + FAILURES}")
    (worker,) = proxy.worker_pids()
    visit(proxy)
    before, began = cpu_ticks(worker), time.monotonic()
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(proxy.sockaddr())) for _ in range(20)]
        for client in clients:
            client.sendall(HELLO)
        for client in clients:
            assert read_exactly(client, 3 + len(HELLO)) == b"hi\n" + HELLO
        waited = time.monotonic() - began
        assert waited > 0.5, "it rests between its tries, longer each time"
        # some tries and twenty connections, traced: some 50 ms. A spin would be all of the time
        assert cpu_ticks(worker) - before < waited * 100 / 3
    began = time.monotonic()
    visit(proxy)
    after = time.monotonic() - began
    figure(f"{error} {FAILURES} times: all served after {waited:.1f} s, the next one in {after:.3f} s")
    assert proxy.worker_pids() == [worker]
    assert len(proxy.access_records(22)) == 22
    assert proxy.stop() == 0
    assert failures(tmp_path / "trace", error) == FAILURES
    said = [line for line in proxy.error_log_lines() if "can't accept a connection" in line]
    assert said, "the operator is told"
    fresh = [datetime.fromisoformat(line.split()[0]) for line in said if not line.endswith("like it)")]
    assert all((later - earlier).total_seconds() > 0.99 for earlier, later in pairwise(fresh))
    assert len(said) < FAILURES, "fewer lines than failures"


@pytest.mark.parametrize("error", ["ECONNABORTED", "EPROTO"])
def test_a_client_that_is_gone(spyhole: Start, backend: Backend, tmp_path: Path, error: str) -> None:
    """That is no trouble: the next one is accepted without a rest, and nothing is said."""
    proxy = start(spyhole, backend, tmp_path / "trace", f"error={error}:when=2..51")
    visit(proxy)
    visit(proxy)
    assert failures(tmp_path / "trace", error) == 50
    assert len(proxy.access_records(2)) == 2
    assert proxy.stop() == 0
    assert not any("accept" in line and "warning" in line for line in proxy.error_log_lines())


def failures(trace: Path, error: str) -> int:
    return sum(error in line and "INJECTED" in line for line in trace.read_text().splitlines())
