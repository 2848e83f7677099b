"""Throwaway certificates: one CA for each test, and leaf certificates from it as PEM files.

def test_it(authority):                                       # the fixture: an Authority in tmp_path
    leaf = authority.issue("www.test", "*.shop.test")         # ECDSA P-256; leaf.cert, leaf.key are paths
    same = authority.issue("www.test", key="rsa")
    late = authority.issue("old.test", expired=True)
    with socket.create_connection(address) as plain:
        with authority.client_context().wrap_socket(plain, server_hostname="www.test") as tls: ...
"""

from __future__ import annotations

import datetime
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import trustme

TLS_1_2 = ssl.TLSVersion.TLSv1_2
TLS_1_3 = ssl.TLSVersion.TLSv1_3


@dataclass(frozen=True, slots=True)
class Leaf:
    """One certificate and its key, as files. `cert` holds the leaf and then its chain."""

    names: tuple[str, ...]
    cert: Path
    key: Path

    def server_context(
        self, *, alpn: tuple[str, ...] = (), version: ssl.TLSVersion | None = None
    ) -> ssl.SSLContext:
        """A context that serves this certificate; `version` pins the one TLS version it speaks."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        return _pinned(context, alpn, version)


class Authority:
    """A CA that nobody trusts but who is given `pem`. Its files go to `directory`."""

    def __init__(self, directory: Path, name: str = "Spyhole tests") -> None:
        self._ca = trustme.CA(organization_name=name, key_type=trustme.KeyType.ECDSA)
        self._directory = directory
        self._issued = 0
        self.pem = directory / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.pem))

    def issue(
        self,
        *names: str,
        key: Literal["ecdsa", "rsa"] = "ecdsa",
        expired: bool = False,
        file: str | None = None,
    ) -> Leaf:
        """A certificate for `names` (hosts, `*.` wildcards, IP literals); the first is its common name too.

        It goes to `<file>.pem` and `<file>.key` in the authority's directory. RSA keys take some 50 ms.
        """
        now = datetime.datetime.now(datetime.UTC)
        began = now - datetime.timedelta(days=2)
        ends = now + datetime.timedelta(days=-1 if expired else 30)
        certificate = self._ca.issue_cert(
            *names,
            common_name=names[0],
            not_before=began,
            not_after=ends,
            key_type=trustme.KeyType.RSA if key == "rsa" else trustme.KeyType.ECDSA,
        )
        self._issued += 1
        stem = file or f"{names[0].replace('*', '_').replace(':', '_')}-{key}-{self._issued}"
        leaf = Leaf(names, self._directory / f"{stem}.pem", self._directory / f"{stem}.key")
        for index, blob in enumerate(certificate.cert_chain_pems):
            blob.write_to_path(str(leaf.cert), append=index > 0)
        certificate.private_key_pem.write_to_path(str(leaf.key))
        return leaf

    def client_context(
        self, *, alpn: tuple[str, ...] = (), version: ssl.TLSVersion | None = None
    ) -> ssl.SSLContext:
        """A context that trusts this authority and checks the host name; `version` pins one TLS version."""
        context = ssl.create_default_context(cafile=str(self.pem))
        return _pinned(context, alpn, version)


def _pinned(
    context: ssl.SSLContext, alpn: tuple[str, ...], version: ssl.TLSVersion | None
) -> ssl.SSLContext:
    # CPython up to 3.11.2 sets it, and then a TLS stream that was cut off passes for one that ended.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context
