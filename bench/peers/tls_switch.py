"""tls-switch, in Go, from the wheel of that name."""

from __future__ import annotations

import json
from pathlib import Path

from bench.peers import LOG, PASS, TERMINATE, WORKERS, Job, in_wheel, redirected, said

NAME = "tls-switch"
DOES = frozenset({PASS, TERMINATE, LOG, WORKERS})
NOTE = (
    "from the wheel tls-switch; it splices: six descriptors for a connection; workers: GOMAXPROCS; "
    "it can not be told to write no log: /dev/null gets it"
)

_FILE = "bin/tls-switch"


def version() -> str | None:
    program = in_wheel(_FILE)
    text = said(str(program), "--version") if program else None
    return text and text.split()[-1]


def command(job: Job) -> list[str]:
    hosts = {}
    for name, backend in job.routes.items():
        hosts[name] = {"mode": "passthrough", "backend": backend}
        if job.certificate:
            hosts[name] |= {
                "mode": "terminate",
                "cert": str(job.certificate.chain),
                "key": str(job.certificate.key),
            }
    path = job.directory / "config.json"
    path.write_text(json.dumps({"listen": job.listen, "hosts": hosts}))
    words = ["env", f"GOMAXPROCS={job.workers}", str(in_wheel(_FILE)), "-c", str(path)]
    return redirected(2, job.log or Path("/dev/null"), words)
