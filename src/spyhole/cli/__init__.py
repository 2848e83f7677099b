"""The command line: one file a command, gathered here."""

from __future__ import annotations

from importlib import import_module, metadata

import click

_COMMANDS = {
    "run": "Run the proxy.",
    "check": "Check a configuration, without running it.",
    "explain": "Show which route a connection would take, and why.",
    "hello": "Decode a ClientHello.",
    "demo": "See it work, with throwaway certificates and backends.",
    "schema": "Print the JSON Schema of the configuration.",
}


class _Commands(click.Group):
    """Imports a command's module when it is called for: `spyhole --help` and completion stay quick."""

    def list_commands(self, _: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"spyhole.cli.{cmd_name}"), cmd_name)
        command.short_help = _COMMANDS[cmd_name]
        return command

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(metadata.version("spyhole"), prog_name="spyhole")
def main() -> None:
    """A TLS-aware TCP proxy: routes TLS by server name, passes it through or terminates it.

    \b
    Try it:          spyhole demo
    Route two names: spyhole run --listen 127.0.0.1:8443 --route git.example.com=10.0.0.5:443 \\
                                 --route '*=10.0.0.6:443'
    From a file:     spyhole check -c spyhole.toml && spyhole run -c spyhole.toml
    """
