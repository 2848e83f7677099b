"""The roots of Spyhole's exceptions. An error says whose fault it is; each floor derives its own."""

from __future__ import annotations


class SpyholeError(Exception):
    """The root of every error that Spyhole raises on purpose."""


class PeerError(SpyholeError):
    """A peer broke a protocol or a promise: data for the access log, never a traceback."""


class OperatorError(SpyholeError):
    """The configuration, a flag, a file or the machine is at fault: the message says what to change."""
