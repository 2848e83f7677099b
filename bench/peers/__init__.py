"""The proxies that are measured: one small file for each.

To add one, write a module here (or anywhere, and name it with `--peer-file`) that has:

    NAME      how the tables call it
    DOES      which of PASS, TERMINATE, LOG and WORKERS it can do
    version() its version as text, or None when it is not installed
    command(job) → the command line that runs it in the foreground; files go to job.directory
    NOTE      optional: what a reader of the figures should know of it

All do the same job: listen on `job.listen`, find out the name that the client asks for, and connect it to
the backend of that name in `job.routes`: as it is, or, if there is a `job.certificate`, as plaintext behind
TLS 1.3. They use `job.workers` workers, and write no log, or one line for each connection to `job.log`.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, cast

from bench.programs import BUILD

if TYPE_CHECKING:
    from bench.certificate import Certificate

PASS: Final = "pass"
"""Passes a connection on by its server name, unopened."""
TERMINATE: Final = "terminate"
"""Terminates TLS 1.3 and connects the plaintext."""
LOG: Final = "log"
"""Writes a line for each connection that it passes."""
WORKERS: Final = "workers"
"""Can be told how many threads or processes work."""


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
    certificate: Certificate | None = None
    """Terminate TLS with it."""
    log: Path | None = None

    @property
    def groups(self) -> dict[str, list[str]]:
        """Backend address → the names that go there."""
        found: dict[str, list[str]] = {}
        for name, backend in self.routes.items():
            found.setdefault(backend, []).append(name)
        return found

    def write(self, name: str, lines: list[str]) -> Path:
        """Write a file of the job's directory."""
        path = self.directory / name
        path.write_text("\n".join([*lines, ""]))
        return path


class Peer(Protocol):
    """What a module in this directory has to have."""

    NAME: str
    DOES: frozenset[str]

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


def note(peer: Peer) -> str:
    """What a reader should know of it."""
    return str(getattr(peer, "NOTE", ""))


def in_wheel(pattern: str) -> Path | None:
    """A file of the wheels that scripts/install-bench-peers puts into an environment of their own."""
    return next((BUILD / "peers").glob(pattern), None)


def redirected(stream: int, to: Path, command: list[str]) -> list[str]:
    """The command line, with its standard output (1) or error (2) to a file."""
    return ["sh", "-c", f'to=$1; shift; exec "$@" {stream}>"$to"', "sh", str(to), *command]


def said(*command: str) -> str | None:
    """What a command prints, or None when it is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except OSError:
        return None
    return (done.stdout + done.stderr).strip()
