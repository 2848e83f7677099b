"""The load generator, a C program: building it, and talking to one that runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BUILD = HERE / "build"
LOAD = BUILD / "load"


def build() -> None:
    """Compile it, if it is older than its source."""
    BUILD.mkdir(exist_ok=True)
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    sources = [HERE / "load.c", HERE / "backend.c"]
    newest = max(path.stat().st_mtime for path in [*sources, HERE / "common.h"])
    if LOAD.exists() and LOAD.stat().st_mtime > newest:
        return
    if compiler is None:
        raise SystemExit("the load generator is written in C: install gcc (apt-get install gcc)")
    subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-o", LOAD, *sources], check=True)


class Program:
    """A program that says `ready`, works when told to, and ends with its standard input."""

    def __init__(self, command: list[str], cores: set[int]) -> None:
        self._process = subprocess.Popen(
            on_cores(command, cores), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        line = self._read()
        if line != "ready":
            self._process.kill()
            raise SystemExit(f"{Path(command[0]).name} did not start: {line!r}")

    def go(self) -> dict[str, Any]:
        """Tell it to work; what it measured."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        line = self._read()
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError:
            raise SystemExit(f"the load generator gave up: {line!r}") from None
        return answer

    def end(self) -> str:
        """Close its standard input, and return what else it said."""
        try:
            out, _ = self._process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        return str(out)

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def on_cores(command: list[str], cores: set[int]) -> list[str]:
    """The command, pinned."""
    return ["taskset", "-c", ",".join(map(str, sorted(cores))), *command]
