"""The pipe test: a suite that looks at nginx through Spyhole's passthrough sees nginx, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.nginx import Nginx
from support.public_certificate import PublicAuthority
from support.spyhole_process import SpyholeProcess
from support.suites import scan_by_sslyze, scan_by_testssl
from support.tools import needs

NAME = "www.test"

pytestmark = needs("nginx", "testssl")


def test_the_same_results(
    spyhole: Callable[..., SpyholeProcess],
    public_authority: PublicAuthority,
    tmp_path: Path,
    figure: Callable[[str], None],
) -> None:
    certificates = [public_authority.issue(NAME, "ecdsa"), public_authority.issue(NAME, "rsa")]
    with Nginx(tmp_path, certificates) as server:
        proxy = spyhole(
            *("--listen", "127.0.0.1:0", "--route", f"*={server.address}", "--workers", "2"),
        )
        ports = server.sockaddr[1], proxy.sockaddr()[1]
        directly, through = (scan_by_sslyze(port, NAME, public_authority.pem, tmp_path) for port in ports)
        assert plain(through[0]) == plain(directly[0])
        assert through[1] == directly[1]
        figure(
            f"sslyze of nginx: {len(json.dumps(directly[0])):,} bytes of results, the same through Spyhole"
        )
        rounds = []
        while len(rounds) < TRIES and (not rounds or rounds[-1]):
            found, again = (findings(port, public_authority, tmp_path) for port in ports)
            rounds.append({key for key in found | again if found.get(key) != again.get(key)})
        different = set.intersection(*rounds)
        figure(f"testssl.sh of nginx: {len(found)} findings, others through Spyhole: {different or 'none'}")
        assert not different


TRIES = 3
"""Whether a client sees a ticket before it closes is chance: what Spyhole changes differs each time."""


def findings(port: int, authority: PublicAuthority, directory: Path) -> dict[str, tuple[str, str]]:
    """Without how long it took."""
    return {
        f["id"]: (f["severity"], stable(f["finding"]))
        for f in scan_by_testssl(port, NAME, authority.pem, directory)
        if f["id"] != "scanTime"
    }


def plain(results: Any) -> Any:
    """Without what differs from one handshake to the next."""
    if isinstance(results, dict):
        return {key: plain(value) for key, value in results.items() if key not in VOLATILE}
    if isinstance(results, list):
        return sorted(
            (plain(value) for value in results), key=lambda value: json.dumps(value, sort_keys=True)
        )
    return results


# Keys of one handshake, and the older of two names that sslyze has for a cipher.
VOLATILE = {"public_bytes", "x", "y", "openssl_name"}


def stable(finding: str) -> str:
    """A finding without clock skew and timing."""
    return re.sub(r"-?\d+ sec(onds)? from localtime", "N sec from localtime", finding)
