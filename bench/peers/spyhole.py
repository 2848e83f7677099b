"""Ours."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.peers import LOG, PASS, TERMINATE, WORKERS, Job, said

NAME = "spyhole"
DOES = frozenset({PASS, TERMINATE, LOG, WORKERS})

_PROGRAM = Path(sys.executable).with_name("spyhole")


def version() -> str | None:
    text = said(str(_PROGRAM), "--version")
    return text and text.split()[-1]


def command(job: Job) -> list[str]:
    mode = "terminate" if job.certificate else "passthrough"
    lines = [
        f"workers = {job.workers}",
        f'access_log = "{job.log or "off"}"',
        "[[listeners]]",
        f'bind = "{job.listen}"',
    ]
    for name, backend in job.routes.items():
        lines += ["[[routes]]", f'sni = "{name}"', f'mode = "{mode}"', f'upstream = "{backend}"']
    if job.certificate:
        lines += ["[[certificates]]", f'cert = "{job.certificate.chain}"', f'key = "{job.certificate.key}"']
    return [str(_PROGRAM), "run", "-c", str(job.write("spyhole.toml", lines))]
