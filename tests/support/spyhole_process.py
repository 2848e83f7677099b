"""A real `spyhole run` in a process of its own.

    def test_it(spyhole, tmp_path):                     # the fixture: starts any number of them
        proxy = spyhole("--listen", "127.0.0.1:0", "--route", f"*={backend.address}")
        proxy = spyhole(config='''[[listeners]] …''')   # or with a configuration file
        proxy.sockaddr()                                # ("127.0.0.1", 40123): the first listener's
        proxy.access_records(2)                         # waits for two connections to be logged
        assert proxy.stop() == 0                        # SIGTERM, and the exit status

Nothing sleeps: it is ready when it prints `spyhole: ready, listening on ADDR[, ADDR…]` on stderr. At the
end of the test every process is ended by its own id, and a traceback on stderr fails the test.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, cast

BOUND = 60.0
"""Seconds after which a wait that should be answered at once counts as hung."""

SPYHOLE_RUN = (sys.executable, "-m", "spyhole", "run")

_READY = re.compile(r"spyhole: ready, listening on (.+)$")
_TRACEBACKS = ("Traceback (most recent call last)", "Exception ignored in")


class SpyholeProcess:
    """`python -m spyhole run ARGUMENTS`, ready when the constructor returns.

    With `config`, its text goes to `directory/spyhole.toml`, and `-c` with it comes before the arguments.
    `command` replaces `python -m spyhole run`.
    """

    def __init__(
        self,
        *arguments: str | Path,
        directory: Path,
        config: str | None = None,
        command: Sequence[str] = SPYHOLE_RUN,
    ) -> None:
        words = [*command]
        if config is not None:
            self.config_file = directory / "spyhole.toml"
            self.config_file.write_text(config, encoding="utf-8")
            words += ["-c", str(self.config_file)]
        words += map(str, arguments)
        self._process = subprocess.Popen(
            words,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # so that its workers can be ended with it, and with nothing else
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self.pid = self._process.pid
        self._stdout = Lines(self._process.stdout)
        self._stderr = Lines(self._process.stderr)
        self.addresses: list[str] = []
        """Where it listens, as it says: "127.0.0.1:40123", "[::1]:40123", "unix:/…"; real ports."""
        try:
            lines = self._stderr.wait(lambda lines: any(map(_READY.search, lines)))
            found = next(filter(None, map(_READY.search, lines)), None)
            if found is None:
                raise AssertionError(f"spyhole ended before it was ready\n{self._story()}")
            self.addresses = [address.strip() for address in found[1].split(",")]
        except BaseException:
            self._kill()
            raise

    def sockaddr(self, index: int = 0) -> Any:
        """The listener's address as `socket.connect` takes it: (host, port), or a unix socket's path."""
        address = self.addresses[index]
        if address.startswith("unix:"):
            return address.removeprefix("unix:")
        host, _, port = address.rpartition(":")
        return host.strip("[]"), int(port)

    def access_log_lines(self, count: int) -> list[str]:
        """The first `count` or more lines of the access log (on stdout); waits for them."""
        lines = self._stdout.wait(lambda lines: len(lines) >= count)
        assert len(lines) >= count, f"{len(lines)} lines of access log, not {count}\n{self._story()}"
        return lines

    def access_records(self, count: int) -> list[dict[str, Any]]:
        """`access_log_lines`, each decoded from JSON."""
        return [json.loads(line) for line in self.access_log_lines(count)]

    def record_of(self, client: socket.socket | str) -> dict[str, Any]:
        """The access log's record of a TCP client: its socket, or its address as logged; waits for it."""
        if not isinstance(client, str):
            host, port = client.getsockname()[:2]
            client = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        mark = f'"client":"{client}"'
        for line in self._stdout.wait(lambda lines: any(mark in line for line in lines)):
            if mark in line:
                return cast("dict[str, Any]", json.loads(line))
        raise AssertionError(f"spyhole ended and never logged {client}\n{self._story()}")

    def error_log_lines(self) -> list[str]:
        """What it has said on stderr until now."""
        return self._stderr.wait(lambda lines: True)

    def wait_for_error_log(self, text: str) -> str:
        """The first line on stderr that contains `text`; waits for it."""
        for line in self._stderr.wait(lambda lines: any(text in line for line in lines)):
            if text in line:
                return line
        raise AssertionError(f"spyhole ended and never said {text!r}\n{self._story()}")

    def worker_pids(self) -> list[int]:
        """The processes that it started and that still run."""
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait until it has ended by itself; its exit status (-N when signal N ended it)."""
        try:
            status = self._process.wait(BOUND)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"spyhole did not end\n{self._story()}") from None
        self._stdout.join()
        self._stderr.join()
        return status

    def stop(self) -> int:
        """SIGTERM, and wait for the drain; the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def finish(self, *, may_trace: bool = False) -> None:
        """End it whatever state it is in. Fails when stderr has a traceback and `may_trace` is not set."""
        self._kill()
        said = "\n".join(self._stderr.wait(lambda lines: True))
        assert may_trace or not any(mark in said for mark in _TRACEBACKS), f"a traceback\n{self._story()}"

    def _kill(self) -> None:
        # Its whole session, but only while its id is its own: not once it has been waited for.
        if self._process.returncode is None:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
        self._stdout.join()
        self._stderr.join()

    def _story(self) -> str:
        words = " ".join(map(str, self._process.args)) if isinstance(self._process.args, list) else ""
        return "\n".join([f"$ {words}", *self._stderr.wait(lambda lines: True)])


class Lines:
    """The lines of a stream, read by a thread as they come, to be waited for."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._lines: list[str] = []
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def wait(self, enough: Callable[[list[str]], bool]) -> list[str]:
        """The lines so far, once they are `enough` or the stream has ended."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._ended or enough(self._lines), BOUND):
                raise AssertionError("waited in vain; there was:\n" + "\n".join(self._lines))
            return list(self._lines)

    def join(self) -> None:
        self._thread.join(BOUND)
        assert not self._thread.is_alive(), "a process that outlives spyhole holds its output open"

    def _read(self) -> None:
        with self._stream as stream:
            for line in stream:
                with self._changed:
                    self._lines.append(line.decode("utf-8", "backslashreplace").rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
