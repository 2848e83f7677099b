"""A closed list of words, each with the sentence that documentation and reports print for it."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Described(StrEnum):
    """The base of such a list: a member is written as `NAME = "word", "what it means"`."""

    description: str

    def __new__(cls, value: str, description: str) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.description = description
        return member
