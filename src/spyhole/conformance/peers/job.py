"""What a proxy is asked to do, and what the suite has to know of each."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spyhole.conformance.routes import DELTA, GAMMA, TERMINATED_NAMES, Routes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SBIN: Final = "/usr/local/sbin:/usr/sbin:/sbin"


@dataclass(frozen=True, slots=True)
class Job:
    """Listen on `port` of 127.0.0.1, give a client `deadline` seconds for its hello, pass TLS through by
    `routes`, and all other TLS to the backend `default`; refuse what is not TLS. Where a peer can: serve
    TLS itself on `terminating_port` for two names, with the certificate, and hand on the plaintext."""

    program: str
    port: int
    terminating_port: int
    deadline: float
    routes: Routes
    backends: Mapping[str, str]
    """Label → "127.0.0.1:40123"."""
    certificate: Path
    key: Path
    directory: Path
    """An empty directory of its own, for what it needs."""

    @property
    def listen(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def terminating(self) -> str:
        return f"127.0.0.1:{self.terminating_port}"

    @property
    def milliseconds(self) -> int:
        return round(self.deadline * 1000)

    @property
    def terminated(self) -> dict[str, str]:
        """The names for which TLS ends at the proxy, and their backends' labels."""
        return dict(zip(TERMINATED_NAMES, (GAMMA, DELTA), strict=True))

    @property
    def names_of(self) -> dict[str, list[str]]:
        """Label → the names that are routed there."""
        found: dict[str, list[str]] = {}
        for name, label in self.routes.names.items():
            found.setdefault(label, []).append(name)
        return found

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.write_text(text, encoding="utf-8")
        return path


@dataclass(frozen=True, slots=True)
class Peer:
    """A proxy: its name, its program, and how to configure it."""

    name: str
    command: Callable[[Job], list[str]]
    """Write the configuration, and return the command line that runs in the foreground."""
    version_flag: str = "--version"
    terminates_on: Callable[[Job], int] | None = None
    """The port on which it serves TLS itself; None: it can't."""
    debian: str = ""
    pypi: str = ""
    """Where it is to be had."""

    def find(self) -> str | None:
        """Its program: beside Python, as a wheel brings it, or on the PATH. Daemons live in sbin, which is
        not on everybody's."""
        folders = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath), _SBIN]
        return shutil.which(self.name, path=os.pathsep.join(folders))

    def version(self, program: str) -> str:
        """The first number with a dot in what it says of its version."""
        try:
            done = subprocess.run(
                [program, self.version_flag], capture_output=True, text=True, timeout=60, check=False
            )
        except OSError as error:
            return error.strerror or "?"
        match = re.search(r"\d+\.\d+[\w.+~-]*", done.stdout + done.stderr)
        return match[0] if match else "?"
