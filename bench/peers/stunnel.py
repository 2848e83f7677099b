"""stunnel, from Debian: terminates TLS for one backend, with a thread for each connection."""

from __future__ import annotations

from bench.peers import TERMINATE, Job, said

NAME = "stunnel"
DOES = frozenset({TERMINATE})
NOTE = "one backend for all names; a thread for each connection"


def version() -> str | None:
    text = said("stunnel4", "-version")
    lines = text.splitlines() if text else []
    return next((line.split()[1] for line in lines if line.startswith("stunnel ")), None)


def command(job: Job) -> list[str]:
    assert job.certificate is not None
    lines = [
        "foreground = yes",
        "pid =",
        "syslog = no",
        "debug = 3",
        "socket = l:TCP_NODELAY=1",
        "socket = r:TCP_NODELAY=1",
        "[tls]",
        f"accept = {job.listen}",
        f"connect = {next(iter(job.routes.values()))}",
        f"cert = {job.certificate.chain}",
        f"key = {job.certificate.key}",
        "sslVersionMin = TLSv1.3",
        "TIMEOUTidle = 3600",
    ]
    return ["stunnel4", str(job.write("stunnel.conf", lines))]
