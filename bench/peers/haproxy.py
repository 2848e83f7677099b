"""HAProxy without splice, as it is by default. `splice-auto` does not splice what is measured here."""

from __future__ import annotations

from bench.peers import LOG, PASS, TERMINATE, WORKERS, Job, redirected, said

NAME = "haproxy"
DOES = frozenset({PASS, TERMINATE, LOG, WORKERS})

_FEW = 10
"""So many names are conditions of their own, more are a map, as its manual advises."""


def version() -> str | None:
    text = said("haproxy", "-v")
    return text and text.split()[2].partition("-")[0]


def command(job: Job) -> list[str]:
    return configured("haproxy", job)


def configured(program: str, job: Job, options: tuple[str, ...] = ()) -> list[str]:
    """The command line, with more options in the defaults of its configuration."""
    tls = job.certificate is not None
    name = "ssl_fc_sni" if tls else "req_ssl_sni"
    lines = [
        "global",
        f"    nbthread {job.workers}",
        "    maxconn 9000",
        "    maxpipes 256",  # or it asks for descriptors for a quarter as many pipes as connections
        "defaults",
        "    mode tcp",
        *[f"    option {option}" for option in options],
        "    timeout connect 5s",
        "    timeout client 1h",
        "    timeout server 1h",
        "    timeout client-fin 1m",
        "    timeout server-fin 1m",
    ]
    if job.log:
        lines += ["    log stdout format raw local0", "    option tcplog"]
    lines += ["frontend tls"]
    if job.certificate:
        lines += [f"    bind {job.listen} ssl crt {job.certificate.both} ssl-min-ver TLSv1.3"]
    else:
        lines += [
            f"    bind {job.listen} defer-accept",
            "    tcp-request inspect-delay 5s",
            "    tcp-request content accept if { req_ssl_hello_type 1 }",
        ]
    backends = {backend: f"b{number}" for number, backend in enumerate(job.groups)}
    if len(job.routes) > _FEW:
        map_file = job.write("names.map", [f"{host} {backends[to]}" for host, to in job.routes.items()])
        lines.append(f"    use_backend %[{name},lower,map({map_file})]")
    else:
        lines += [
            f"    use_backend {backends[to]} if {{ {name} -i {host} }}" for host, to in job.routes.items()
        ]
    for to, backend in backends.items():
        lines += [f"backend {backend}", f"    server s {to}"]
    path = job.write("haproxy.cfg", lines)
    words = [program, "-db", "-f", str(path)]
    return redirected(1, job.log, words) if job.log else words
