"""Spyhole itself, as a process of its own."""

from __future__ import annotations

import json

from spyhole.conformance.peers.job import Job, Peer
from spyhole.conformance.routes import DEFAULT


def _command(job: Job) -> list[str]:
    lines = [
        "workers = 1",
        'access_log = "off"',
        f'hello_timeout = "{job.milliseconds}ms"',
        'drain_timeout = "1s"',
        "[[listeners]]",
        f'bind = ["{job.listen}", "{job.terminating}"]',
    ]
    for label, names in job.names_of.items():
        lines += ["[[routes]]", f"sni = {json.dumps(names)}", f'upstream = "{job.backends[label]}"']
    for name, label in job.terminated.items():
        lines += [
            "[[routes]]",
            f'sni = "{name}"',
            'mode = "terminate"',
            f'upstream = "{job.backends[label]}"',
        ]
    lines += ["[[routes]]", 'sni = "*"', f'upstream = "{job.backends[DEFAULT]}"']
    lines += ["[[certificates]]", f'cert = "{job.certificate}"', f'key = "{job.key}"', "default = true"]
    path = job.write("spyhole.toml", "\n".join([*lines, ""]))
    return [job.program, "run", "-c", str(path)]


PEER = Peer("spyhole", _command, terminates_on=lambda job: job.terminating_port)
