"""The pipe test: a suite that looks at nginx through Spyhole's passthrough sees nginx, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from support.nginx import Nginx
from support.public_certificate import PublicAuthority
from support.spyhole_process import SpyholeProcess
from support.suites import scan_by_sslyze, scan_by_testssl
from support.tools import needs

NAME = "www.test"

pytestmark = needs("nginx", "testssl")

Finding: TypeAlias = tuple[str, str]
"""Severity, text."""


def test_the_same_results(
    spyhole: Callable[..., SpyholeProcess],
    public_authority: PublicAuthority,
    tmp_path: Path,
    figure: Callable[[str], None],
) -> None:
    certificates = [public_authority.issue(NAME, "ecdsa"), public_authority.issue(NAME, "rsa")]

    def findings(port: int, *sections: str) -> dict[str, Finding]:
        """Without how long it took."""
        found = scan_by_testssl(port, NAME, public_authority.pem, tmp_path, *sections)
        return {f["id"]: (f["severity"], stable(f["finding"])) for f in found if f["id"] != "scanTime"}

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
        seen = [{key: {found} for key, found in findings(port).items()} for port in ports]
        looks = 1
        while looks < LOOKS and apart(*seen):
            looks += 1
            for port, values in zip(ports, seen, strict=True):
                for key, found in findings(port, "--server-defaults").items():
                    values.setdefault(key, set()).add(found)
        figure(
            f"testssl.sh of nginx: {len(seen[0])} findings, others through Spyhole: "
            f"{apart(*seen) or 'none'} ({looks} looks)"
        )
        assert not apart(*seen)


LOOKS = 10
"""Whether its client sees a ticket before it closes is chance, about even: so testssl.sh looks again."""


def apart(directly: dict[str, set[Finding]], through: dict[str, set[Finding]]) -> set[str]:
    """What was never found alike on both ways."""
    return {
        key for key in directly | through if directly.get(key, set()).isdisjoint(through.get(key, set()))
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
