"""What sslyze and testssl.sh say of the TLS that Spyhole terminates."""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.nginx import Nginx
from support.public_certificate import PublicAuthority
from support.spyhole_process import SpyholeProcess
from support.suites import SSLYZE, scan_by_sslyze, scan_by_testssl, version
from support.tools import needs, tool

NAME = "www.test"
Figure = Callable[[str], None]

pytestmark = needs("nginx", "testssl")


@pytest.fixture
def proxy(
    spyhole: Callable[..., SpyholeProcess], public_authority: PublicAuthority, tmp_path: Path
) -> Iterator[SpyholeProcess]:
    certificates = [public_authority.issue(NAME, "ecdsa"), public_authority.issue(NAME, "rsa")]
    with Nginx(tmp_path) as backend:
        flags = [word for leaf in certificates for word in ("--cert", leaf.cert, "--key", leaf.key)]
        yield spyhole(
            *("--listen", "127.0.0.1:0", "--route", f"*={backend.address}", "--workers", "1", *flags),
            *("--route", f"{NAME}=terminate:{backend.address}"),
        )


def test_sslyze(
    proxy: SpyholeProcess, public_authority: PublicAuthority, tmp_path: Path, figure: Figure
) -> None:
    found, different = scan_by_sslyze(proxy.sockaddr()[1], NAME, public_authority.pem, tmp_path)
    figure(f"sslyze {version(str(SSLYZE), '--help')}, Mozilla's intermediate profile: {different or 'met'}")
    # The standard library can't choose the groups: see docs/security-tests.md.
    assert different == ["tls_curves: TLS curves X448, secp521r1 are supported, but should be rejected."]
    for scan, result in found.items():
        assert result["status"] in {"COMPLETED", "NOT_SCHEDULED"}, scan
    for old in ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"):
        assert not found[f"{old}_cipher_suites"]["result"]["accepted_cipher_suites"]
    for new in ("tls_1_2", "tls_1_3"):
        for suite in found[f"{new}_cipher_suites"]["result"]["accepted_cipher_suites"]:
            cipher = suite["cipher_suite"]["name"]
            assert "GCM" in cipher or "CHACHA20" in cipher, "AEAD only"
    assert not found["heartbleed"]["result"]["is_vulnerable_to_heartbleed"]
    assert not found["openssl_ccs_injection"]["result"]["is_vulnerable_to_ccs_injection"]
    assert not found["tls_compression"]["result"]["supports_compression"]
    assert not found["session_renegotiation"]["result"]["is_vulnerable_to_client_renegotiation_dos"]
    assert found["session_renegotiation"]["result"]["supports_secure_renegotiation"]
    assert found["tls_extended_master_secret"]["result"]["supports_ems_extension"]


def test_testssl(
    proxy: SpyholeProcess, public_authority: PublicAuthority, tmp_path: Path, figure: Figure
) -> None:
    found = scan_by_testssl(proxy.sockaddr()[1], NAME, public_authority.pem, tmp_path)
    counts = Counter(finding["severity"] for finding in found)
    above = [finding for finding in found if finding["severity"] in {"MEDIUM", "HIGH", "CRITICAL", "FATAL"}]
    odd = [f"{f['id']}: {f['finding']}" for f in found if f["severity"] in {"LOW", "WARN"}]
    figure(
        f"testssl.sh {version(tool('testssl'), '--version')}, {ssl.OPENSSL_VERSION}: {dict(counts)}; {odd}"
    )
    assert len(found) > 100
    assert not above
