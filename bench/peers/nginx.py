"""nginx's stream module with ssl_preread."""

from __future__ import annotations

from pathlib import Path

from bench.peers import Job, said

NAME = "nginx"

_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")


def version() -> str | None:
    text = said("nginx", "-v")
    return text and text.rpartition("/")[2].split()[0]


def command(job: Job) -> list[str]:
    names = enumerate(job.routes)
    servers = enumerate(job.routes.values())
    shared = " reuseport" if job.workers > 1 else ""
    lines = [
        f"load_module {_MODULE};" if _MODULE.exists() else "",
        "daemon off;",
        f"pid {job.directory}/nginx.pid;",
        f"error_log {job.directory}/error.log crit;",
        f"worker_processes {job.workers};",
        "worker_rlimit_nofile 20000;",
        "events { worker_connections 19000; }",
        "stream {",
        "    ssl_preread on;",
        "    proxy_timeout 1h;",
        "    map $ssl_preread_server_name $chosen {",
        *[f"        {name} b{number};" for number, name in names],
        "    }",
        *[f"    upstream b{number} {{ server {backend}; }}" for number, backend in servers],
        f"    server {{ listen {job.listen}{shared}; proxy_pass $chosen; }}",
        "}",
    ]
    path = job.directory / "nginx.conf"
    path.write_text("\n".join([*lines, ""]))
    return ["nginx", "-c", str(path), "-p", str(job.directory), "-e", "stderr"]
