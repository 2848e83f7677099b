"""Runs a script of tlsfuzzer's, in the environment that has what it needs, and tells how each part ended.

`tlsfuzzer_script.py scripts/test-….py ARGUMENT…`, in a checkout. After each conversation comes a line that
begins with `== `: what went against the script's expectation, or nothing.

Many of the scripts take CBC and RSA key exchange for granted. What they say of those is said of GCM and
ECDHE here, with the message and the extensions that these need. And what they choose at random is the same
in each run, so that two servers are told the same.
"""

import random
import runpy
import sys
from pathlib import Path

sys.path.insert(0, ".")

from tlsfuzzer import expect, messages, runner
from tlsfuzzer.helpers import SIG_ALL
from tlslite.constants import CipherSuite, ExtensionType, GroupName
from tlslite.extensions import (
    SignatureAlgorithmsCertExtension,
    SignatureAlgorithmsExtension,
    SupportedGroupsExtension,
)


def tell_how_it_ended() -> None:
    play = runner.Runner.run

    def run(self):  # type: ignore[no-untyped-def]
        try:
            play(self)
        except Exception as error:
            print("==", *str(error).split())
            raise
        print("== ")

    runner.Runner.run = run


def take_gcm_for_cbc() -> None:
    for exchange in ("RSA", "DHE_RSA", "ECDHE_RSA"):
        for cbc in ("AES_128_CBC_SHA", "AES_256_CBC_SHA", "AES_128_CBC_SHA256"):
            gcm = CipherSuite.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
            setattr(CipherSuite, f"TLS_{exchange}_WITH_{cbc}", gcm)


def expect_a_key_exchange() -> None:
    follow = expect.ExpectCertificate.add_child

    def add_child(self, child):  # type: ignore[no-untyped-def]
        if isinstance(child, expect.ExpectServerHelloDone):
            return follow(self, expect.ExpectServerKeyExchange()).add_child(child)
        return follow(self, child)

    expect.ExpectCertificate.add_child = add_child


def send_what_it_needs() -> None:
    make = messages.ClientHelloGenerator.__init__

    def init(self, ciphers=None, extensions=None, *more, **named):  # type: ignore[no-untyped-def]
        needed = {
            ExtensionType.supported_groups: SupportedGroupsExtension().create([GroupName.secp256r1]),
            ExtensionType.signature_algorithms: SignatureAlgorithmsExtension().create(SIG_ALL),
            ExtensionType.signature_algorithms_cert: SignatureAlgorithmsCertExtension().create(SIG_ALL),
        }
        make(self, ciphers, needed | (extensions or {}), *more, **named)

    messages.ClientHelloGenerator.__init__ = init


def choose_the_same() -> None:
    """Not by a seed of `random`: the cryptography draws from it too, and not the same each time."""
    random.sample = random.Random(1).sample
    random.SystemRandom = lambda: random.Random(1)


if __name__ == "__main__":
    del sys.argv[0]
    source = Path("tlsfuzzer/_apps", Path(sys.argv[0]).name.replace("-", "_")).read_text()
    tell_how_it_ended()
    take_gcm_for_cbc()
    expect_a_key_exchange()
    if "SignatureAlgorithmsExtension" not in source and "ssl2=True" not in source:
        send_what_it_needs()
    choose_the_same()
    runpy.run_path(sys.argv[0], run_name="__main__")
