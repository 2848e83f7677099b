"""Reading a certificate and its key: what is known of it, and every mistake named with its file."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from spyhole.certs.certificate import LARGEST, CertificateError, read_certificate
from spyhole.certs.context import TlsPolicy, make_context
from support.certificates import Authority


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def self_signed(
    directory: Path,
    private: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey,
    *names: str,
) -> tuple[Path, Path]:
    """A certificate with a common name, and with these names if there are any."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "common.test")])
    now = datetime.datetime.now(datetime.UTC)
    later = now + datetime.timedelta(days=9)
    builder = x509.CertificateBuilder(name, name, private.public_key(), 1, now, later)
    if names:
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False)
    digest = None if isinstance(private, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    certificate = builder.sign(private, digest)
    key = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return (
        write(directory / "self.pem", certificate.public_bytes(Encoding.PEM)),
        write(directory / "self.key", key),
    )


def test_what_a_certificate_says(authority: Authority) -> None:
    leaf = authority.issue("WWW.example.com", "*.Shop.example.com", "192.0.2.1")
    certificate = read_certificate(leaf.cert, leaf.key, default=True)
    assert certificate.names == ("www.example.com", "*.shop.example.com")
    assert certificate.key_type == "ecdsa"
    assert certificate.default
    now = datetime.datetime.now(datetime.UTC)
    assert certificate.not_before < now < certificate.not_after
    assert certificate.chain_fault is None
    assert "PRIVATE" not in repr(certificate)


def test_the_types_of_keys(authority: Authority, tmp_path: Path) -> None:
    leaf = authority.issue("www.test", key="rsa")
    assert read_certificate(leaf.cert, leaf.key).key_type == "rsa"
    files = self_signed(tmp_path, ed25519.Ed25519PrivateKey.generate())
    assert read_certificate(*files).key_type == "ed25519"


def test_the_common_name_is_no_host_name(tmp_path: Path) -> None:
    assert read_certificate(*self_signed(tmp_path, ec.generate_private_key(ec.SECP256R1()))).names == ()


def test_names_are_kept_as_they_are_compared(tmp_path: Path) -> None:
    files = self_signed(
        tmp_path, ec.generate_private_key(ec.SECP256R1()), "WWW.Test", "www.test.", "*.Shop.Test"
    )
    assert read_certificate(*files).names == ("www.test", "*.shop.test")


def test_certificate_and_key_may_share_a_file_in_any_order(authority: Authority, tmp_path: Path) -> None:
    leaf, other = authority.issue("www.test"), authority.issue("other.test")
    both = write(tmp_path / "both.pem", leaf.key.read_bytes() + leaf.cert.read_bytes())
    certificate = read_certificate(both, both)
    assert certificate.names == ("www.test",)
    assert certificate.pem.count(b"BEGIN") == 2
    # the chain's file may hold another key: only the one of the key's file counts, for OpenSSL too
    chain = write(tmp_path / "chain.pem", other.key.read_bytes() + leaf.cert.read_bytes())
    make_context(TlsPolicy(), [read_certificate(chain, leaf.key)])


def test_the_parameters_that_old_openssl_writes_before_a_key_are_skipped(
    authority: Authority, tmp_path: Path
) -> None:
    leaf = authority.issue("www.test")
    parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    key = write(tmp_path / "old.key", parameters.encode() + leaf.key.read_bytes())
    make_context(TlsPolicy(), [read_certificate(leaf.cert, key)])


def test_a_chain_out_of_order_is_noted(authority: Authority, tmp_path: Path) -> None:
    leaf, other = authority.issue("www.test"), authority.issue("other.test")
    chain = write(
        tmp_path / "chain.pem",
        leaf.cert.read_bytes() + other.cert.read_bytes() + authority.pem.read_bytes(),
    )
    fault = read_certificate(chain, leaf.key).chain_fault
    assert fault is not None
    assert "certificate 1 of the file was not issued by the next one" in fault
    whole = write(tmp_path / "whole.pem", leaf.cert.read_bytes() + authority.pem.read_bytes())
    certificate = read_certificate(whole, leaf.key)
    assert certificate.chain_fault is None
    assert len(certificate.chain) == 2


# mistakes: (which file, code, part of the message, part of the hint)


def mistake(cert: Path, key: Path) -> CertificateError:
    with pytest.raises(CertificateError) as caught:
        read_certificate(cert, key)
    error = caught.value
    assert repr(str(cert if error.which == "cert" else key)) in error.message
    return error


def test_no_such_file(authority: Authority, tmp_path: Path) -> None:
    leaf = authority.issue("www.test")
    error = mistake(tmp_path / "certs" / "www.pem", leaf.key)
    assert (error.which, error.code) == ("cert", "unreadable-file")
    assert "no such file" in error.message
    assert "there is no directory" in str(error)
    error = mistake(leaf.cert, tmp_path / "www.key")
    assert (error.which, error.code, error.hint) == ("key", "unreadable-file", None)


def test_files_that_cannot_be_read(authority: Authority, tmp_path: Path) -> None:
    leaf = authority.issue("www.test")
    assert "is a directory" in str(mistake(tmp_path, leaf.key))
    assert "null byte" in str(mistake(leaf.cert, Path("a\0b")))
    large = write(tmp_path / "large.pem", b"x" * (LARGEST + 1))
    assert "larger than 1 MiB" in str(mistake(leaf.cert, large))
    if os.geteuid() != 0:
        leaf.key.chmod(0)
        assert "permission denied" in str(mistake(leaf.cert, leaf.key))


def test_a_certificate_and_key_that_are_swapped(authority: Authority) -> None:
    leaf = authority.issue("www.test")
    error = mistake(leaf.key, leaf.cert)
    assert (error.which, error.hint) == ("cert", "are cert and key swapped?")


def test_files_without_what_they_should_have(authority: Authority, tmp_path: Path) -> None:
    leaf = authority.issue("www.test")
    assert mistake(leaf.key, leaf.key).message.endswith("has a key, not a certificate")
    assert mistake(leaf.cert, leaf.cert).message.endswith("has a certificate and no key")
    empty, text = write(tmp_path / "empty", b"\n"), write(tmp_path / "text", "hello")
    assert "is empty" in str(mistake(empty, leaf.key))
    assert "is empty" in str(mistake(leaf.cert, empty))
    assert "expected PEM: -----BEGIN CERTIFICATE-----" in str(mistake(text, leaf.key))
    assert "expected PEM: -----BEGIN PRIVATE KEY-----" in str(mistake(leaf.cert, text))


def test_der_is_named_and_how_to_convert_it(authority: Authority, tmp_path: Path) -> None:
    leaf = authority.issue("www.test")
    certificate = x509.load_pem_x509_certificate(leaf.cert.read_bytes())
    cert = write(tmp_path / "www.der", certificate.public_bytes(Encoding.DER))
    error = mistake(cert, leaf.key)
    assert "is DER, not PEM" in error.message
    assert f"openssl x509 -inform DER -in {cert}" in str(error)
    private = load_pem_private_key(leaf.key.read_bytes(), None)
    der = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    assert "is DER, not PEM" in str(mistake(leaf.cert, write(tmp_path / "key.der", der)))
    der = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    assert "is DER, not PEM" in str(mistake(leaf.cert, write(tmp_path / "key2.der", der)))


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_a_key_with_a_passphrase_is_refused_without_asking(
    authority: Authority, tmp_path: Path, form: PrivateFormat
) -> None:
    leaf = authority.issue("www.test")
    private = load_pem_private_key(leaf.key.read_bytes(), None)
    pem = private.private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"secret"))
    error = mistake(leaf.cert, write(tmp_path / "locked.key", pem))
    assert (error.which, error.code) == ("key", "encrypted-key")
    assert "has a passphrase" in error.message
    assert "openssl pkey" in str(error)


def test_a_key_of_another_certificate(authority: Authority, tmp_path: Path) -> None:
    leaf, other = authority.issue("www.test"), authority.issue("other.test")
    error = mistake(leaf.cert, other.key)
    assert (error.which, error.code, error.hint) == ("key", "key-mismatch", None)
    chain = write(tmp_path / "chain.pem", other.cert.read_bytes() + leaf.cert.read_bytes())
    assert "certificate 2 of the file: the server's own has to come first" in str(mistake(chain, leaf.key))


@pytest.mark.parametrize("which", ["cert", "key"])
def test_damaged_pem(authority: Authority, which: str) -> None:
    leaf = authority.issue("www.test")
    file = leaf.cert if which == "cert" else leaf.key
    lines = file.read_text().splitlines()
    del lines[2]
    write(file, "\n".join(lines))
    error = mistake(leaf.cert, leaf.key)
    assert error.which == which
    assert "is damaged" in error.message


def test_what_openssl_refuses_is_an_error_too(tmp_path: Path) -> None:
    certificate = read_certificate(*self_signed(tmp_path, rsa.generate_private_key(65_537, 1024)))
    with pytest.raises(CertificateError, match="ee key too small"):
        make_context(TlsPolicy(), [certificate])
