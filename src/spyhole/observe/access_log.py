"""The access log: one line for every connection that was accepted, batched, and never waited for.

log = AccessLog(config.access_log, config.access_log_format)   # the supervisor, before it drops root
log.attach(loop.call_later)                                    # each worker, after the fork
log.write(record)                                              # each connection, at its end
log.reopen()                                                   # after a rotation
log.close()                                                    # at exit
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from spyhole.observe.formats import human_line, json_line
from spyhole.observe.sink import PIECE, Sink

if TYPE_CHECKING:
    from spyhole.observe.record import ConnectionRecord

FLUSH_INTERVAL: Final = 0.25
"""Seconds that a line waits at most, where the reader keeps up."""

BATCH: Final = 65_536
"""Bytes at which a batch does not wait for its time."""

BACKLOG: Final = 1_048_576
"""Bytes that are kept while they can't be written. What comes then is dropped, and counted."""

TOGETHER: Final = 32
"""Records that become lines at once: one after the other they find their code in the processor's caches."""

_logger: Final = logging.getLogger("spyhole.access_log")
_FORMATS: Final = {"json": json_line, "human": human_line}


class AccessLog:
    """Writes records to `target`: a path, "-" for stdout, a descriptor, or "off".

    It stays usable whatever becomes of the target: a full pipe, a full disk or a reader that left costs the
    lines that don't fit the backlog. The error log says how many, once a second at most.

    Raises OperatorError when the target can't be opened.
    """

    def __init__(
        self,
        target: str | Path | int,
        form: Literal["json", "human"] = "json",
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.dropped = 0
        """Lines lost since the start."""
        self._sink = None if target == "off" else Sink(1 if target == "-" else target, key="access_log")
        self.enabled = target != "off"
        """Whether a record is worth making complete."""
        self._format = _FORMATS[form]
        self._clock = clock
        self._records: list[ConnectionRecord] = []
        self._pending: deque[bytes] = deque()
        self._size = 0
        self._blocked = False
        # A line that only the head of went out, and the file's size then.
        self._torn = b""
        self._torn_size = 0
        self._call_later: Callable[[float, Callable[[], None]], object] | None = None
        self._armed = False
        self._unsaid = 0
        self._error: OSError | None = None
        self._error_said = False
        self._said_at: float | None = None

    def attach(self, call_later: Callable[[float, Callable[[], None]], object]) -> None:
        """Flush by this timer from now on (`loop.call_later`). Unattached, somebody has to call `flush`."""
        self._call_later = call_later

    def write(self, record: ConnectionRecord) -> None:
        """Take the record of a connection that ended; it is not changed any more.

        Does not raise for anything the target does.
        """
        if self._sink is None:
            return
        self._records.append(record)
        if len(self._records) >= TOGETHER:
            self._form_lines()
            if self._size >= BATCH and not self._blocked:
                self.flush()
        if not self._armed:
            self._arm()

    def flush(self) -> None:
        """Write what the target takes now, keep the rest, and say what was lost."""
        if self._sink is None:
            return
        self._form_lines()
        self._blocked = False
        try:
            while self._pending:
                self._write_piece(self._sink)
        except BlockingIOError:
            self._blocked = True
        except OSError as error:
            self._blocked = True
            self._error = error
        self._report(self._sink)
        if self._pending or self._unsaid:
            self._arm()

    def reopen(self) -> bool:
        """Go on in a new file, after a rotation. Where that fails, False, the old one stays in use."""
        if self._sink is None:
            return True
        self.flush()
        try:
            self._sink.reopen()
        except OSError as error:
            _logger.error("access_log = %r can't be reopened: %s", self._sink.name, error.strerror)
            return False
        self._restore_torn_line()
        return True

    def close(self, patience: float = 1.0) -> None:
        """Write the rest and close. A slow reader has `patience` seconds; what is left then is lost."""
        if self._sink is None:
            return
        self._call_later = None
        deadline = time.monotonic() + patience
        self.flush()
        while self._pending and self._error is None and (left := deadline - time.monotonic()) > 0:
            self._sink.wait(left)
            self.flush()
        self._drop(sum(piece.count(b"\n") for piece in self._pending))
        self._pending.clear()
        self._size = 0
        self._said_at = None
        self._report(self._sink)
        self._sink.close()
        self._sink = None

    def _form_lines(self) -> None:
        """Make lines of the records, as many as there is room for."""
        records, self._records = self._records, []
        for line in map(self._format, records):
            if self._size + len(line) > BACKLOG:
                self._drop(1)
            else:
                self._pending.append(line)
                self._size += len(line)

    def _write_piece(self, sink: Sink) -> None:
        if self._torn and sink.size() != self._torn_size:
            # Another worker's lines, which end with a newline, are behind the head of ours.
            self._restore_torn_line()
        piece = self._take(None if sink.is_file else PIECE)
        try:
            written = sink.write(piece)
        except OSError:
            self._pending.appendleft(piece)
            raise
        self._size -= written
        if written == len(piece):
            self._torn = b""
            self._error = None
            self._error_said = False
            return
        self._pending.appendleft(piece[written:])
        self._torn = (self._torn + piece[:written]).rpartition(b"\n")[2]
        self._torn_size = sink.size()

    def _restore_torn_line(self) -> None:
        """The line goes out again, whole: its rest would not follow its head."""
        if self._torn:
            self._pending[0] = self._torn + self._pending[0]
            self._size += len(self._torn)
            self._torn = b""

    def _take(self, limit: int | None) -> bytes:
        """Whole lines off the front, at most `limit` bytes of them but for a single longer piece."""
        if limit is None or self._size <= limit:
            piece = b"".join(self._pending)
            self._pending.clear()
            return piece
        lines = [self._pending.popleft()]
        room = limit - len(lines[0])
        while self._pending and len(self._pending[0]) <= room:
            lines.append(self._pending.popleft())
            room -= len(lines[-1])
        return b"".join(lines)

    def _drop(self, lines: int) -> None:
        self.dropped += lines
        self._unsaid += lines

    def _report(self, sink: Sink) -> None:
        """Say what was lost, and once what the matter is: at most once a second."""
        if not self._unsaid and (self._error is None or self._error_said):
            return
        now = self._clock()
        if self._said_at is not None and now - self._said_at < 1:
            return
        self._said_at = now
        self._error_said = self._error is not None
        why = "its reader is too slow" if self._error is None else self._error.strerror
        _logger.warning(
            "access_log = %r: %s; %d lines lost, %d bytes wait", sink.name, why, self._unsaid, self._size
        )
        self._unsaid = 0

    def _arm(self) -> None:
        if self._call_later is not None and not self._armed:
            self._armed = True
            self._call_later(FLUSH_INTERVAL, self._tick)

    def _tick(self) -> None:
        self._armed = False
        self.flush()
