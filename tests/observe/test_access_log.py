"""The access log on real files, pipes and sockets: never waits, never raises, never tears a line."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import resource
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spyhole.errors import OperatorError
from spyhole.observe.access_log import BACKLOG, BATCH, FLUSH_INTERVAL, TOGETHER, AccessLog
from spyhole.observe.record import ConnectionRecord


def record(number: int, padding: int = 0) -> ConnectionRecord:
    return ConnectionRecord(0.0, f"client {number}", "x" * padding)


def numbers(data: bytes) -> list[int]:
    """The records that are in a log; every line has to be whole."""
    return [int(json.loads(line)["client"].removeprefix("client ")) for line in data.splitlines()]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Loop:
    """`call_later`, and time that passes when the test says so."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self.timers.append((delay, callback))

    def fire(self) -> None:
        timers, self.timers = self.timers, []
        for _, callback in timers:
            callback()


class Pipe:
    """A pipe of one page."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, 4096)
        self._open = {self.reader, self.writer}

    def close(self, fd: int) -> None:
        if fd in self._open:
            self._open.remove(fd)
            os.close(fd)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close(pipe.reader)
    pipe.close(pipe.writer)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the error log was given."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    monkeypatch.setattr(logging.getLogger("spyhole.access_log"), "handlers", [handler])
    return messages


def drain(reader: int) -> bytes:
    os.set_blocking(reader, False)
    pieces = []
    try:
        while piece := os.read(reader, 65536):
            pieces.append(piece)
    except BlockingIOError:
        pass
    return b"".join(pieces)


class TestBatches:
    def test_a_line_waits_for_the_timer_and_no_timer_runs_without_lines(self, tmp_path: Path) -> None:
        log, loop, file = AccessLog(tmp_path / "log"), Loop(), tmp_path / "log"
        log.attach(loop.call_later)
        assert loop.timers == []
        log.write(record(1))
        log.write(record(2))
        assert file.read_bytes() == b""
        assert [delay for delay, _ in loop.timers] == [FLUSH_INTERVAL]
        loop.fire()
        assert numbers(file.read_bytes()) == [1, 2]
        assert loop.timers == []
        log.write(record(3))
        assert len(loop.timers) == 1
        log.close()
        assert numbers(file.read_bytes()) == [1, 2, 3]

    def test_a_full_batch_does_not_wait(self, tmp_path: Path) -> None:
        log, file = AccessLog(tmp_path / "log"), tmp_path / "log"
        written = 0
        while file.stat().st_size == 0:
            written += 1
            log.write(record(written))
            assert written < BATCH
        assert file.stat().st_size >= BATCH
        assert numbers(file.read_bytes()) == list(range(1, written + 1))
        log.close()

    def test_off_and_human(self, tmp_path: Path) -> None:
        off = AccessLog("off")
        off.write(record(1))
        off.flush()
        off.reopen()
        off.close()
        log = AccessLog(tmp_path / "log", "human")
        log.write(record(1))
        log.close()
        assert (tmp_path / "log").read_text().endswith("✕ internal_error\n")

    def test_a_new_file_is_not_for_everybody_and_an_old_one_is_added_to(self, tmp_path: Path) -> None:
        for number in (1, 2):
            log = AccessLog(str(tmp_path / "log"))
            log.write(record(number))
            log.close()
        assert numbers((tmp_path / "log").read_bytes()) == [1, 2]
        assert stat.S_IMODE((tmp_path / "log").stat().st_mode) & 0o137 == 0

    def test_reopen_goes_on_in_a_new_file(self, tmp_path: Path) -> None:
        file = tmp_path / "log"
        log = AccessLog(file)
        log.write(record(1))
        file.rename(tmp_path / "log.1")
        log.write(record(2))
        log.reopen()
        log.write(record(3))
        log.close()
        assert numbers((tmp_path / "log.1").read_bytes()) == [1, 2]
        assert numbers(file.read_bytes()) == [3]

    def test_where_reopen_fails_the_old_file_stays(self, tmp_path: Path, said: list[str]) -> None:
        file = tmp_path / "log"
        log = AccessLog(file)
        file.rename(tmp_path / "log.1")
        file.mkdir()
        log.reopen()
        log.write(record(1))
        log.close()
        assert said == [f"access_log = '{file}' can't be reopened: Is a directory"]
        assert numbers((tmp_path / "log.1").read_bytes()) == [1]

    @pytest.mark.parametrize("target", ["/nonexistent/log", "/", 987_654])
    def test_what_cannot_be_opened_is_the_operators_error(self, target: str | int) -> None:
        with pytest.raises(OperatorError, match=r"^access_log = .* can't be opened: "):
            AccessLog(target)

    def test_a_fifo_without_a_reader_does_not_hang(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo")
        with pytest.raises(OperatorError, match="nobody reads"):
            AccessLog(tmp_path / "fifo")


class TestPipe:
    def test_a_full_pipe_is_not_waited_for_and_nothing_is_lost(self, pipe: Pipe) -> None:
        log, loop = AccessLog(pipe.writer), Loop()
        log.attach(loop.call_later)
        for number in range(200):
            log.write(record(number))
        seen = b""
        while loop.timers:
            loop.fire()
            piece = drain(pipe.reader)
            assert piece.endswith(b"\n")
            seen += piece
        assert numbers(seen) == list(range(200))
        assert log.dropped == 0
        log.close()

    def test_the_shared_descriptor_stays_blocking(self, pipe: Pipe) -> None:
        log = AccessLog(pipe.writer)
        log.write(record(1))
        log.flush()
        assert os.get_blocking(pipe.writer)
        log.close()
        os.write(pipe.writer, b"still open")

    def test_a_pipe_of_somebody_else_is_polled(self, pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
        def denied(*arguments: object) -> int:
            raise PermissionError

        with monkeypatch.context() as patch:
            patch.setattr(os, "open", denied)
            log = AccessLog(pipe.writer)
        for number in range(200):
            log.write(record(number))
            log.flush()  # would hang here if it waited
        first = drain(pipe.reader)
        assert 0 < len(first) <= 4096
        log.flush()
        seen = numbers(first + drain(pipe.reader))
        assert seen == list(range(len(seen)))
        log.close(patience=0)

    def test_more_than_the_backlog_is_dropped_counted_and_said(self, pipe: Pipe, said: list[str]) -> None:
        clock = Clock()
        log, loop = AccessLog(pipe.writer, clock=clock), Loop()
        log.attach(loop.call_later)
        count = 0
        while log.dropped < 1000:
            log.write(record(count, 200))
            count += 1
        loop.fire()
        (message,) = said
        lost = log.dropped
        assert 1000 <= lost < 1000 + 2 * TOGETHER
        assert message.endswith(f"too slow; {lost} lines lost, {log._size} bytes wait")
        assert BACKLOG - 4096 < log._size <= BACKLOG
        log.write(record(count, 200))
        loop.fire()
        assert len(said) == 1  # within the second
        clock.now += 1
        loop.fire()
        assert len(said) == 2
        assert "; 1 lines lost" in said[1]
        # the reader is back: all that was kept arrives, and then all that is new
        log.write(record(count, 200))
        seen = b""
        while log._size:
            seen += drain(pipe.reader)
            loop.fire()
        assert len(said) == 2
        clock.now += 1
        loop.fire()  # what it still owed is said with nothing left to write
        assert "; 1 lines lost, 0 bytes wait" in said[2]
        assert loop.timers == []
        log.write(record(5_000_000))
        loop.fire()
        seen += drain(pipe.reader)
        assert numbers(seen) == [*range(count - lost), 5_000_000]
        log.close()

    def test_a_reader_that_left_costs_lines_and_no_exception(self, pipe: Pipe, said: list[str]) -> None:
        log = AccessLog(pipe.writer)
        pipe.close(pipe.reader)
        for number in range(3):
            log.write(record(number))
            log.flush()
        log.close()
        assert log.dropped == 3
        assert "Broken pipe; 0 lines lost" in said[0]
        assert "Broken pipe; 3 lines lost, 0 bytes wait" in said[1]

    def test_at_exit_a_slow_reader_is_given_time(self, pipe: Pipe) -> None:
        log = AccessLog(pipe.writer)
        for number in range(100):
            log.write(record(number))
        seen: list[bytes] = []
        with open(pipe.reader, "rb", closefd=False) as stream:
            reading = threading.Thread(target=lambda: seen.extend(stream))
            reading.start()
            log.close(patience=60)
            pipe.close(pipe.writer)
            reading.join()
        assert numbers(b"".join(seen)) == list(range(100))

    def test_workers_lines_do_not_interleave(self, pipe: Pipe) -> None:
        program = (
            "import sys; from spyhole.observe.access_log import AccessLog\n"
            "from spyhole.observe.record import ConnectionRecord\n"
            "log, me = AccessLog('-'), int(sys.argv[1])\n"
            "for n in range(400):\n"
            "    log.write(ConnectionRecord(0.0, f'client {me + n}', 'x' * (n % 250)))\n"
            "    log.flush()\n"
            "log.close(patience=60)\n"
        )
        workers = [
            subprocess.Popen([sys.executable, "-c", program, str(me)], stdout=pipe.writer)
            for me in (0, 1000, 2000)
        ]
        pipe.close(pipe.writer)
        with open(pipe.reader, "rb", closefd=False) as stream:
            seen = numbers(stream.read())
        assert [worker.wait() for worker in workers] == [0, 0, 0]
        assert sorted(seen) == [me + n for me in (0, 1000, 2000) for n in range(400)]

    def test_a_socket_such_as_the_journals(self) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            log = AccessLog(ours.fileno())
            for number in range(3000):
                log.write(record(number))
            log.flush()
            assert 0 < log._size < BACKLOG
            theirs.settimeout(60)
            seen = b""
            while log._size or seen.count(b"\n") < 3000:
                seen += theirs.recv(1 << 20)
                log.flush()
            assert numbers(seen) == list(range(3000))
            assert os.get_blocking(ours.fileno())
            log.close()

    def test_a_terminal_that_is_stopped(self) -> None:
        try:
            master, slave = os.openpty()
        except OSError as error:
            pytest.skip(f"needs a pseudo-terminal: {error}")
        try:
            log = AccessLog(slave)
            for number in range(200):
                log.write(record(number))
            log.flush()  # would hang here if it waited: a terminal takes some 4 KiB
            assert log._size > 0
            seen = b""
            while log._size or seen.count(b"\n") < 200:
                seen += os.read(master, 65536)
                log.flush()
            assert numbers(seen) == list(range(200))
            log.close()
        finally:
            os.close(master)
            os.close(slave)


class TestFullDisk:
    def test_dev_full(self, said: list[str]) -> None:
        clock = Clock()
        log = AccessLog("/dev/full", clock=clock)
        for number in range(20):
            clock.now += 0.1
            log.write(record(number))
            log.flush()
        assert said == [
            f"access_log = '/dev/full': No space left on device; 0 lines lost, {log._size // 20} bytes wait"
        ]
        log.close()
        assert said[1:] == [
            "access_log = '/dev/full': No space left on device; 20 lines lost, 0 bytes wait"
        ]
        assert log.dropped == 20

    @pytest.fixture
    def file_size_limit(self) -> Iterator[Callable[[int], None]]:
        """A limit on the size of a file stands for the size of a disk: it, too, cuts a write short."""
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    def test_when_space_is_back_the_torn_line_is_completed(
        self, tmp_path: Path, said: list[str], file_size_limit: Callable[[int], None]
    ) -> None:
        file = tmp_path / "log"
        log = AccessLog(file)
        for number in range(10):
            log.write(record(number))
        file_size_limit(1000)
        log.flush()
        assert file.stat().st_size == 1000
        log.write(record(10))
        log.flush()
        file_size_limit(1500)
        log.flush()
        assert file.stat().st_size == 1500
        file_size_limit(1_000_000)
        log.write(record(11))
        log.flush()
        assert numbers(file.read_bytes()) == list(range(12))
        assert log.dropped == 0
        assert len(said) == 1
        log.close()

    def test_a_line_torn_under_another_workers_line_goes_out_again(
        self, tmp_path: Path, said: list[str], file_size_limit: Callable[[int], None]
    ) -> None:
        file = tmp_path / "log"
        log, other = AccessLog(file), AccessLog(file)
        for number in range(4):
            log.write(record(number))
        file_size_limit(1000)
        log.flush()
        whole = file.read_bytes().count(b"\n")
        file_size_limit(1_000_000)
        other.write(record(100))
        other.close()
        log.close()
        lines = file.read_bytes().splitlines()
        glued = lines.pop(whole)
        assert glued.startswith(b'{"time"')
        assert b"client 100" in glued
        assert numbers(b"\n".join(lines)) == [0, 1, 2, 3]
        assert log.dropped == 0

    def test_a_torn_line_goes_whole_to_the_file_after_a_rotation(
        self, tmp_path: Path, said: list[str], file_size_limit: Callable[[int], None]
    ) -> None:
        file = tmp_path / "log"
        log = AccessLog(file)
        for number in range(4):
            log.write(record(number))
        file_size_limit(1000)
        log.flush()
        whole = file.read_bytes().count(b"\n")
        file.rename(tmp_path / "log.1")
        file.write_bytes(b" " * 999 + b"\n")  # another worker's, and by chance as long
        log.reopen()
        file_size_limit(1_000_000)
        log.close()
        assert numbers(file.read_bytes()[1000:]) == list(range(whole, 4))
