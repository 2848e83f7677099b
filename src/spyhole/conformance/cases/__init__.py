"""The cases, one file a group. Each is a function of what the proxy is set up to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spyhole.conformance.cases import cuts, lengths, modern, names, not_tls, time, versions

if TYPE_CHECKING:
    from spyhole.conformance.case import Case
    from spyhole.conformance.routes import Routes

__all__ = ["afterwards", "everything", "names_only"]


def everything(routes: Routes, deadline: float) -> list[Case]:
    """Every case for a proxy that gives a client `deadline` seconds for its hello."""
    return [
        *cuts.cases(),
        *names.cases(routes),
        *lengths.cases(),
        *versions.cases(),
        *modern.cases(),
        *time.cases(deadline),
        *not_tls.cases(),
    ]


def names_only(routes: Routes) -> list[Case]:
    """The names, for a proxy with another number of routes."""
    return names.cases(routes)


afterwards = not_tls.afterwards
