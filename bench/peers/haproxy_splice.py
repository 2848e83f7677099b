"""HAProxy with splice both ways, always: better at bulk, worse at small messages."""

from __future__ import annotations

from bench.peers import LOG, PASS, WORKERS, Job, haproxy

NAME = "haproxy-splice"
DOES = frozenset({PASS, LOG, WORKERS})
NOTE = "option splice-request and splice-response; terminated it is the same as haproxy"

version = haproxy.version


def command(job: Job) -> list[str]:
    return haproxy.configured("haproxy", job, ("splice-request", "splice-response"))
