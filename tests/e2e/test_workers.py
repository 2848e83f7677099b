"""Workers die, are replaced and drain, and nobody loses a connection that did not have to be lost."""

from __future__ import annotations

import os
import pwd
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.backends import BOUND, Backend, echo
from support.certificates import Authority
from support.clients import STUCK, EndError, Listener, client_hello, connect, read_exactly, read_to_end
from support.proc import holders_of
from support.spyhole_process import SpyholeProcess

HELLO = client_hello("a.test")

Start = Callable[..., SpyholeProcess]


@pytest.fixture
def backend() -> Iterator[Backend]:
    with echo("hi") as backend:
        yield backend


def start(spyhole: Start, backend: Backend, *more: str | Path, workers: int = 2) -> SpyholeProcess:
    return spyhole(
        *("--listen", "127.0.0.1:0", "--route", f"*={backend.address}", "--workers", str(workers), *more)
    )


def opened(proxy: SpyholeProcess) -> socket.socket:
    """A connection that is carried."""
    client = connect(proxy.sockaddr())
    client.sendall(HELLO)
    assert read_exactly(client, 3 + len(HELLO)) == b"hi\n" + HELLO
    return client


def ping(client: socket.socket) -> None:
    client.sendall(b"ping")
    assert read_exactly(client, 4) == b"ping"


def is_lost(client: socket.socket) -> bool:
    """Whether the connection is no more. A process that is killed leaves it to the kernel how it ends."""
    try:
        ping(client)
    except (ConnectionResetError, BrokenPipeError, EndError):
        return True
    return False


def is_reset(client: socket.socket) -> bool:
    """Whether it was ended so that neither side takes it for a clean end."""
    try:
        ping(client)
    except (ConnectionResetError, BrokenPipeError):
        return True
    return False


def wait_for_end(pid: int, pidfd: int) -> None:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    assert poll.poll(BOUND * 1000), f"process {pid} does not end"


def on_each(proxy: SpyholeProcess, stack: ExitStack, count: int) -> dict[int, list[socket.socket]]:
    """Connections that are carried, by worker: so many for each."""
    while len(workers := proxy.worker_pids()) < 2:
        pass  # one was killed, and the next is not forked yet
    held: dict[int, list[socket.socket]] = {worker: [] for worker in workers}
    while any(len(clients) < count for clients in held.values()):
        some = [stack.enter_context(opened(proxy)) for _ in range(2 * count)]
        for client, worker in zip(some, holders_of(some, workers), strict=True):
            assert worker is not None
            held[worker].append(client)
    return held


class TestKill:
    def test_only_the_workers_own_connections_are_lost(self, spyhole: Start, backend: Backend) -> None:
        proxy = start(spyhole, backend)
        stop = threading.Event()
        trips = [0] * 4
        with ExitStack() as stack:
            held = on_each(proxy, stack, 8)
            lost, spared = held
            busy = held[spared][:4]

            def load(number: int) -> None:
                while not stop.is_set():
                    ping(busy[number])
                    trips[number] += 1

            threads = [threading.Thread(target=load, args=(number,)) for number in range(4)]
            for thread in threads:
                thread.start()
            os.kill(lost, signal.SIGKILL)
            said = proxy.wait_for_error_log("was killed by SIGKILL; another takes its place")
            assert f"(pid {lost})" in said
            assert all(is_lost(client) for client in held[lost])
            fresh = on_each(proxy, stack, 8)  # so the new one serves, too
            assert lost not in fresh
            assert spared in fresh
            before = sum(trips)
            while sum(trips) < before + 100:
                ping(held[spared][5])
            stop.set()
            for thread in threads:
                thread.join(BOUND)
            assert not any(is_lost(client) for client in held[spared])
            assert not any(is_lost(client) for clients in fresh.values() for client in clients)
        assert proxy.stop() == 0

    def test_those_in_its_queue_are_served_by_the_next(self, spyhole: Start, backend: Backend) -> None:
        proxy = start(spyhole, backend)
        stopped, running = proxy.worker_pids()
        with ExitStack() as stack:
            os.kill(stopped, signal.SIGSTOP)
            clients = [stack.enter_context(connect(proxy.sockaddr())) for _ in range(40)]
            for client in clients:
                client.sendall(HELLO)
            waiting = set(clients)
            poll = select.poll()
            for client in clients:
                poll.register(client, select.POLLIN)
            of = {client.fileno(): client for client in clients}
            while ready := poll.poll(STUCK * 1000):
                for fd, _ in ready:
                    poll.unregister(fd)
                    waiting.discard(of[fd])
            assert 0 < len(waiting) < 40, "the kernel spreads them over the queues of both"
            assert set(holders_of([*waiting], [stopped, running])) == {None}
            os.kill(stopped, signal.SIGKILL)
            for client in clients:
                assert read_exactly(client, 3 + len(HELLO)) == b"hi\n" + HELLO
            (new,) = set(proxy.worker_pids()) - {running}
            assert set(holders_of([*waiting], [new])) == {new}

    def test_one_that_dies_again_and_again_is_replaced(self, spyhole: Start, backend: Backend) -> None:
        proxy = start(spyhole, backend, workers=1)
        gone: set[int] = set()
        for _ in range(4):
            with opened(proxy) as client:
                (worker,) = holders_of([client], proxy.worker_pids())
                assert worker is not None
                assert worker not in gone
                gone.add(worker)
                os.kill(worker, signal.SIGKILL)
                assert is_lost(client)

    def test_workers_end_when_the_supervisor_is_gone(self, spyhole: Start, backend: Backend) -> None:
        proxy = start(spyhole, backend)
        with ExitStack() as stack:
            held = on_each(proxy, stack, 1)
            ends = {worker: os.pidfd_open(worker) for worker in held}
            for pidfd in ends.values():
                stack.callback(os.close, pidfd)
            proxy.signal(signal.SIGKILL)
            for worker, (client, *more) in held.items():
                ping(client)  # it drains: what is open goes on
                for open_one in (client, *more):
                    open_one.close()
                wait_for_end(worker, ends[worker])
            wait_until_refused(proxy)


