"""A conformance suite for proxies that route TLS by server name: any of them, Spyhole is one.

It plays clients, legal and hostile, against a proxy, and looks at which of its own backends their bytes
arrive. The truth is OpenSSL's verdict on the same bytes, taken as it runs. It shares no code with the
proxy: a fault in Spyhole's parser can't hide in its own test.

    hello.py, records.py, ech.py, tls13.py   bytes: whole, cut, broken
    cases/                                   what clients do, and why it matters
    oracle.py, routes.py, expect.py          what a proxy should do then
    backends.py, client.py                   sockets
    peers/, process.py, ready.py, guide.py   proxies that the suite starts, or somebody else has
    suite.py                                 who is asked what
    scoring.py, report.py                    what came of it
    lines.py, text.py, document.py           and how it is told
"""
