"""The outside suites for TLS, run against a port of this machine: what they found, in their own words."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

from support.tools import tool

SSLYZE = Path(__file__).resolve().parents[2] / ".venv-outside" / "bin" / "sslyze"
LONGEST = 600.0
"""Seconds for one run of a suite."""


def scan_by_sslyze(port: int, name: str, root: Path, directory: Path) -> tuple[dict[str, Any], list[str]]:
    """The results of all its scans, and where the server differs from Mozilla's intermediate profile."""
    out = directory / f"sslyze-{port}.json"
    done = run(
        *(str(SSLYZE), "--json_out", str(out), "--sni", name, "--certinfo_ca_file", str(root)),
        *("--mozilla_config", "intermediate", f"127.0.0.1:{port}"),
    )
    (result,) = json.loads(out.read_text())["server_scan_results"]
    different = re.findall(r"^ +\* (\w+: .*)$", done, re.MULTILINE)
    # it prints sets, whose order is another each time
    return result["scan_result"], [re.sub(r"\{.*?\}", _in_order, line) for line in different]


def _in_order(found: re.Match[str]) -> str:
    return ", ".join(sorted(found[0].strip("{}").replace("'", "").split(", ")))


def scan_by_testssl(
    port: int, name: str, root: Path, directory: Path, *sections: str
) -> list[dict[str, str]]:
    """Its findings: `id`, `severity` (OK, INFO, LOW, WARN, MEDIUM, HIGH, CRITICAL), `finding`.

    Of everything, or of `sections` only, as its flags name them.
    """
    out = directory / f"testssl-{port}.json"
    out.unlink(missing_ok=True)  # or it would not run
    run(
        *(tool("testssl"), "--quiet", "--color", "0", "--warnings", "off", "--ip", "127.0.0.1"),
        *sections,
        *("--add-ca", str(root), "--jsonfile", str(out), f"{name}:{port}"),
    )
    found: list[dict[str, str]] = json.loads(out.read_text())
    return found


def version(*command: str) -> str:
    """The first version number in what a program says of itself."""
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    match = re.search(r"\d+\.\d+(\.\d+)?", said.stdout + said.stderr)
    return match[0] if match else "?"


def run(*command: str, status: int | None = None, directory: str | None = None) -> str:
    """What it printed, at most LONGEST seconds long; `status`: the exit status that it must have."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=LONGEST,
        check=False,
        cwd=directory,
        env={**os.environ, "TERM": "dumb", "PYTHONHASHSEED": "0"},  # what goes by a set goes the same way
    )
    assert status is None or done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr
