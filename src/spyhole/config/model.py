"""The configuration: every key with its type, default and meaning.

The file, the flags of `spyhole run`, the reference in docs/configuration.md and the JSON Schema are all
made from these classes. What two keys say to each other is checked in `config/checks.py`.
"""

# pydantic evaluates the annotations

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails

from spyhole.config.checks import Parts, cross_checks
from spyhole.config.values import (
    AutoCount,
    Count,
    Duration,
    OptionalDuration,
    Size,
    at_most,
    fault,
    within,
)
from spyhole.config.words import (
    BindAddress,
    Boolean,
    ErrorLogTarget,
    FilePath,
    LogFormat,
    LogLevel,
    LogTarget,
    Name,
    Network,
    OneOrMany,
    Pattern,
    Protocol,
    Regex,
    RouteMode,
    ServerAddress,
    TlsVersion,
    UpstreamReference,
    name_of_first,
    not_empty,
)
from spyhole.routing.route import Mode


class Group(StrEnum):
    """The headings under which the top-level keys are shown, in `--help` and in the reference."""

    TIMEOUTS = "Timeouts"
    LIMITS = "Limits"
    ROUTING = "Routing"
    LOGGING = "Logging"
    PROCESS = "Process"


class Section(BaseModel):
    """A table of the configuration: unknown keys are errors, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Listener(Section):
    """Where clients connect. At least one is needed."""

    bind: Annotated[OneOrMany[BindAddress], AfterValidator(not_empty)] = Field(
        description="The addresses to listen on: `IP:port`, `[IPv6]:port`, `*:port` for every address of "
        "the machine, or `unix:/path`. One, or a list.",
        examples=[["0.0.0.0:443", "[::]:443"], "unix:/run/spyhole.sock"],
    )
    name: Name = Field(
        "",
        description="What routes and the access log call this listener. Left out, it is the first of its "
        "addresses.",
        examples=["public"],
    )

    @model_validator(mode="before")
    @classmethod
    def _default_name(cls, data: Any) -> Any:
        if isinstance(data, dict) and "name" not in data and (name := name_of_first(data.get("bind"))):
            return {**data, "name": name}
        return data


class Route(Section):
    """Which connections go where. All the conditions that a route gives must hold. The most specific
    server name wins: exact, then `*.`, then `**.`, then `sni_regex`, then `*`; among equals, file order.
    """

    name: Name | None = Field(
        None,
        description="What the access log and `spyhole explain` call this route. Left out, it is "
        "`routes[N]`, counted from 1.",
        examples=["shop"],
    )
    sni: OneOrMany[Pattern] = Field(
        (),
        description="Server names, of which the client must ask for one: a name, `*.` and a name for "
        "exactly one more label, `**.` and a name for one or more, or `*` for any name and "
        "for none. Left out, together with `sni_regex`, it is `*`. One, or a list.",
        examples=["git.example.com", ["www.example.com", "*.shop.example.com"]],
    )
    sni_regex: OneOrMany[Regex] = Field(
        (),
        description="Regular expressions, of which one must match the whole server name. Case does not "
        "count. One, or a list.",
        examples=[r"node-[0-9]+\.example\.com"],
    )
    alpn: OneOrMany[Protocol] = Field(
        (),
        description='Protocols (ALPN), of which the client must offer one; `""` stands for a client that '
        "offers none. When terminating, the first of them that the client offers is chosen. "
        "One, or a list.",
        examples=[["h2", "http/1.1"]],
    )
    from_: OneOrMany[Network] = Field(
        (),
        alias="from",
        description="Networks, of which the client's address must be in one. One, or a list.",
        examples=[["10.0.0.0/8", "2001:db8::/32"]],
    )
    listener: OneOrMany[Name] = Field(
        (),
        description="Names of listeners, on one of which the client must have connected. One, or a list.",
        examples=["public"],
    )
    tls: Boolean = Field(
        True,
        description="False: the route takes connections that are not TLS, and only those.",
        examples=[False],
    )
    mode: RouteMode = Field(
        Mode.PASSTHROUGH,
        description="`passthrough`: the upstream gets the connection as it is. `terminate`: TLS ends "
        "here, and the upstream gets the plaintext. `reject`: the client gets the alert "
        "`unrecognized_name`.",
        examples=["terminate"],
    )
    upstream: UpstreamReference | None = Field(
        None,
        description="Where the connection goes: the X of an `[upstreams.X]`, or an address. Needed, "
        "unless the mode is `reject`.",
        examples=["web", "10.0.0.5:443", "unix:/run/web.sock"],
    )
    min_version: TlsVersion | None = Field(
        None,
        description="The lowest TLS version that is accepted, when terminating. Left out, it is the top-"
        "level `min_version`.",
        examples=["1.3"],
    )


class UpstreamConfig(Section):
    """Servers that do the same, under a name that routes refer to. Connections go to them in turn."""

    servers: Annotated[OneOrMany[ServerAddress], AfterValidator(not_empty)] = Field(
        description="The addresses of the servers: `host:port`, `[IPv6]:port` or `unix:/path`. One, or a "
        "list.",
        examples=[["10.0.0.7:8080", "10.0.0.8:8080"]],
    )


class Certificate(Section):
    """A certificate to terminate TLS with. It is chosen by the names that it covers; two for the same name,
    RSA and ECDSA, serve each client the one that it can use."""

    cert: FilePath = Field(
        description="The certificate and its chain, PEM. Relative to the configuration file.",
        examples=["certs/www.pem"],
    )
    key: FilePath = Field(
        description="The private key of the certificate, PEM, without a passphrase. Relative to the "
        "configuration file.",
        examples=["certs/www.key"],
    )
    default: Boolean = Field(
        False,
        description="Whether this one is for names that no certificate covers, and for clients that send "
        "no name. Without a default, those are refused.",
        examples=[True],
    )


class Config(Section):
    """A whole configuration. Immutable: a reload makes a new one."""

    hello_timeout: Annotated[Duration, Group.TIMEOUTS] = Field(
        5.0,
        description="How long a client may take, from the moment it is accepted, to send a whole "
        "ClientHello.",
        examples=["5s"],
    )
    connect_timeout: Annotated[Duration, Group.TIMEOUTS] = Field(
        5.0, description="How long to wait for an upstream server to accept.", examples=["500ms"]
    )
    handshake_timeout: Annotated[Duration, Group.TIMEOUTS] = Field(
        10.0, description="How long a TLS handshake may take, when terminating.", examples=["10s"]
    )
    idle_timeout: Annotated[Duration, Group.TIMEOUTS] = Field(
        3600.0,
        description="Closes a connection on which no byte has moved, either way, for so long.",
        examples=["1h"],
    )
    half_close_timeout: Annotated[Duration, Group.TIMEOUTS] = Field(
        60.0,
        description="The idle timeout once one side has ended and the other may still send.",
        examples=["60s"],
    )
    max_lifetime: Annotated[OptionalDuration, Group.TIMEOUTS] = Field(
        None,
        description="Closes a connection that has been open for so long, busy or not.",
        examples=["1d"],
    )
    drain_timeout: Annotated[Duration, Group.TIMEOUTS] = Field(
        30.0,
        description="How long connections may go on after SIGTERM; what is open then is cut.",
        examples=["30s"],
    )
    keepalive: Annotated[OptionalDuration, at_most(32_767), Group.TIMEOUTS] = Field(
        120.0,
        description="Sends TCP keepalive probes on connections that have been silent for so long, 9 hours "
        "at most.",
        examples=["2m"],
    )

    max_connections: Annotated[AutoCount, within(1, 10_000_000), Group.LIMITS] = Field(
        None,
        description="How many client connections a worker holds at once; more wait to be accepted. "
        "`auto`: as many as the limit on open files allows.",
        examples=[10_000],
    )
    max_hello_size: Annotated[Size, within(256, 16 << 20), Group.LIMITS] = Field(
        65_536, description="The largest ClientHello, in bytes of handshake.", examples=["64KiB"]
    )
    max_empty_records: Annotated[Count, within(0, 65_536), Group.LIMITS] = Field(
        32,
        description="How many TLS records without content may come before the end of a ClientHello.",
        examples=[32],
    )

    min_version: Annotated[TlsVersion, Group.ROUTING] = Field(
        "1.2",
        description="The lowest TLS version that is accepted, when terminating; a route may ask for "
        "another.",
        examples=["1.3"],
    )

    access_log: Annotated[LogTarget, Group.LOGGING] = Field(
        "-",
        description="Where one line for each connection goes: a file, `-` for standard output, or `off`. "
        "Relative to the configuration file.",
        examples=["/var/log/spyhole/access.log"],
    )
    access_log_format: Annotated[LogFormat, Group.LOGGING] = Field(
        "json", description="What these lines look like.", examples=["human"]
    )
    error_log: Annotated[ErrorLogTarget, Group.LOGGING] = Field(
        "-",
        description="Where Spyhole's own messages go: a file, or `-` for standard error. Relative to the "
        "configuration file.",
        examples=["/var/log/spyhole/error.log"],
    )
    log_level: Annotated[LogLevel, Group.LOGGING] = Field(
        "info", description="The least severe of these messages that is written.", examples=["debug"]
    )

    workers: Annotated[AutoCount, within(1, 1024), Group.PROCESS] = Field(
        None,
        description="How many worker processes. `auto`: one for each CPU that Spyhole may use.",
        examples=[2],
    )
    user: Annotated[Name | None, Group.PROCESS] = Field(
        None,
        description="The user to become, when started as root, once the listeners are bound and the keys "
        "read.",
        examples=["spyhole"],
    )

    listeners: tuple[Listener, ...] = Field((), description="Where clients connect.")
    routes: tuple[Route, ...] = Field((), description="Which connections go where.")
    upstreams: dict[str, UpstreamConfig] = Field({}, description="Servers that do the same, by name.")
    certificates: tuple[Certificate, ...] = Field((), description="Certificates to terminate TLS with.")

    @model_validator(mode="after")
    def _cross_checks(self) -> Config:
        findings = cross_checks(Parts.of(self))
        if findings:
            raise ValidationError.from_exception_data(
                "Config",
                [
                    InitErrorDetails(
                        type=fault(finding.code, finding.message, finding=finding),
                        loc=finding.path,
                        input=None,
                    )
                    for finding in findings
                ],
            )
        return self
