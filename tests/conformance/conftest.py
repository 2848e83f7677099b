"""One judge for all of these tests: it makes two keys."""

from __future__ import annotations

import pytest

from spyhole.conformance.oracle import OpenSsl


@pytest.fixture(scope="session")
def oracle() -> OpenSsl:
    return OpenSsl()
