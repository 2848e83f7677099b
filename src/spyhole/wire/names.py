"""What the numbers of a ClientHello are called: the IANA registries, and what clients send besides.

Names in brackets are not registered: drafts that real clients use or used.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from spyhole.wire.cipher_names import CIPHERS, runs
from spyhole.wire.message import GREASE


class Named(NamedTuple):
    """A code point and what it is called."""

    code: int
    name: str
    width: int = 2  # bytes

    @property
    def grease(self) -> bool:
        """Whether it means nothing and is there to keep servers tolerant (RFC 8701)."""
        return self.width == 2 and self.code in GREASE

    @property
    def hex(self) -> str:
        return f"0x{self.code:0{2 * self.width}x}"

    def __str__(self) -> str:
        return f"{self.name} ({self.hex})"


def cipher(code: int) -> Named:
    return _named(code, CIPHERS)


def extension(code: int) -> Named:
    return _named(code, EXTENSIONS)


def group(code: int) -> Named:
    return _named(code, GROUPS)


def signature_scheme(code: int) -> Named:
    return _named(code, SIGNATURE_SCHEMES)


def version(code: int) -> Named:
    if 0x7F00 < code < 0x7F80:
        return Named(code, f"TLS 1.3 draft {code & 0xFF}")
    return _named(code, VERSIONS)


def compression(code: int) -> Named:
    return Named(code, {0: "null", 1: "deflate", 64: "lzs"}.get(code, "unknown"), 1)


def point_format(code: int) -> Named:
    names = {0: "uncompressed", 1: "ansiX962_compressed_prime", 2: "ansiX962_compressed_char2"}
    return Named(code, names.get(code, "unknown"), 1)


def psk_mode(code: int) -> Named:
    return Named(code, {0: "psk_ke", 1: "psk_dhe_ke"}.get(code, "unknown"), 1)


def certificate_compression(code: int) -> Named:
    return _named(code, {1: "zlib", 2: "brotli", 3: "zstd"})


def is_post_quantum(code: int) -> bool:
    """Whether a group resists a quantum computer, alone or as a hybrid."""
    return code in POST_QUANTUM


def _named(code: int, names: dict[int, str]) -> Named:
    return Named(code, "GREASE" if code in GREASE else names.get(code, "unknown"))


VERSIONS: Final = {
    0x0002: "SSL 2.0",
    0x0300: "SSL 3.0",
    0x0301: "TLS 1.0",
    0x0302: "TLS 1.1",
    0x0303: "TLS 1.2",
    0x0304: "TLS 1.3",
    0xFEFF: "DTLS 1.0",
    0xFEFD: "DTLS 1.2",
    0xFEFC: "DTLS 1.3",
}

EXTENSIONS: Final = {
    **runs("""
    0x0000 server_name max_fragment_length client_certificate_url trusted_ca_keys truncated_hmac
           status_request user_mapping client_authz server_authz cert_type supported_groups ec_point_formats
           srp signature_algorithms use_srtp heartbeat application_layer_protocol_negotiation
           status_request_v2 signed_certificate_timestamp client_certificate_type server_certificate_type
           padding encrypt_then_mac extended_master_secret token_binding cached_info tls_lts
           compress_certificate record_size_limit pwd_protect pwd_clear password_salt ticket_pinning
           tls_cert_with_extern_psk delegated_credential session_ticket TLMSP TLMSP_proxying TLMSP_delegate
           supported_ekt_ciphers
    0x0029 pre_shared_key early_data supported_versions cookie psk_key_exchange_modes
    0x002F certificate_authorities oid_filters post_handshake_auth signature_algorithms_cert key_share
           transparency_info connection_id_deprecated connection_id external_id_hash external_session_id
           quic_transport_parameters ticket_request dnssec_chain sequence_number_encryption_algorithms rrc
           tls_flags
    0xFD00 ech_outer_extensions
    0xFE0D encrypted_client_hello
    0xFF01 renegotiation_info
    """),
    0x3374: "[next_protocol_negotiation]",
    0x4469: "[application_settings, old code]",
    0x44CD: "[application_settings]",
    0x754F: "[channel_id, old code]",
    0x7550: "[channel_id]",
    0xFDE8: "[cryptopro]",
    0xFFA5: "[quic_transport_parameters, draft]",
    0xFFCE: "[encrypted_server_name]",
}

POST_QUANTUM: Final = {
    **runs("""
    0x0200 MLKEM512 MLKEM768 MLKEM1024
    0x11EB SecP256r1MLKEM768 X25519MLKEM768 SecP384r1MLKEM1024 curveSM2MLKEM768
    0x6399 X25519Kyber768Draft00 SecP256r1Kyber768Draft00
    """),
    0x4138: "[CECPQ2]",
    0xFE30: "[X25519Kyber512Draft00]",
    0xFE31: "[X25519Kyber768Draft00, old code]",
}

GROUPS: Final = {
    **runs("""
    0x0001 sect163k1 sect163r1 sect163r2 sect193r1 sect193r2 sect233k1 sect233r1 sect239k1 sect283k1
           sect283r1 sect409k1 sect409r1 sect571k1 sect571r1 secp160k1 secp160r1 secp160r2 secp192k1
           secp192r1 secp224k1 secp224r1 secp256k1 secp256r1 secp384r1 secp521r1 brainpoolP256r1
           brainpoolP384r1 brainpoolP512r1 x25519 x448 brainpoolP256r1tls13 brainpoolP384r1tls13
           brainpoolP512r1tls13 GC256A GC256B GC256C GC256D GC512A GC512B GC512C curveSM2
    0x0100 ffdhe2048 ffdhe3072 ffdhe4096 ffdhe6144 ffdhe8192
    0xFF01 arbitrary_explicit_prime_curves arbitrary_explicit_char2_curves
    """),
    **POST_QUANTUM,
}

SIGNATURE_SCHEMES: Final = runs("""
0x0101 rsa_pkcs1_md5
0x0201 rsa_pkcs1_sha1 dsa_sha1 ecdsa_sha1
0x0301 rsa_pkcs1_sha224 dsa_sha224 ecdsa_sha224
0x0401 rsa_pkcs1_sha256 dsa_sha256 ecdsa_secp256r1_sha256
0x0420 rsa_pkcs1_sha256_legacy
0x0501 rsa_pkcs1_sha384 dsa_sha384 ecdsa_secp384r1_sha384
0x0520 rsa_pkcs1_sha384_legacy
0x0601 rsa_pkcs1_sha512 dsa_sha512 ecdsa_secp521r1_sha512
0x0620 rsa_pkcs1_sha512_legacy
0x0704 eccsi_sha256 iso_ibs1 iso_ibs2 iso_chinese_ibs sm2sig_sm3 gostr34102012_256a gostr34102012_256b
       gostr34102012_256c gostr34102012_256d gostr34102012_512a gostr34102012_512b gostr34102012_512c
0x0804 rsa_pss_rsae_sha256 rsa_pss_rsae_sha384 rsa_pss_rsae_sha512 ed25519 ed448 rsa_pss_pss_sha256
       rsa_pss_pss_sha384 rsa_pss_pss_sha512
0x081A ecdsa_brainpoolP256r1tls13_sha256 ecdsa_brainpoolP384r1tls13_sha384
       ecdsa_brainpoolP512r1tls13_sha512
0x0904 mldsa44 mldsa65 mldsa87
""")
