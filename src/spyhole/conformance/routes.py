"""What the proxy under test is set up to do: which names go to which backend; all else to the default."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

# .test is reserved (RFC 6761): no name server answers for it.
DOMAIN: Final = "conformance.test"
ALPHA_NAME: Final = f"alpha.{DOMAIN}"
BETA_NAME: Final = f"beta.{DOMAIN}"
UNDERSCORE_NAME: Final = f"under_score.{DOMAIN}"
A_LABEL_NAME: Final = f"xn--bcher-kva.{DOMAIN}"
LONG_LABEL_NAME: Final = f"{'l' * 63}.{DOMAIN}"
LONGEST_NAME: Final = ".".join(["n" * 46, "n" * 63, "n" * 63, "n" * 61, DOMAIN])
"""253 bytes."""
SPECIAL: Final = (ALPHA_NAME, BETA_NAME, UNDERSCORE_NAME, A_LABEL_NAME, LONG_LABEL_NAME, LONGEST_NAME)

TERMINATED_NAMES: Final = (f"gamma.{DOMAIN}", f"delta.{DOMAIN}")
"""For proxies that can: TLS ends there, and the backends `gamma` and `delta` get the plaintext."""

ALPHA, BETA, OTHERS, DEFAULT = "alpha", "beta", "others", "default"
GAMMA, DELTA = "gamma", "delta"
BACKENDS: Final = (ALPHA, BETA, OTHERS, DEFAULT, GAMMA, DELTA)


class Place(NamedTuple):
    """Where a name may go; `may_refuse`: or nowhere."""

    backend: str
    may_refuse: bool


@dataclass(frozen=True, slots=True)
class Routes:
    """Exact names and their backends; TLS for any other name, or for none, goes to `DEFAULT`."""

    names: Mapping[str, str]

    @classmethod
    def of(cls, count: int) -> Routes:
        """The first `count` names: alpha, beta, a few that are special, and then as many as it takes."""
        names = [*SPECIAL[:count], *(f"r{number:05}.{DOMAIN}" for number in range(len(SPECIAL), count))]
        own = {ALPHA_NAME: ALPHA, BETA_NAME: BETA}
        return cls({name: own.get(name, OTHERS) for name in names})

    def __len__(self) -> int:
        return len(self.names)

    def place(self, name: bytes | None) -> Place:
        """Where a hello with this server name belongs.

        A host name goes to its route or to the default; case does not count (RFC 4343). With a trailing
        dot, which RFC 6066, 3 rules out, it may be refused too, but it is no other name. Whatever is not a
        host name has no route of its own.
        """
        if name is None:
            return Place(DEFAULT, False)
        bare = name.removesuffix(b".")
        if not is_host_name(bare):
            return Place(DEFAULT, True)
        return Place(self.names.get(bare.decode("ascii").lower(), DEFAULT), bare != name)


def is_host_name(name: bytes) -> bool:
    """Labels of letters, digits, hyphen and underscore, 1–63 bytes each, 253 in all; no address."""
    return len(name) <= 253 and bool(_fullmatch(name)) and not _is_address(name.decode("ascii"))


_fullmatch: Final = re.compile(rb"(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}").fullmatch


def _is_address(text: str) -> bool:
    for kind in (IPv4Address, IPv6Address):
        try:
            kind(text)
        except ValueError:
            continue
        return True
    return False
