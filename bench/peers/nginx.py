"""nginx's stream module, with ssl_preread or with ssl."""

from __future__ import annotations

from pathlib import Path

from bench.peers import LOG, PASS, TERMINATE, WORKERS, Job, said

NAME = "nginx"
DOES = frozenset({PASS, TERMINATE, LOG, WORKERS})

_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")


def version() -> str | None:
    text = said("nginx", "-v")
    return text and text.rpartition("/")[2].split()[0]


def command(job: Job) -> list[str]:
    upstreams = {backend: f"b{number}" for number, backend in enumerate(job.groups)}
    shared = " reuseport" if job.workers > 1 else ""
    secure = " ssl" if job.certificate else ""
    many = len(job.routes) > 1000
    lines = [
        f"load_module {_MODULE};" if _MODULE.exists() else "",
        "daemon off;",
        f"pid {job.directory}/nginx.pid;",
        f"error_log {job.directory}/error.log crit;",
        f"worker_processes {job.workers};",
        "worker_rlimit_nofile 20000;",
        "events { worker_connections 19000; }",
        "stream {",
        "    proxy_timeout 1h;",
        "    tcp_nodelay on;",
    ]
    if many:
        lines += ["    map_hash_max_size 65536;", "    map_hash_bucket_size 128;"]
    if job.certificate:
        lines += [
            f"    ssl_certificate {job.certificate.chain};",
            f"    ssl_certificate_key {job.certificate.key};",
            "    ssl_protocols TLSv1.3;",
        ]
    else:
        lines += ["    ssl_preread on;"]
    name = "ssl_server_name" if job.certificate else "ssl_preread_server_name"
    if job.log:
        lines += [
            "    log_format line '$remote_addr [$time_local] $status $bytes_sent $bytes_received'",
            f"        ' $session_time ${name} $upstream_addr $upstream_bytes_sent'",
            "        ' $upstream_bytes_received $upstream_connect_time';",
            f"    access_log {job.log} line;",
        ]
    lines += [
        f"    map ${name} $chosen {{",
        *[f"        {host} {upstreams[to]};" for host, to in job.routes.items()],
        "    }",
        *[f"    upstream {upstream} {{ server {to}; }}" for to, upstream in upstreams.items()],
        f"    server {{ listen {job.listen}{secure}{shared}; proxy_pass $chosen; }}",
        "}",
    ]
    path = job.write("nginx.conf", lines)
    return ["nginx", "-c", str(path), "-p", str(job.directory), "-e", "stderr"]
