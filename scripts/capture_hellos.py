#!/usr/bin/env python3
"""Capture the ClientHellos of the clients on this machine, over loopback, into tests/wire/hellos.json.

    .venv/bin/python scripts/capture_hellos.py [--curl-cffi PYTHON] [--output FILE]

Clients: curl, openssl s_client, gnutls-cli, Python's ssl, Chromium, Firefox, and the browsers that
curl_cffi plays (from the interpreter given, since it is no dependency of ours). Those that are not
installed are named and left out; their rows of an earlier run stay. One row for each client and
version: who, how it was made, and the bytes as they came.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypedDict

from spyhole.wire.alerts import Alert
from spyhole.wire.client_hello import NEED_MORE, ClientHelloParser

NAME = "shop.example.test"
DEFAULT_OUTPUT = Path(__file__).resolve().parents[1] / "tests" / "wire" / "hellos.json"
CURL_CFFI_BROWSERS = (
    "chrome99", "chrome110", "chrome120", "chrome131", "chrome146", "edge101",
    "safari155", "safari180", "safari260_ios", "firefox133", "firefox147", "tor145",
)  # fmt: skip


class Row(TypedDict):
    client: str
    server_name: str | None
    made_with: str
    hex: str


class Attempt(TypedDict):
    """One way to make a client say hello; PORT stands for the listener's port."""

    client: str
    server_name: str | None
    command: list[str]


def main() -> int:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--curl-cffi", metavar="PYTHON", help="an interpreter that has curl_cffi")
    arguments.add_argument("--output", type=Path, default=DEFAULT_OUTPUT)
    options = arguments.parse_args()

    rows: dict[str, Row] = {}
    if options.output.exists():
        rows = {row["client"]: row for row in json.loads(options.output.read_text())}
    with tempfile.TemporaryDirectory() as scratch:
        for attempt in attempts(options.curl_cffi, Path(scratch)):
            wire = capture(attempt["command"])
            if wire is None:
                print(f"no hello from {attempt['client']}", file=sys.stderr)
                continue
            rows[attempt["client"]] = Row(
                client=attempt["client"],
                server_name=attempt["server_name"],
                made_with=shown(attempt["command"]),
                hex=wire.hex(),
            )
            print(f"{attempt['client']}: {len(wire)} bytes")
    text = ",\n".join(json.dumps(rows[client]) for client in sorted(rows))
    options.output.write_text(f"[\n{text}\n]\n")
    return 0


def attempts(curl_cffi: str | None, scratch: Path) -> Iterator[Attempt]:
    """Every client that is installed, in every version it speaks."""
    if installed("curl"):
        name = f"curl {words(['curl', '--version'])[1]}"
        base = ["curl", "-sk", "--max-time", "10", "--resolve", f"{NAME}:PORT:127.0.0.1"]
        url = f"https://{NAME}:PORT/"
        yield Attempt(client=f"{name}, TLS 1.3", server_name=NAME, command=[*base, "--tlsv1.3", url])
        yield Attempt(client=f"{name}, TLS 1.2", server_name=NAME, command=[*base, "--tls-max", "1.2", url])
        to_ip = ["curl", "-sk", "--max-time", "10", "https://127.0.0.1:PORT/"]
        yield Attempt(client=f"{name}, to an address", server_name=None, command=to_ip)
    if installed("openssl"):
        name = f"openssl s_client {words(['openssl', 'version'])[1]}"
        base = ["openssl", "s_client", "-connect", "127.0.0.1:PORT"]
        for version in ("1.3", "1.2"):
            flags = ["-servername", NAME, "-alpn", "h2,http/1.1", f"-tls{version.replace('.', '_')}"]
            yield Attempt(client=f"{name}, TLS {version}", server_name=NAME, command=[*base, *flags])
        yield Attempt(
            client=f"{name}, TLS 1.0",
            server_name=NAME,
            command=[*base, "-servername", NAME, "-tls1", "-cipher", "ALL:@SECLEVEL=0"],
        )
        yield Attempt(client=f"{name}, no name", server_name=None, command=[*base, "-noservername"])
    if installed("gnutls-cli"):
        name = f"gnutls-cli {words(['gnutls-cli', '--version'])[1]}"
        base = ["gnutls-cli", "--insecure", "--port", "PORT", "--sni-hostname", NAME, "--alpn", "h2"]
        for version in ("1.3", "1.2"):
            priority = f"NORMAL:-VERS-ALL:+VERS-TLS{version}"
            flags = ["--priority", priority, "127.0.0.1"]
            yield Attempt(client=f"{name}, TLS {version}", server_name=NAME, command=[*base, *flags])
    yield from python_attempts()
    yield from browser_attempts(scratch)
    if curl_cffi:
        yield from curl_cffi_attempts(curl_cffi)


