"""Commands to try against the demo, to be pasted as they are."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final
from urllib.request import getproxies

_PATIENCE: Final = 30.0  # seconds


def commands(host: str, port: int, ca: Path, config: Path, names: list[str]) -> list[str]:
    """First a curl command for each name, then the others."""
    # curl would hand the connection to a proxy of the environment, which can't know these names
    curl = "curl --noproxy '*'" if getproxies() else "curl"
    curl += f" --cacert {shlex.quote(str(ca))}"
    openssl = f"openssl s_client -connect {host}:{port} -CAfile {shlex.quote(str(ca))} -verify_return_error"
    return [
        *(f"{curl} --resolve {name}:{port}:{host} https://{name}:{port}/" for name in names),
        *(f"{openssl} -brief -servername {name} </dev/null" for name in names),
        f"{_spyhole()} explain -c {shlex.quote(str(config))} --sni {names[0]}",
    ]


def curl_sees(command: str) -> str | None:
    """What curl says to one of its commands: the answer, or the error. None without a curl."""
    if shutil.which("curl") is None:
        return None
    words = [*shlex.split(command), "--silent", "--show-error"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    return (done.stdout or done.stderr).strip()


def _spyhole() -> str:
    """How this program was called, so that it can be again."""
    program = Path(sys.argv[0]).absolute()
    if program.name != "spyhole":
        return f"{shlex.quote(sys.executable)} -m spyhole"
    return "spyhole" if shutil.which("spyhole") == str(program) else shlex.quote(str(program))
