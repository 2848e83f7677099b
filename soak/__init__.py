"""Wear a proxy down for minutes, by `make soak`, and check that nothing is left of it.

Clients churn through passthrough and termination at once, and reset, stall, half-close and send garbage;
workers and an upstream are killed, logs are rotated. `transfer.py` is what a sound connection carries,
hashed both ways; `clients.py` what clients do; `faults.py` what is done to the proxy; `rest.py` what the
kernel says of it before and after; `run.py` puts it together.
"""
