"""How a connection ended: the closed list of reasons that the access log, `explain` and tests share.

Every accepted connection ends with exactly one `Reason` and one `EndedBy`. A new way to end is a new
member here, with its sentence; nothing else in Spyhole invents a reason.
"""

from __future__ import annotations

from enum import StrEnum

from spyhole.described import Described


class EndedBy(StrEnum):
    """Who ended the connection."""

    CLIENT = "client"
    UPSTREAM = "upstream"
    PROXY = "proxy"


class Reason(Described):
    """Why the connection ended. The description of each member is what the documentation prints."""

    # it was carried to its end
    CLOSED = "closed", "both directions ended cleanly; `ended_by` says who closed first"
    CLIENT_RESET = "client_reset", "the client reset the connection; the upstream was reset too"
    UPSTREAM_RESET = "upstream_reset", "the upstream reset the connection; the client was reset too"
    CLIENT_LOST = "client_lost", "the client stopped acknowledging (keepalive or retransmission timed out)"
    UPSTREAM_LOST = (
        "upstream_lost",
        "the upstream stopped acknowledging (keepalive or retransmission timed out)",
    )
    CLIENT_TRUNCATED = (
        "client_truncated",
        "the client ended TLS with a FIN and no close_notify (RFC 8446, 6.1); the upstream was reset",
    )
    CLIENT_BAD_RECORD = (
        "client_bad_record",
        "the client sent a TLS record that does not decrypt, or an alert; the upstream was reset",
    )
    IDLE_TIMEOUT = "idle_timeout", "no byte moved in either direction for `idle_timeout`"
    HALF_CLOSE_TIMEOUT = (
        "half_close_timeout",
        "one side had ended and the other moved no byte for `half_close_timeout`",
    )
    MAX_LIFETIME = "max_lifetime", "the connection reached `max_lifetime`"
    DRAIN_TIMEOUT = (
        "drain_timeout",
        "still open when the drain deadline passed, or a second signal came, and cut",
    )

    # it never got to a decision
    HELLO_TIMEOUT = "hello_timeout", "no whole ClientHello within `hello_timeout` of accept"
    CLIENT_CLOSED_EARLY = "client_closed_early", "the client ended before its ClientHello was whole"
    MALFORMED_HELLO = (
        "malformed_hello",
        "a ClientHello that OpenSSL refuses too; `detail` says what is wrong",
    )
    HELLO_TOO_LARGE = (
        "hello_too_large",
        "the ClientHello is larger than `max_hello_size`, or too many empty records",
    )
    INVALID_SERVER_NAME = (
        "invalid_server_name",
        "the server name is not a host name (RFC 6066, 3; RFC 1123, 2.1)",
    )
    NOT_TLS = "not_tls", "the first bytes are not TLS and no route says `tls = false`"

    # it was decided, and not carried
    NO_ROUTE = "no_route", "no route matches"
    REJECTED = "rejected", 'the route that matches says `mode = "reject"`'
    NO_CERTIFICATE = "no_certificate", "no certificate covers the name and none is marked as the default"
    CLIENT_CLOSED_WAITING = (
        "client_closed_waiting",
        "the client reset the connection before the upstream had accepted",
    )
    HANDSHAKE_TIMEOUT = "handshake_timeout", "the TLS handshake took longer than `handshake_timeout`"
    HANDSHAKE_FAILED = "handshake_failed", "the TLS handshake failed; `detail` has OpenSSL's reason"
    UPSTREAM_UNRESOLVED = "upstream_unresolved", "the upstream's host name does not resolve"
    UPSTREAM_REFUSED = "upstream_refused", "the upstream refused the connection"
    UPSTREAM_UNREACHABLE = (
        "upstream_unreachable",
        "the upstream can't be reached; `detail` has the system's error",
    )
    UPSTREAM_TIMEOUT = "upstream_timeout", "the upstream did not accept within `connect_timeout`"
    NO_DESCRIPTORS = "no_descriptors", "out of file descriptors or memory for a socket to the upstream"
    INTERNAL_ERROR = "internal_error", "a defect in Spyhole; the error log has the traceback"
