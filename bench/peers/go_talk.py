"""A Go program in the manner of the GopherCon 2018 talk: go_talk.d/main.go, built with Debian's Go."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from bench.peers import PASS, WORKERS, Job, said
from bench.programs import BUILD

NAME = "go-talk"
DOES = frozenset({PASS, WORKERS})
NOTE = "go_talk.d/main.go; io.Copy splices: six descriptors for a connection; workers: GOMAXPROCS"

_SOURCE = Path(__file__).with_name("go_talk.d") / "main.go"
_PROGRAM = BUILD / "go-talk"


def version() -> str | None:
    text = said("go", "version")
    return text.split()[2].removeprefix("go") if text and _build() else None


def command(job: Job) -> list[str]:
    routes = job.write("routes", [f"{name}={backend}" for name, backend in job.routes.items()])
    return ["env", f"GOMAXPROCS={job.workers}", str(_PROGRAM), job.listen, str(routes)]


def _build() -> bool:
    """Build it, if it is older than its source; offline, the standard library is all that it needs."""
    if _PROGRAM.exists() and _PROGRAM.stat().st_mtime > _SOURCE.stat().st_mtime:
        return True
    BUILD.mkdir(exist_ok=True)
    environment = os.environ | {"GO111MODULE": "off", "GOFLAGS": "", "GOPROXY": "off", "CGO_ENABLED": "0"}
    environment.setdefault("GOCACHE", str(BUILD / "go-cache"))
    go = shutil.which("go")
    assert go is not None
    done = subprocess.run([go, "build", "-o", str(_PROGRAM), str(_SOURCE)], env=environment, check=False)
    return done.returncode == 0
