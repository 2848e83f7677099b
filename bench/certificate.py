"""The certificate that terminating proxies serve: ECDSA P-256, from a CA that only the check trusts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    """PEM files."""

    chain: Path
    key: Path
    both: Path
    """Key and chain in one file, as HAProxy and hitch want it."""
    authority: Path


def make(directory: Path, name: str) -> Certificate:
    """A certificate for one name."""
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    leaf = authority.issue_cert(name, key_type=trustme.KeyType.ECDSA)
    key, chain = leaf.private_key_pem.bytes(), b"".join(pem.bytes() for pem in leaf.cert_chain_pems)
    files = "chain.pem", "key.pem", "both.pem", "authority.pem"
    made = Certificate(*(directory / file for file in files))
    made.chain.write_bytes(chain)
    made.key.write_bytes(key)
    made.both.write_bytes(key + chain)
    made.authority.write_bytes(authority.cert_pem.bytes())
    made.both.chmod(0o644)  # those that give up root read it too
    return made
