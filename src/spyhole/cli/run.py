"""`spyhole run`: the proxy."""

from __future__ import annotations

import os
import pwd
import resource
from typing import TYPE_CHECKING

import click

from spyhole.certs.store import CertificateErrors
from spyhole.cli.flags import Flags, GroupedCommand, config_options, fail
from spyhole.config.problems import ConfigErrors, Finding
from spyhole.errors import OperatorError
from spyhole.net.listener import BindError, address_of, bind, unlink
from spyhole.observe.access_log import AccessLog
from spyhole.observe.error_log import ErrorLog
from spyhole.snapshot import Snapshot
from spyhole.supervisor import Supervisor
from spyhole.upstreams.address import Address, UnixAddress
from spyhole.worker import ListeningSocket

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spyhole.config.model import Config


@click.command(cls=GroupedCommand)
@config_options
@click.pass_context
def run(context: click.Context, flags: Flags) -> None:
    """Run the proxy, from a configuration file or from flags alone.

    \b
    Examples:
      spyhole run -c spyhole.toml
      spyhole run --listen 127.0.0.1:8443 --route git.example.com=127.0.0.1:9443
      spyhole run --listen '*:443' --cert www.pem --key www.key \\
                  --route 'www.example.com=terminate:127.0.0.1:8080' --route '*=10.0.0.5:443'

    SIGTERM or Ctrl-C: accept no more, let connections end, for --drain-timeout; a second one ends at once.
    SIGUSR1: open the logs again, after a rotation.
    Exit code: 0 when every connection could end by itself, 1 when some were cut or it could not start,
    2 for a wrong command line.
    """
    try:
        loaded = flags.load_with_source()
    except ConfigErrors as errors:
        fail(errors)
    try:
        status = serve(loaded.config)
    except CertificateErrors as error:
        fail(loaded.errors(error.findings), status=1)
    except CannotListenError as error:
        fail(loaded.errors([error.finding]), status=1)
    except OperatorError as error:
        raise click.ClickException(str(error)) from None
    context.exit(status)


class CannotListenError(OperatorError):
    """An address of the configuration can't be listened on. `finding` has its place and why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


def serve(config: Config) -> int:
    """Run the proxy in this process and its workers until it is told to end; the exit status.

    Raises OperatorError for whatever keeps it from starting.
    """
    _raise_descriptor_limit()
    snapshot = Snapshot.build(config)
    access_log = AccessLog(config.access_log, config.access_log_format)
    error_log = ErrorLog(config.error_log, config.log_level)
    places = bind_listeners(config, config.workers or len(os.sched_getaffinity(0)))
    try:
        if config.user is not None:
            become(config.user)
        addresses = list(dict.fromkeys(address_of(listening.sock) for listening in places[0]))

        def on_ready() -> None:
            click.echo(f"spyhole: ready, listening on {', '.join(addresses)}", err=True)

        return Supervisor(places, snapshot, access_log, error_log, on_ready).run()
    finally:
        _unlink(address for listener in config.listeners for address in listener.bind)


def bind_listeners(config: Config, workers: int) -> list[list[ListeningSocket]]:
    """Listen everywhere, for each of so many workers. Raises CannotListenError."""
    places: list[list[ListeningSocket]] = [[] for _ in range(workers)]
    bound: list[Address] = []
    for number, listener in enumerate(config.listeners):
        # A client that waits for the server to speak first would wait for the kernel's patience instead.
        defer = not any(
            not route.tls and (not route.listener or listener.name in route.listener)
            for route in config.routes
        )
        for index, address in enumerate(listener.bind):
            try:
                copies = bind(address, workers, defer_accept=defer, keepalive=config.keepalive)
            except BindError as error:
                _unlink(bound)
                place = ("listeners", number, "bind", index)
                raise CannotListenError(Finding(place, "cannot-listen", str(error))) from None
            bound.append(address)
            for own, sockets in zip(places, copies, strict=True):
                own += [ListeningSocket(listener.name, sock) for sock in sockets]
    return places


def _unlink(addresses: Iterable[Address]) -> None:
    for address in addresses:
        if isinstance(address, UnixAddress):
            unlink(address)


def become(user: str) -> None:
    """Give up root for `user` and its groups, for good. Raises OperatorError."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise OperatorError(f"user = {user!r}: there is no such user") from None
    if os.geteuid() == entry.pw_uid:
        return
    try:
        os.initgroups(user, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    except PermissionError:
        raise OperatorError(
            f"user = {user!r}: only root can become another user; start as root, or leave `user` out"
        ) from None


def _raise_descriptor_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
