"""hitch, from Debian: terminates TLS for one backend."""

from __future__ import annotations

import os

from bench.peers import TERMINATE, WORKERS, Job, said

NAME = "hitch"
DOES = frozenset({TERMINATE, WORKERS})
NOTE = "one backend for all names"


def version() -> str | None:
    text = said("hitch", "--version")
    return text and text.split()[-1]


def command(job: Job) -> list[str]:
    assert job.certificate is not None
    host, _, port = job.listen.rpartition(":")
    backend_host, _, backend_port = next(iter(job.routes.values())).rpartition(":")
    lines = [
        f'frontend = {{ host = "{host}"; port = "{port}" }}',
        f'backend = "[{backend_host}]:{backend_port}"',
        f'pem-file = "{job.certificate.both}"',
        f"workers = {job.workers}",
        "backlog = 4096",
        "daemon = off",
        "log-level = 1",
        "tls-protos = TLSv1.3",
    ]
    if os.geteuid() == 0:
        lines += ['user = "nobody"', 'group = "nogroup"']  # it refuses to work as root
    return ["hitch", f"--config={job.write('hitch.conf', lines)}"]
