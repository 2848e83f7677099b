"""Other people's programs that tests talk to. One that is missing skips its tests, by name.

    @needs("haproxy", "curl")
    def test_it():
        subprocess.run([tool("haproxy"), "-v"], check=True)

`nginx-stream` stands for nginx with its stream module; `nginx_stream_prelude()` is the line that loads it.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

import pytest

PACKAGES = {
    "curl": "curl",
    "gcc": "gcc libc6-dev",
    "openssl": "openssl",
    "gnutls-cli": "gnutls-bin",
    "haproxy": "haproxy",
    "nginx": "nginx",
    "nginx-stream": "nginx libnginx-mod-stream",
    "sniproxy": "sniproxy",
    "sslh": "sslh",
    "strace": "strace",
    "testssl": "testssl.sh",
    "slowhttptest": "slowhttptest",
    "h2load": "nghttp2-client",
    "wrk": "wrk",
}
"""Each tool that tests may need, and the Debian packages that bring it."""


def needs(*names: str) -> pytest.MarkDecorator:
    """A mark that skips the test unless every named tool is installed; the reason says which is not."""
    absent = [name for name in names if find(name) is None]
    packages = " ".join(PACKAGES[name] for name in absent)
    return pytest.mark.skipif(
        bool(absent), reason=f"needs {', '.join(absent)}, not installed: apt-get install {packages}"
    )


def tool(name: str) -> str:
    """The path of a tool that the test said it `needs`."""
    path = find(name)
    if path is None:
        pytest.skip(f"needs {name}, not installed: apt-get install {PACKAGES[name]}")
    return str(path)


@functools.cache
def find(name: str) -> Path | None:
    """Where the tool is, or None. Daemons live in sbin, which is not on everybody's PATH."""
    if name not in PACKAGES:
        raise KeyError(f"unknown tool {name!r}: give it its Debian package in support.tools.PACKAGES")
    path = os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin"
    found = shutil.which("nginx" if name == "nginx-stream" else name, path=path)
    if found is None or (name == "nginx-stream" and _stream_module(found) is None):
        return None
    return Path(found)


def nginx_stream_prelude() -> str:
    """The `load_module` line an nginx configuration with a stream block begins with; "" if built in."""
    module = _stream_module(tool("nginx-stream"))
    return f"load_module {module};\n" if module else ""


@functools.cache
def _stream_module(nginx: str) -> str | None:
    """The stream module's file, "" when it is built in, None when there is none."""
    built = subprocess.run([nginx, "-V"], capture_output=True, text=True, check=True).stderr.split()
    if "--with-stream" in built:
        return ""
    modules = next((word.partition("=")[2] for word in built if word.startswith("--modules-path=")), "")
    module = Path(modules, "ngx_stream_module.so")
    return str(module) if modules and module.exists() else None
