"""sniproxy. It has no deadline for a hello. Its `fallback` would take hellos without a name, and with them
all that it can't read: left out, it refuses both."""

from __future__ import annotations

from typing import Final

from spyhole.conformance.peers.job import Job, Peer
from spyhole.conformance.routes import DEFAULT

_LONGEST_WORD: Final = 255


def _command(job: Job) -> list[str]:
    default = job.backends[DEFAULT]
    patterns = {_pattern(name): label for name, label in job.routes.names.items()}
    lines = [
        *("user root", f"pidfile {job.directory}/sniproxy.pid"),
        *("error_log {", "filename /dev/stderr", "priority crit", "}"),
        *(f"listener {job.listen} {{", "protocol tls", "table names"),
        *("access_log {", "filename /dev/null", "}", "}"),
        "table names {",
        *(f"{pattern} {job.backends[label]}" for pattern, label in patterns.items()),
        f".* {default}",
        "}",
    ]
    path = job.write("sniproxy.conf", "\n".join([*lines, ""]))
    return [job.program, "-f", "-n", "8192", "-c", str(path)]


def _pattern(name: str) -> str:
    # its quoting takes one of the backslashes, and a word of its configuration has 255 characters at most
    quoted = f"^{name.replace('.', chr(92) * 2 + '.')}$"
    return quoted if len(quoted) <= _LONGEST_WORD else f"^{name}$"


PEER = Peer("sniproxy", _command, version_flag="-V", debian="sniproxy")
