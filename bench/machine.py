"""What the figures were measured on."""

from __future__ import annotations

import datetime
import os
import platform
import ssl
import sys
import sysconfig
from pathlib import Path
from typing import Any


def about() -> dict[str, Any]:
    """Date, processor, memory, kernel, and the Python that runs Spyhole (it is this one)."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{len(os.sched_getaffinity(0))} cores of {_processor()}, {_memory():.0f} GB",
        "kernel": platform.release().split("-")[0],
        "python": python(),
    }


def python() -> str:
    """Its version, and how it was built: that makes up to a fifth of a difference."""
    arguments = sysconfig.get_config_var("CONFIG_ARGS") or ""
    if sys.base_prefix == "/usr":
        # Debian optimises by a target of make, of which the configuration says nothing.
        built = "the distribution's build"
    elif "--enable-optimizations" in arguments:
        built = "with PGO and LTO" if "--with-lto" in arguments else "with PGO"
    else:
        built = "without PGO"
    openssl = ssl.OPENSSL_VERSION.split()[1]
    return f"CPython {platform.python_version()} ({built}, OpenSSL {openssl})"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
