"""sniproxy, from Debian: libev, one process."""

from __future__ import annotations

from bench.peers import LOG, PASS, Job, said

NAME = "sniproxy"
DOES = frozenset({PASS, LOG})
NOTE = "one process; its names are regular expressions, tried one after the other"


def version() -> str | None:
    text = said("sniproxy", "-V")
    return text and text.split()[-1]


def command(job: Job) -> list[str]:
    lines = [
        f"pidfile {job.directory}/pid",
        "error_log {",
        f"    filename {job.directory}/error.log",
        "    priority error",
        "}",
        f"listen {job.listen} {{",
        "    proto tls",
        "    table names",
        *(["    access_log {", f"        filename {job.log}", "    }"] if job.log else []),
        "}",
        "table names {",
        *[f"    ^{host.replace('.', '[.]')}$ {backend}" for host, backend in job.routes.items()],
        "}",
    ]
    return ["sniproxy", "-f", "-n", "20000", "-c", str(job.write("sniproxy.conf", lines))]
