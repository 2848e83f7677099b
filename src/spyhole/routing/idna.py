"""Names in other scripts: the A-label that travels in a ClientHello for the U-label that a person writes.

Only the operator's own text comes here (patterns, addresses). A name from a peer is bytes and is never
converted: RFC 6066, 3 has clients send A-labels.
"""

from __future__ import annotations

import unicodedata


class AmbiguousLabelError(ValueError):
    """Clients do not agree on the A-label; `a_label` is the one that IDNA 2008 and browsers use."""

    def __init__(self, label: str, a_label: str, why: str) -> None:
        super().__init__(f"{label!r} {why}: write its A-label {a_label!r}")
        self.label = label
        self.a_label = a_label


def to_ascii(name: str) -> str:
    """`name` with every non-ASCII label replaced by its A-label; raises `AmbiguousLabelError`.

    IDNA 2003 maps some letters (ß, ς, the joiners) where IDNA 2008 keeps them, and 2008 forbids symbols
    that 2003 allowed. Where the two agree the label is converted; where they do not, only the operator
    can say which name is meant, so it is refused with the A-label to write.
    """
    if name.isascii():
        return name
    return ".".join(label if label.isascii() else _a_label(label) for label in name.split("."))


def _a_label(label: str) -> str:
    lowered = unicodedata.normalize("NFC", label.lower())
    a_label = "xn--" + lowered.encode("punycode").decode("ascii")
    if unicodedata.normalize("NFKC", label.casefold()) != lowered:
        raise AmbiguousLabelError(label, a_label, "is spelt differently by IDNA 2003 and 2008")
    for character in lowered:
        if not character.isascii() and unicodedata.category(character)[0] not in "LMN":
            raise AmbiguousLabelError(
                label, a_label, f"has {character!r}, which is neither letter nor digit"
            )
    return a_label
