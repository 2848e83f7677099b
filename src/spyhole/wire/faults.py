"""What can be wrong with a ClientHello: the closed list of faults, and the error that carries one."""

from __future__ import annotations

from enum import StrEnum
from typing import NoReturn

from spyhole.errors import PeerError
from spyhole.wire.alerts import Alert
from spyhole.wire.names import extension as name_of


class Fault(StrEnum):
    """Why a hello was refused: `ClientHelloError.reason`, for logs and metrics."""

    alert: Alert
    description: str

    def __new__(cls, value: str, alert: Alert, description: str) -> Fault:
        member = str.__new__(cls, value)
        member._value_ = value
        member.alert = alert
        member.description = description
        return member

    # caps: ours, or OpenSSL's
    HELLO_TOO_LARGE = "hello_too_large", Alert.ILLEGAL_PARAMETER, "larger than `max_hello_size`"
    TOO_MANY_EMPTY_RECORDS = (
        "too_many_empty_records",
        Alert.UNEXPECTED_MESSAGE,
        "more than `max_empty_records` records in a row carry nothing",
    )

    # the record layer
    SSLV2_HELLO = "sslv2_hello", Alert.PROTOCOL_VERSION, "an SSLv2-format ClientHello (RFC 6176)"
    RECORD_OVERFLOW = "record_overflow", Alert.RECORD_OVERFLOW, "a record of more than 2^14 bytes"
    RECORD_VERSION = "record_version", Alert.PROTOCOL_VERSION, "a later record whose version is not 3.x"
    UNEXPECTED_RECORD = (
        "unexpected_record",
        Alert.UNEXPECTED_MESSAGE,
        "an alert, change_cipher_spec or application data before the hello's end",
    )
    UNEXPECTED_MESSAGE = (
        "unexpected_message",
        Alert.UNEXPECTED_MESSAGE,
        "a handshake message that is no ClientHello",
    )
    NOT_ON_RECORD_BOUNDARY = (
        "not_on_record_boundary",
        Alert.UNEXPECTED_MESSAGE,
        "a TLS 1.3 hello that shares its last record with what follows (RFC 8446, 5.1)",
    )

    # the message
    LENGTH_MISMATCH = "length_mismatch", Alert.DECODE_ERROR, "lengths that disagree, or bytes left over"
    UNSUPPORTED_VERSION = "unsupported_version", Alert.PROTOCOL_VERSION, "SSL 3.0 or older"
    BAD_SUPPORTED_VERSIONS = (
        "bad_supported_versions",
        Alert.PROTOCOL_VERSION,
        "supported_versions does not parse",
    )
    NO_CIPHERS = "no_ciphers", Alert.ILLEGAL_PARAMETER, "an empty list of cipher suites"
    NO_NULL_COMPRESSION = "no_null_compression", Alert.DECODE_ERROR, "null compression is not offered"
    TLS13_COMPRESSION = "tls13_compression", Alert.ILLEGAL_PARAMETER, "TLS 1.3 with a compression method"

    # extensions
    DUPLICATE_EXTENSION = "duplicate_extension", Alert.ILLEGAL_PARAMETER, "an extension that comes twice"
    FORBIDDEN_EXTENSION = (
        "forbidden_extension",
        Alert.ILLEGAL_PARAMETER,
        "an extension that only DTLS may send",
    )
    PSK_NOT_LAST = "psk_not_last", Alert.ILLEGAL_PARAMETER, "pre_shared_key is not the last extension"
    BAD_EXTENSION = "bad_extension", Alert.DECODE_ERROR, "an extension's content does not parse"
    BAD_EXTENSION_VALUE = (
        "bad_extension_value",
        Alert.ILLEGAL_PARAMETER,
        "an extension's content is not allowed",
    )
    BAD_SERVER_NAME = (
        "bad_server_name",
        Alert.UNRECOGNIZED_NAME,
        "a name over 255 bytes, or with a zero byte",
    )
    BAD_KEY_SHARE = "bad_key_share", Alert.ILLEGAL_PARAMETER, "a key share that no server can use"
    MISSING_EXTENSION = (
        "missing_extension",
        Alert.MISSING_EXTENSION,
        "an extension that others require is absent",
    )
    RENEGOTIATION = (
        "renegotiation",
        Alert.HANDSHAKE_FAILURE,
        "renegotiation_info in a first hello is not empty",
    )


class ClientHelloError(PeerError):
    """A peer speaks TLS and its first flight is refused; `str()` says what is wrong.

    `reason` is the fault, `alert` what to answer (the fault's own, but to SSL 3.0 or to a version that
    does not have it). `extension` is the type of the extension at fault and `offset` where in the
    handshake message that is (in bytes, the four of its header included), when they are known;
    `server_name` is the name as sent when it was read before the fault showed.
    """

    def __init__(
        self,
        reason: Fault,
        detail: str,
        *,
        offset: int | None = None,
        extension: int | None = None,
        alert: Alert | None = None,
    ) -> None:
        super().__init__(detail)
        self.reason = reason
        self.alert = reason.alert if alert is None else alert
        self.offset = offset
        self.extension = extension
        self.server_name: bytes | None = None
        self._detail = detail

    @property
    def detail(self) -> str:
        """What is wrong, one line; bytes of the peer's are escaped."""
        return self._detail if self.extension is None else f"{name_of(self.extension).name}: {self._detail}"

    def __str__(self) -> str:
        return self.detail


def refuse(
    reason: Fault,
    detail: str,
    offset: int | None = None,
    *,
    extension: int | None = None,
    alert: Alert | None = None,
) -> NoReturn:
    """Raise the error: short, for the parsers of this floor."""
    raise ClientHelloError(reason, detail, offset=offset, extension=extension, alert=alert)
