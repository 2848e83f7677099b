"""HAProxy with splice both ways, always: better at bulk, worse at small messages."""

from __future__ import annotations

from bench.peers import Job, haproxy

NAME = "haproxy-splice"

version = haproxy.version


def command(job: Job) -> list[str]:
    return haproxy.configured(job, ["splice-request", "splice-response"])
