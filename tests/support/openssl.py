"""The OpenSSL of this Python, and what later ones do otherwise than 3.0, which `spyhole.wire` follows.

Seen with 3.5; those between were not tried. A malformed hello may get another alert; of several key shares
only the one that is chosen is judged; compress_certificate is parsed.
"""

from __future__ import annotations

import ssl

LATER = ssl.OPENSSL_VERSION_INFO >= (3, 2)

BAD_RECORD = "record layer failure" if LATER else "decryption failed or bad record mac"
"""The reason for a record that does not decrypt: since 3.2 it is behind another, which Python shows."""
ALERT_OF_BAD_RECORD = None if LATER else ssl.ALERT_DESCRIPTION_BAD_RECORD_MAC
"""What can be known of an alert that is encrypted."""