def python_attempts() -> Iterator[Attempt]:
    program = (
        "import socket, ssl; context = ssl._create_unverified_context(); {setting}"
        "context.wrap_socket(socket.create_connection(('127.0.0.1', PORT)), server_hostname={name!r})"
    )
    version = ".".join(map(str, sys.version_info[:3]))
    latest = program.format(setting="", name=NAME)
    older = program.format(setting="context.maximum_version = ssl.TLSVersion.TLSv1_2; ", name=NAME)
    for tls, code in (("1.3", latest), ("1.2", older)):
        yield Attempt(
            client=f"Python {version} ssl, TLS {tls}", server_name=NAME, command=["python3", "-c", code]
        )


def browser_attempts(scratch: Path) -> Iterator[Attempt]:
    for program in ("chromium", "google-chrome"):
        if installed(program):
            version = words([program, "--version"])
            flags = ["--headless", "--disable-gpu", "--no-sandbox", f"--user-data-dir={scratch}/{program}"]
            mapped = [f"--host-resolver-rules=MAP {NAME} 127.0.0.1", "--dump-dom", f"https://{NAME}:PORT/"]
            yield Attempt(client=" ".join(version), server_name=NAME, command=[program, *flags, *mapped])
    if installed("firefox"):
        profile = scratch / "firefox"
        profile.mkdir()
        prefs = f'user_pref("network.dns.localDomains", "{NAME}");\n'
        (profile / "user.js").write_text(prefs)
        page = f"https://{NAME}:PORT/"
        flags = ["--headless", "--profile", str(profile), "--screenshot", str(scratch / "shot.png"), page]
        yield Attempt(
            client=" ".join(words(["firefox", "--version"])), server_name=NAME, command=["firefox", *flags]
        )


def curl_cffi_attempts(python: str) -> Iterator[Attempt]:
    version = words([python, "-c", "import curl_cffi; print(curl_cffi.__version__)"])[0]
    for browser in CURL_CFFI_BROWSERS:
        code = (
            "from curl_cffi import CurlOpt, requests; "
            f"requests.get('https://{NAME}:PORT/', impersonate={browser!r}, verify=False, timeout=10, "
            f"curl_options={{CurlOpt.RESOLVE: ['{NAME}:PORT:127.0.0.1']}})"
        )
        yield Attempt(
            client=f"curl_cffi {version} as {browser}", server_name=NAME, command=[python, "-c", code]
        )


def capture(command: Sequence[str]) -> bytes | None:
    """Run a client against a listener on loopback; the bytes of its ClientHello, None if none came."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        port = str(listener.getsockname()[1])
        client = subprocess.Popen(
            [word.replace("PORT", port) for word in command],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(10)
                wire = read_hello(connection)
                connection.sendall(Alert.HANDSHAKE_FAILURE.record())
            return wire
        except TimeoutError:
            return None
        finally:
            with contextlib.suppress(subprocess.TimeoutExpired):
                client.wait(15)
            client.kill()
            client.wait()


def read_hello(connection: socket.socket) -> bytes:
    parser = ClientHelloParser()
    wire = b""
    answer: object = NEED_MORE
    while answer is NEED_MORE:
        received = connection.recv(65536)
        if not received:
            raise SystemExit(f"a client closed after {wire.hex()!r}")
        wire += received
        answer = parser.feed(received)
    return wire


def installed(program: str) -> bool:
    if shutil.which(program):
        return True
    print(f"{program} is not installed", file=sys.stderr)
    return False


def words(command: Sequence[str]) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def shown(command: Sequence[str]) -> str:
    """The command without what is this machine's own."""
    words = [Path(word).name if word.startswith("/") else word for word in command]
    return shlex.join(word for word in words if "user-data-dir" not in word)


if __name__ == "__main__":
    raise SystemExit(main())
