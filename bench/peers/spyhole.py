"""Ours."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.peers import Job, said

NAME = "spyhole"

_PROGRAM = Path(sys.executable).with_name("spyhole")


def version() -> str | None:
    text = said(str(_PROGRAM), "--version")
    return text and text.split()[-1]


def command(job: Job) -> list[str]:
    words = [
        str(_PROGRAM),
        "run",
        "--listen",
        job.listen,
        "--workers",
        str(job.workers),
        "--access-log",
        "off",
    ]
    for name, backend in job.routes.items():
        words += ["--route", f"{name}={backend}"]
    return words
