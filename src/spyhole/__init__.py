"""Spyhole: a TLS-aware TCP proxy. `spyhole.session` is one connection's life, and the table of contents."""