class TestDrain:
    def test_without_connections_it_is_over_at_once(self, spyhole: Start, backend: Backend) -> None:
        proxy = start(spyhole, backend)
        with opened(proxy) as client:
            client.shutdown(socket.SHUT_WR)
            read_to_end(client)
        assert proxy.stop() == 0
        assert len(proxy.access_records(1)) == 1

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_open_connections_end_by_themselves(
        self, spyhole: Start, backend: Backend, number: signal.Signals
    ) -> None:
        proxy = start(spyhole, backend)
        with ExitStack() as stack:
            held = on_each(proxy, stack, 2)
            proxy.signal(number)
            wait_until_refused(proxy)
            for clients in held.values():
                for client in clients:
                    ping(client)
                    client.shutdown(socket.SHUT_WR)
                    assert read_to_end(client) == b""
            assert proxy.wait() == 0
            for clients in held.values():
                assert {proxy.record_of(client)["reason"] for client in clients} == {"closed"}

    def test_those_in_the_queue_are_served(self, spyhole: Start, backend: Backend) -> None:
        """They were accepted, as far as they know."""
        proxy = start(spyhole, backend, workers=1)
        (worker,) = proxy.worker_pids()
        with ExitStack() as stack:
            os.kill(worker, signal.SIGSTOP)
            clients = [stack.enter_context(connect(proxy.sockaddr())) for _ in range(20)]
            for client in clients:
                client.sendall(HELLO)
                client.shutdown(socket.SHUT_WR)
            proxy.signal(signal.SIGTERM)
            proxy.wait_for_error_log("SIGTERM: accepting no more")
            os.kill(worker, signal.SIGCONT)
            for client in clients:
                assert read_to_end(client) == b"hi\n" + HELLO
            assert proxy.wait() == 0

    def test_what_is_open_at_the_deadline_is_cut(self, spyhole: Start, backend: Backend) -> None:
        proxy = start(spyhole, backend, "--drain-timeout", "300ms")
        with ExitStack() as stack:
            held = on_each(proxy, stack, 2)
            count = sum(map(len, held.values()))
            proxy.signal(signal.SIGTERM)
            assert proxy.wait() == 1
            for clients in held.values():
                assert all(is_reset(client) for client in clients)
        assert f"connections that were still open and have been cut: {count}" in "\n".join(
            proxy.error_log_lines()
        )
        records = proxy.access_records(count)
        assert {(record["reason"], record["ended_by"]) for record in records} == {
            ("drain_timeout", "proxy")
        }
        assert len(records) == count

    def test_those_still_in_their_opening_are_cut_too(self, spyhole: Start) -> None:
        with ExitStack() as stack:
            blackhole = stack.enter_context(Listener(backlog=0))
            first = stack.enter_context(socket.socket())
            first.connect(blackhole.sockaddr)
            proxy = spyhole(
                *("--listen", "127.0.0.1:0", "--route", f"*={blackhole.address}", "--workers", "1"),
                *("--drain-timeout", "300ms", "--connect-timeout", "1m", "--hello-timeout", "1m"),
            )
            silent, dialling = (stack.enter_context(connect(proxy.sockaddr())) for _ in range(2))
            silent.sendall(HELLO[:20])
            dialling.sendall(HELLO)
            (worker,) = proxy.worker_pids()
            while None in holders_of([silent, dialling], [worker]):
                pass
            proxy.signal(signal.SIGTERM)
            assert proxy.wait() == 1
            assert {record["reason"] for record in proxy.access_records(2)} == {"drain_timeout"}

    def test_a_second_signal_ends_it_now(self, spyhole: Start, backend: Backend) -> None:
        proxy = start(spyhole, backend, "--drain-timeout", "1h")
        with ExitStack() as stack:
            held = on_each(proxy, stack, 1)
            proxy.signal(signal.SIGTERM)
            wait_until_refused(proxy)
            ping(next(iter(held.values()))[0])
            proxy.signal(signal.SIGTERM)
            assert proxy.wait() == 1
            assert all(is_reset(client) for clients in held.values() for client in clients)
            for clients in held.values():
                assert proxy.record_of(clients[0])["reason"] == "drain_timeout"

    def test_a_worker_that_does_not_end_at_a_second_signal_is_killed(
        self, spyhole: Start, backend: Backend
    ) -> None:
        proxy = start(spyhole, backend, "--drain-timeout", "1h")
        with ExitStack() as stack:
            held = on_each(proxy, stack, 1)
            stopped = next(iter(held))
            os.kill(stopped, signal.SIGSTOP)
            proxy.signal(signal.SIGTERM)
            proxy.wait_for_error_log("once more ends at once")
            proxy.signal(signal.SIGTERM)
            assert proxy.wait() == 1
            assert is_lost(held[stopped][0])


