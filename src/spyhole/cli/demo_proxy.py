"""The demo's proxy: a real `spyhole run` in a process of its own, its access log read as it is written."""

from __future__ import annotations

import json
import queue
import re
import signal
import subprocess
import sys
import threading
from typing import IO, TYPE_CHECKING, Any, Final, Self

from spyhole.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path
    from types import TracebackType

_READY: Final = re.compile(r"spyhole: ready, listening on (\S+):(\d+)$")
_START: Final = 60.0  # seconds; a slow machine imports for long
_DRAIN: Final = 10.0


class Proxy:
    """`spyhole run -c config`. A context manager: it is ended, drained, at the end."""

    def __init__(self, config: Path, waiting: Callable[[], AbstractContextManager[None]]) -> None:
        """`waiting` is entered whenever a method waits: it may then be interrupted."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "spyhole", "run", "-c", config],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is the demo's to answer
        )
        self._waiting = waiting
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._said: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._readers = [
            threading.Thread(target=_read, args=(stream, put))
            for stream, put in (
                (self._process.stdout, self._lines.put),
                (self._process.stderr, self._said.put),
            )
        ]
        for reader in self._readers:
            reader.start()

    def wait_until_ready(self) -> tuple[str, int]:
        """Its listener's host and port. Raises OperatorError, with what it said, if it does not start."""
        said = []
        try:
            while (line := self._next(self._said, _START)) is not None:
                if match := _READY.search(line):
                    return match[1], int(match[2])
                said.append(line)
        except queue.Empty:
            said.append(f"it is not ready after {_START:g} s")
        raise OperatorError("\n".join(["the proxy did not start:", *said]))

    def next_line(self, timeout: float | None = None) -> str | None:
        """The next line of the access log; None when the proxy has ended. Raises TimeoutError."""
        try:
            return self._next(self._lines, timeout)
        except queue.Empty:
            raise TimeoutError(f"no access log line within {timeout:g} s") from None

    def line_of(self, **wanted: str) -> tuple[str, dict[str, Any]]:
        """The next line with these values, and the same decoded. Raises TimeoutError, OperatorError."""
        while (line := self.next_line(timeout=_DRAIN)) is not None:
            record = json.loads(line)
            if all(record[key] == value for key, value in wanted.items()):
                return line, record
        raise OperatorError("the proxy ended by itself:\n" + self.said())

    def said(self) -> str:
        """What it said on standard error since last asked."""
        lines = []
        while not self._said.empty():
            lines.append(self._said.get() or "")
        return "\n".join(lines)

    def _next(self, lines: queue.SimpleQueue[str | None], timeout: float | None) -> str | None:
        with self._waiting():
            return lines.get(timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_DRAIN)
        except subprocess.TimeoutExpired:
            self._process.kill()  # its workers drain by themselves when it is gone
            self._process.wait()
        for reader in self._readers:
            reader.join(_DRAIN)


def _read(stream: IO[bytes], put: Callable[[str | None], None]) -> None:
    with stream:
        for line in stream:
            put(line.decode("utf-8", "backslashreplace").rstrip("\n"))
    put(None)
