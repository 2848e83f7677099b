"""HAProxy without splice, as it is by default. `splice-auto` does not splice what is measured here."""

from __future__ import annotations

from bench.peers import Job, said

NAME = "haproxy"


def version() -> str | None:
    text = said("haproxy", "-v")
    return text and text.split()[2]


def command(job: Job) -> list[str]:
    return configured(job, [])


def configured(job: Job, options: list[str]) -> list[str]:
    """The command line, with more lines in the defaults of its configuration."""
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
        "frontend tls",
        f"    bind {job.listen} defer-accept",
        "    tcp-request inspect-delay 5s",
        "    tcp-request content accept if { req_ssl_hello_type 1 }",
    ]
    for number, name in enumerate(job.routes):
        lines.append(f"    use_backend b{number} if {{ req_ssl_sni -i {name} }}")
    for number, backend in enumerate(job.routes.values()):
        lines += [f"backend b{number}", f"    server s {backend}"]
    path = job.directory / "haproxy.cfg"
    path.write_text("\n".join([*lines, ""]))
    return ["haproxy", "-db", "-f", str(path)]
