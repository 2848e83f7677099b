r"""Any program that runs until it is told to end: an example, or a command of spyhole.

with Program(sys.executable, "-u", "examples/step1_accept_loop.py", "127.0.0.1:0") as program:
    address = program.wait_for(r"listening on (\S+)")[1]
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from support.spyhole_process import BOUND, Lines


class Program:
    """A child process in a session of its own; what it says on stdout and stderr is one text."""

    def __init__(
        self,
        *words: str | Path,
        directory: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._process = subprocess.Popen(
            list(map(str, words)),
            cwd=directory,
            env=None if environment is None else {**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that all that it started can be ended with it
        )
        assert self._process.stdout is not None
        self.pid = self._process.pid
        self._lines = Lines(self._process.stdout)

    @property
    def text(self) -> str:
        """What it has said until now."""
        return "\n".join(self._lines.wait(lambda _: True))

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first match of `pattern` in a line; waits for it."""
        wanted = re.compile(pattern)
        for line in self._lines.wait(lambda lines: any(map(wanted.search, lines))):
            if match := wanted.search(line):
                return match
        raise AssertionError(f"it ended and never said {pattern!r}\n{self.text}")

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait until it has ended by itself, and all that it started; its exit status."""
        try:
            status = self._process.wait(BOUND)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end\n{self.text}") from None
        self._lines.join()
        return status

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        started = descendants(self.pid) if self._process.poll() is None else []
        self._process.kill()
        self._process.wait()
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        for pid in started:  # those in a session of their own
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._lines.join()


def descendants(pid: int) -> list[int]:
    """The processes that `pid` started, and those that they started."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [each for child in map(int, children) for each in (child, *descendants(child))]
