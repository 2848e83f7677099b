"""The load generator, a C program: building it, and talking to one that runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Self

HERE = Path(__file__).parent
BUILD = HERE / "build"
LOAD = BUILD / "load"
WIRE = BUILD / "wire"
_SOURCES = {LOAD: ["load.c", "client.c", "loop.c", "backend.c", "tls.c"], WIRE: ["wire.c"]}
_HEADERS = ["common.h", "client.h", "tls.h"]


class Failed(Exception):
    """A proxy or the load generator did not do its work. The benchmark goes on without that cell."""


def build() -> None:
    """Compile what is older than its source."""
    BUILD.mkdir(exist_ok=True)
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    for program, names in _SOURCES.items():
        sources = [HERE / name for name in names]
        newest = max(path.stat().st_mtime for path in [*sources, *(HERE / name for name in _HEADERS)])
        if program.exists() and program.stat().st_mtime > newest:
            continue
        if compiler is None:
            raise SystemExit(
                "the load generator is written in C: install gcc (apt-get install gcc libc6-dev)"
            )
        subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-o", program, *sources, "-ldl"], check=True)


class Program:
    """A program that says `ready`, works as long as it is told to, and ends with its standard input.

    A context manager: it is ended when the context is left, and killed if that is by an exception.
    """

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            line = self._read()
            if line != "ready":
                raise Failed(_complaint(line))
        except BaseException:
            self.kill()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind:
            self.kill()
        else:
            self.end()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def go(self, milliseconds: int) -> dict[str, Any]:
        """Tell it to work so long; what it measured. Raises Failed."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{milliseconds}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Failed(_complaint(self._read())) from None
        line = self._read()
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError:
            raise Failed(_complaint(line)) from None
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.communicate()

    def end(self) -> None:
        """Close its standard input, and wait for its end."""
        try:
            self._process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failed("the load generator does not end") from None
        except BaseException:
            self.kill()
            raise

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def _complaint(line: str) -> str:
    try:
        return str(json.loads(line)["error"])
    except (ValueError, KeyError, TypeError):
        return f"the load generator gave up: {line!r}"
