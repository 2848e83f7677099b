"""The proxies that are measured: one small file for each.

To add one, write a module here (or anywhere, and name it with `--peer-file`) that has:

    NAME      how the tables call it
    version() its version as text, or None when it is not installed
    command(job) → the command line that runs it in the foreground; files go to job.directory

All do the same job: listen on `job.listen`, read the ClientHello, pass the connection through to the
backend of its server name in `job.routes`, use one worker (or `job.workers`), and write no log.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast


@dataclass(frozen=True)
class Job:
    """What a proxy is asked to do."""

    listen: str
    """"127.0.0.1:8443"."""
    routes: Mapping[str, str]
    """Server name → backend address."""
    directory: Path
    """An empty directory of its own."""
    workers: int = 1


class Peer(Protocol):
    """What a module in this directory has to have."""

    NAME: str

    def version(self) -> str | None:
        """Its version, or None when it is not there."""

    def command(self, job: Job) -> list[str]:
        """The command line that does the job in the foreground."""


def find(files: list[Path]) -> list[Peer]:
    """The peers of this directory in alphabetical order, and those in other files."""
    found = [importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]
    for path in files:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None:
            raise SystemExit(f"--peer-file {path}: not a Python file")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found.append(module)
    return [cast("Peer", module) for module in found]


def said(*command: str) -> str | None:
    """What a command prints, or None when it is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except OSError:
        return None
    return (done.stdout + done.stderr).strip()
