"""Fixtures of the tests of `spyhole.wire`."""

from __future__ import annotations

import pytest

from spyhole.conformance.oracle import OpenSsl


@pytest.fixture(scope="session")
def oracle() -> OpenSsl:
    """OpenSSL, as the judge of a hello."""
    return OpenSsl()