def wait_until_refused(proxy: SpyholeProcess) -> None:
    """Until nobody listens any more; a connection that comes before that is queued or served."""
    while True:
        try:
            connect(proxy.sockaddr()).close()
        except (ConnectionRefusedError, ConnectionResetError):
            return
        select.select([], [], [], 0.01)  # no hurry


class TestStart:
    def run(self, *words: str | Path, directory: Path) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "spyhole", "run", *words],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BOUND,
            check=False,
        )
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
        return done.returncode, done.stderr

    def test_the_port_is_taken(self, tmp_path: Path) -> None:
        with Listener() as other:
            status, said = self.run("--listen", other.address, "--route", "*=[::1]:1", directory=tmp_path)
        assert status == 1
        assert f"can't listen on {other.address!r}: address already in use" in said
        assert "--listen" in said

    def test_the_port_is_taken_by_another_spyhole(
        self, spyhole: Start, backend: Backend, tmp_path: Path
    ) -> None:
        proxy = start(spyhole, backend)
        status, said = self.run("--listen", proxy.addresses[0], "--route", "*=[::1]:1", directory=tmp_path)
        assert status == 1
        assert "address already in use" in said
        with opened(proxy) as client:
            ping(client)

    def test_the_unix_socket_is_taken(self, spyhole: Start, backend: Backend, tmp_path: Path) -> None:
        proxy = spyhole("--listen", f"unix:{tmp_path}/s", "--route", f"*={backend.address}")
        status, said = self.run(
            "--listen", f"unix:{tmp_path}/s", "--route", "*=[::1]:1", directory=tmp_path
        )
        assert status == 1
        assert "another process listens there" in said
        with opened(proxy) as client:
            ping(client)

    def test_a_unix_socket_left_by_one_that_was_killed(
        self, spyhole: Start, backend: Backend, tmp_path: Path
    ) -> None:
        words = ("--listen", f"unix:{tmp_path}/s", "--route", f"*={backend.address}")
        first = spyhole(*words)
        first.finish()
        assert (tmp_path / "s").is_socket()
        with opened(spyhole(*words)) as client:
            ping(client)

    def test_there_is_no_configuration(self, tmp_path: Path) -> None:
        status, said = self.run("-c", "none.toml", directory=tmp_path)
        assert status == 1
        assert "none.toml" in said
        assert "no such file" in said.lower()

    def test_the_configuration_is_wrong(self, tmp_path: Path) -> None:
        (tmp_path / "spyhole.toml").write_text('hello_timout = "5s"\n')
        status, said = self.run(directory=tmp_path)
        assert status == 1
        assert "spyhole.toml:1:1" in said
        assert "hello_timeout" in said

    def test_a_flag_is_wrong(self, tmp_path: Path) -> None:
        status, said = self.run("--lisen", "127.0.0.1:0", directory=tmp_path)
        assert status == 2
        assert "--listen" in said

    def test_certificates_and_keys(self, authority: Authority, tmp_path: Path) -> None:
        leaf, other = authority.issue("a.test"), authority.issue("b.test")
        garbage = tmp_path / "garbage.pem"
        garbage.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        for cert, key, expected in (
            (leaf.cert, other.key, "does not"),
            (leaf.cert, tmp_path / "none.key", "none.key"),
            (garbage, leaf.key, "garbage.pem"),
            (leaf.cert, leaf.cert, leaf.cert.name),
        ):
            status, said = self.run(
                *("--listen", "127.0.0.1:0", "--route", "*=terminate:127.0.0.1:1"),
                *("--cert", cert, "--key", key),
                directory=tmp_path,
            )
            assert status == 1, said
            assert expected in said

    def test_no_such_user(self, tmp_path: Path) -> None:
        status, said = self.run(
            *("--listen", "127.0.0.1:0", "--route", "*=[::1]:1", "--user", "nobody-of-that-name"),
            directory=tmp_path,
        )
        assert status == 1
        assert "nobody-of-that-name" in said

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give it up")
    def test_root_is_given_up(
        self, spyhole: Start, backend: Backend, authority: Authority, tmp_path: Path
    ) -> None:
        leaf = authority.issue("a.test")
        leaf.key.chmod(0o600)
        port = low_port()
        nobody = pwd.getpwnam("nobody")
        proxy = spyhole(
            *("--listen", f"127.0.0.1:{port}", "--route", f"*={backend.address}", "--user", "nobody"),
            *("--route", f"a.test=terminate:{backend.address}", "--cert", leaf.cert, "--key", leaf.key),
            *("--workers", "1"),
        )
        (worker,) = proxy.worker_pids()
        for pid in (proxy.pid, worker):
            status = dict(
                line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
            )
            assert status["Uid"].split() == [str(nobody.pw_uid)] * 4
            assert status["Gid"].split() == [str(nobody.pw_gid)] * 4
            assert "0" not in status["Groups"].split()
            assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
        tls = authority.client_context().wrap_socket(connect(proxy.sockaddr()), server_hostname="a.test")
        with tls:
            tls.sendall(b"?")
            assert tls.recv(100) == b"hi\n?"
            tls.unwrap().close()
        proxy.access_records(1)
        os.kill(worker, signal.SIGKILL)
        # the next one is forked by nobody, and keeps the port and the key
        with connect(proxy.sockaddr()) as plain:
            plain.sendall(client_hello("b.test"))
            assert read_exactly(plain, 3) == b"hi\n"
        assert proxy.stop() in {0, 1}
        assert len(proxy.access_records(2)) == 2


