"""The benchmark: what a proxy costs per operation, next to other proxies, on this machine, now."""
