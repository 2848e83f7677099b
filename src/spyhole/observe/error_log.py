"""The error log: what an operator should know, levelled, one line for each thing.

    2026-11-22T13:41:24.123Z warning worker[1] out of descriptors: accepting again when connections close

It is the standard library's logging under the name `spyhole`: a module says
`logging.getLogger(__name__).warning(…)`. What a peer can cause again and again goes through `RateLimited`,
so that no peer feeds the log at full speed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from spyhole.observe.formats import printable, utc
from spyhole.observe.sink import PIECE, Sink

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
"""The values of `log_level`."""

MAX_MESSAGE: Final = 2000
"""Characters of one line that are written; `…(+N)` says how many were not."""

MAX_KEYS: Final = 256
"""Keys that a `RateLimited` tells apart; further ones share a turn."""

_root: Final = logging.getLogger("spyhole")


class ErrorLog(logging.Handler):
    """Writes what the `spyhole` loggers say to `target`: a path, "-" for stderr, or a descriptor.

    It never waits: a line that stderr does not take now is lost, and the next one that it takes says how
    many were. `who` stands in every line; a worker sets its own after the fork (`log.who = "worker[1]"`).

    Raises OperatorError when the target can't be opened.
    """

    def __init__(
        self, target: str | Path | int = "-", level: str = "info", *, who: str = "supervisor"
    ) -> None:
        super().__init__()
        self.who = who
        self._sink: Sink | None = Sink(2 if target == "-" else target, key="error_log")
        self._lost = 0
        self._torn = False
        _root.setLevel(LEVELS[level])
        _root.propagate = False
        _root.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        seconds, ms = divmod(int(record.created * 1000), 1000)
        head = f"{utc(seconds)}.{ms:03d}Z {record.levelname.lower()} {self.who} "
        if self._lost and self._put(f"{head}{self._lost} lines of this log were lost: nobody took them"):
            self._lost = 0
        for line in _lines(record):
            if not self._put(head + printable(line, MAX_MESSAGE)):
                self._lost += 1

    def reopen(self) -> bool:
        """Go on in a new file, after a rotation. Where that fails, False, the old one stays in use."""
        if self._sink is None:
            return True
        try:
            self._sink.reopen()
        except OSError as error:
            _root.error("error_log = %r can't be reopened: %s", self._sink.name, error.strerror)
            return False
        return True

    def close(self) -> None:
        """Also called by the standard library, at exit."""
        if self._sink is not None:
            _root.removeHandler(self)
            _root.propagate = True
            self._sink.close()
            self._sink = None
        super().close()

    def _put(self, line: str) -> bool:
        if self._sink is None:
            return False
        data = line.encode("utf-8", "backslashreplace")
        if len(data) >= PIECE:  # a pipe would not take it in one piece
            data = data[: PIECE - 8].decode("utf-8", "ignore").encode() + "…".encode()
        data = (b"\n" if self._torn else b"") + data + b"\n"
        try:
            written = self._sink.write(data)
        except OSError:
            return False
        self._torn = written < len(data)
        return not self._torn


@dataclass(slots=True)
class _Said:
    at: float
    level: int = 0
    text: str = ""
    left_out: int = 0


class RateLimited:
    """Says a thing at most once each `every` seconds per key, and then how often it was left out.

    say = RateLimited(logging.getLogger(__name__))
    say.warning("accept", "can't accept: %s", error)      # called at any speed
    say.settle()                                          # by a timer and at exit: what is still owed
    """

    def __init__(
        self, logger: logging.Logger, *, every: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._logger = logger
        self._every = every
        self._clock = clock
        self._said: dict[str, _Said] = {}

    def debug(self, key: str, message: str, *args: object) -> None:
        self.log(logging.DEBUG, key, message, *args)

    def info(self, key: str, message: str, *args: object) -> None:
        self.log(logging.INFO, key, message, *args)

    def warning(self, key: str, message: str, *args: object) -> None:
        self.log(logging.WARNING, key, message, *args)

    def error(self, key: str, message: str, *args: object) -> None:
        self.log(logging.ERROR, key, message, *args)

    def log(self, level: int, key: str, message: str, *args: object) -> None:
        if not self._logger.isEnabledFor(level):
            return
        now = self._clock()
        said = self._said.get(key) or self._find(key, now)
        if now - said.at < self._every:
            said.left_out += 1
            said.level, said.text = level, message % args if args else message
            return
        more = f" (and {said.left_out} more like it)" if said.left_out else ""
        said.at = now
        said.left_out = 0
        self._logger.log(level, "%s%s", message % args if args else message, more)

    def settle(self, *, everything: bool = False) -> None:
        """Say what was left out and is due; with `everything`, at exit, also what is not due yet."""
        now = self._clock()
        for said in self._said.values():
            if said.left_out and (everything or now - said.at >= self._every):
                self._logger.log(said.level, "%s (%d like it)", said.text, said.left_out)
                said.at = now
                said.left_out = 0

    def _find(self, key: str, now: float) -> _Said:
        if len(self._said) >= MAX_KEYS:
            self._said = {
                k: said for k, said in self._said.items() if said.left_out or now - said.at < self._every
            }
            if len(self._said) >= MAX_KEYS:
                key = ""
        return self._said.setdefault(key, _Said(at=now - self._every))


def _lines(record: logging.LogRecord) -> list[str]:
    """The message, and the lines of its traceback: each becomes a line of the log, with its own head."""
    try:
        lines = [record.getMessage()]
    except Exception as error:  # its arguments don't fit: still worth reading
        lines = [f"{record.msg!r} {record.args!r} ({error})"]
    if record.exc_info:
        lines += logging.Formatter().formatException(record.exc_info).splitlines()
    return lines
