"""slowhttptest, h2load and wrk through both modes at once: everything is answered, nothing is left."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.nginx import Nginx
from support.proc import memory, open_files
from support.public_certificate import PublicAuthority
from support.scale import many_files
from support.spyhole_process import SpyholeProcess
from support.suites import run
from support.tools import needs, tool
from support.waiting import until

PASS, END = "pass.test", "end.test"
SECONDS = 10
Figure = Callable[[str], None]

pytestmark = needs("nginx", "h2load", "wrk", "slowhttptest")


@pytest.fixture
def proxy(
    spyhole: Callable[..., SpyholeProcess], public_authority: PublicAuthority, tmp_path: Path
) -> Iterator[SpyholeProcess]:
    """nginx behind both modes, with TLS and without. The tools say no name, so there is a port for each."""
    leaf = public_authority.issue(END, "ecdsa")
    with ExitStack() as stack:
        stack.enter_context(many_files())
        tls, plain = (stack.enter_context(Nginx(tmp_path, some)) for some in ([leaf], []))
        yield spyhole(
            config=f"""
                workers = 2
                access_log = {str(tmp_path / "access.log")!r}
                certificates = [{{ cert = {str(leaf.cert)!r}, key = {str(leaf.key)!r}, default = true }}]
                listeners = [
                    {{ name = "pass", bind = "127.0.0.1:0" }},
                    {{ name = "end", bind = "127.0.0.1:0" }},
                ]
                [[routes]]
                listener = "pass"
                upstream = "{tls.address}"
                [[routes]]
                listener = "end"
                mode = "terminate"
                alpn = ["http/1.1", ""]
                upstream = "{plain.address}"
            """
        )


def at_once(*jobs: Callable[[], None]) -> None:
    with ThreadPoolExecutor(len(jobs)) as pool:
        for done in [pool.submit(job) for job in jobs]:
            done.result()


def test_the_three_at_once(proxy: SpyholeProcess, tmp_path: Path, figure: Figure) -> None:
    workers = proxy.worker_pids()
    before = {pid: len(open_files(pid)) for pid in workers}
    held = sum(map(memory, workers))
    passing, ending = (f"https://127.0.0.1:{proxy.sockaddr(index)[1]}" for index in (0, 1))
    said = threading.Lock()

    def tell(line: str) -> None:
        with said:
            figure(line)

    def h2load(url: str, name: str, *flags: str) -> None:
        out = run(tool("h2load"), "-n", "20000", "-c", "50", *flags, f"{url}/", status=0)
        tell(f"h2load, {name}: " + line_of(out, "finished in") + "; " + line_of(out, "requests:"))
        assert "20000 succeeded, 0 failed, 0 errored, 0 timeout" in out

    def wrk(url: str, name: str, *flags: str) -> None:
        out = run(tool("wrk"), "-t", "1", "-c", "50", "-d", f"{SECONDS}s", *flags, f"{url}/", status=0)
        tell(f"wrk, {name}: " + line_of(out, "Requests/sec"))
        assert "Socket errors" not in out
        assert "Non-2xx" not in out

    def slow(url: str, name: str, kind: str) -> None:
        # -c connections, -r of them a second, -l seconds, -i seconds between pieces, -p for an answer
        out = run(
            *(
                tool("slowhttptest"),
                kind,
                "-c",
                "500",
                "-r",
                "250",
                "-l",
                str(SECONDS),
                "-i",
                "2",
                "-p",
                "5",
            ),
            *("-u", f"{url}/post", "-t", "POST" if kind == "-B" else "GET", "-x", "10"),
        )
        states = re.findall(r"service available:\s+(\S+)", strip(out))
        tell(f"slowhttptest {kind}, {name}: service available {states[-1] if states else '?'} at the end")
        assert states
        assert set(states) == {"YES"}

    at_once(
        lambda: h2load(passing, "passthrough, HTTP/2"),
        lambda: h2load(ending, "terminate, HTTP/1.1", "--h1"),
        lambda: wrk(passing, "passthrough"),
        lambda: wrk(ending, "terminate"),
        lambda: wrk(passing, "passthrough, a connection for each request", "-H", "Connection: close"),
        lambda: slow(passing, "passthrough, slow headers", "-H"),
        lambda: slow(ending, "terminate, slow bodies", "-B"),
        lambda: slow(ending, "terminate, slow reading", "-X"),
    )
    assert proxy.worker_pids() == workers
    for pid in workers:
        until(lambda pid=pid: len(open_files(pid)) <= before[pid] + 40)  # type: ignore[misc]
    log = (tmp_path / "access.log").read_text().splitlines()
    reasons = re.findall(r'"reason":"(\w+)"', "\n".join(log))
    tell(
        f"{len(log):,} connections: {dict(sorted((r, reasons.count(r)) for r in set(reasons)))};"
        f" memory of both workers {sum(map(memory, workers)) - held:+,} B"
    )
    assert "internal_error" not in reasons
    assert proxy.stop() == 0
    assert not any(" error " in line for line in proxy.error_log_lines())


def line_of(out: str, mark: str) -> str:
    return next((line.strip() for line in out.splitlines() if mark in line), "?")


def strip(out: str) -> str:
    """Without the colours of a terminal."""
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", out)
