"""sslh. What is not TLS, and what takes too long, goes to a port where nobody listens."""

from __future__ import annotations

import json
import math

from spyhole.conformance.peers.job import Job, Peer
from spyhole.conformance.routes import DEFAULT


def _command(job: Job) -> list[str]:
    entries = []
    for label, names in job.names_of.items():
        host, port = job.backends[label].split(":")
        entries.append(
            f'    {{ name: "tls"; host: "{host}"; port: "{port}"; sni_hostnames: {json.dumps(names)}; }}'
        )
    host, port = job.backends[DEFAULT].split(":")
    entries.append(f'    {{ name: "tls"; host: "{host}"; port: "{port}"; }}')
    # the last one is for all that is something else; nobody listens there, so it closes
    entries.append(f'    {{ name: "anyprot"; host: "127.0.0.1"; port: "{job.terminating_port}"; }}')
    listed = ",\n".join(entries)
    text = f"""\
foreground: true;
inetd: false;
numeric: true;
timeout: {math.ceil(job.deadline)};
on-timeout: "anyprot";
listen: ( {{ host: "127.0.0.1"; port: "{job.port}"; }} );
protocols: (
{listed}
);
"""
    path = job.write("sslh.cfg", text)
    return [job.program, f"-F{path}"]


PEER = Peer("sslh", _command, version_flag="-V", debian="sslh")