def low_port() -> int:
    """A port below 1024 that nobody uses."""
    for port in range(1023, 600, -1):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    pytest.skip("needs a free port below 1024")


THIRD_FORK_FAILS = """
import errno, os, runpy, sys

fork, forks = os.fork, iter(range(3))

def failing():
    if next(forks, 0) == 2:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
    return fork()

os.fork = failing
del sys.argv[:3]  # instead of: python -m spyhole
runpy.run_module("spyhole", run_name="__main__")
"""


def test_a_worker_that_cannot_be_forked_now_is_forked_later_and_the_others_go_on(
    spyhole: Start, backend: Backend
) -> None:
    listen = ("--listen", "127.0.0.1:0", "--route", f"*={backend.address}", "--workers", "2")
    proxy = spyhole(*listen, prefix=(sys.executable, "-c", THIRD_FORK_FAILS))
    first, second = proxy.worker_pids()
    with ExitStack() as stack:
        clients = [stack.enter_context(opened(proxy)) for _ in range(16)]
        kept = [
            c for c, pid in zip(clients, holders_of(clients, [first, second]), strict=True) if pid == second
        ]
        os.kill(first, signal.SIGKILL)
        proxy.wait_for_error_log("worker 1 can't be started: resource temporarily unavailable")
        for client in kept:
            ping(client)
        stack.enter_context(opened(proxy))  # whoever queues at the first waits for its successor
        stack.enter_context(opened(proxy))
    assert proxy.stop() == 0
