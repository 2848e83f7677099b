"""The configuration: a TOML file or flags in, a `Config` or every error at once out."""
