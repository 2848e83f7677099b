"""A real nginx as a web server, plain or with TLS of its own.

with Nginx(tmp_path, port, certificates=[ecdsa, rsa]) as server: …
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from support.certificates import Leaf
from support.program import Program
from support.tools import tool
from support.waiting import until

# As a careful operator sets them: a suite that looks at a web server counts what is missing.
HEADERS = {
    "Strict-Transport-Security": "max-age=63072000",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'",
    "Referrer-Policy": "no-referrer",
}


class Nginx:
    """It answers every request with a few bytes; `address` is as in a route."""

    def __init__(self, directory: Path, certificates: Sequence[Leaf] = ()) -> None:
        place = directory / f"nginx-{'tls' if certificates else 'plain'}"
        place.mkdir()
        port = free_port()
        tls = "".join(
            f"ssl_certificate {leaf.cert};\nssl_certificate_key {leaf.key};\n" for leaf in certificates
        )
        config = place / "nginx.conf"
        config.write_text(f"""
            daemon off;
            pid {place}/pid;
            error_log {place}/error.log;
            worker_processes 1;
            events {{ worker_connections 4096; }}
            http {{
                access_log off;
                {"".join(f"{kind}_temp_path {place}/{kind};" for kind in TEMPORARY)}
                {"".join(f'add_header {name} "{value}";' for name, value in HEADERS.items())}
                server {{
                    listen 127.0.0.1:{port} {"ssl http2" if certificates else ""};
                    {tls}
                    ssl_protocols TLSv1.2 TLSv1.3;
                    location / {{ return 200 "hello\\n"; }}
                    location /post {{ client_max_body_size 1m; return 200 "posted\\n"; }}
                }}
            }}
        """)
        self.sockaddr = ("127.0.0.1", port)
        self.address = f"127.0.0.1:{port}"
        self._program = Program(tool("nginx"), "-e", f"{place}/error.log", "-c", config)
        try:
            until(self._listens)
        except BaseException:
            self._program.__exit__(None, None, None)
            raise

    def _listens(self) -> bool:
        try:
            socket.create_connection(self.sockaddr).close()
        except ConnectionRefusedError:
            return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._program.__exit__(None, None, None)


TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def free_port() -> int:
    """A port that nobody had a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
