"""The plain hello that most cases begin with: a browser's, of 517 bytes, for the first route."""

from __future__ import annotations

from typing import Final

from spyhole.conformance.hello import browser, encode
from spyhole.conformance.records import records
from spyhole.conformance.routes import ALPHA_NAME

NAME: Final = ALPHA_NAME.encode()
HELLO: Final = browser(NAME)
MESSAGE: Final = encode(HELLO)
WIRE: Final = records(MESSAGE)
