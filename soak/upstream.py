"""`python -m soak.upstream PORT`: an upstream in a process of its own, to be killed. Says `ready`."""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import suppress

from soak.transfer import serve


def _serve(connection: socket.socket) -> None:
    with connection, suppress(OSError):
        serve(connection)


def main() -> None:
    """Serve until killed."""
    with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1024) as listening:
        print("ready", flush=True)
        while True:
            connection, _ = listening.accept()
            threading.Thread(target=_serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
