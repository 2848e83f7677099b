"""Every file of bench/peers is a peer, and makes the configuration of a job."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.peers import LOG, PASS, TERMINATE, WORKERS, Job, Peer
from bench.works import network_works, works

from bench import certificate, peers

PEERS = peers.find([])


def test_the_peers_are_all_there() -> None:
    names = {peer.NAME for peer in PEERS}
    assert names >= {"spyhole", "haproxy", "haproxy-splice", "haproxy-new", "nginx", "sniproxy", "envoy"}
    assert names >= {"traefik", "tls-switch", "go-talk", "hitch", "stunnel"}
    assert len(names) == len(PEERS)


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.NAME)
def test_a_peer_has_what_the_protocol_asks_for(peer: Peer) -> None:
    assert {PASS, TERMINATE, LOG, WORKERS} >= peer.DOES
    assert peer.DOES & {PASS, TERMINATE}
    assert (version := peer.version()) is None or version
    assert isinstance(peers.note(peer), str)


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.NAME)
@pytest.mark.parametrize("what", [PASS, TERMINATE, LOG])
def test_a_peer_writes_the_routes_of_a_job(peer: Peer, what: str, tmp_path: Path) -> None:
    if what not in peer.DOES:
        pytest.skip(f"{peer.NAME} does not {what}")
    made = certificate.make(tmp_path, "a.test") if what == TERMINATE else None
    log = tmp_path / "access.log" if what == LOG else None
    job = Job("127.0.0.1:4430", {"a.test": "127.0.0.1:9001"}, tmp_path, certificate=made, log=log)
    words = peer.command(job)
    written = " ".join(
        [*words, *(path.read_text() for path in tmp_path.iterdir() if path.suffix not in {".pem", ".key"})]
    )
    assert "4430" in written
    assert "9001" in written
    assert made is None or str(made.chain) in written or str(made.both) in written
    assert log is None or str(log) in written


@pytest.mark.parametrize("quick", [False, True])
def test_works_have_keys_of_their_own_and_a_peer_that_can_do_them(quick: bool) -> None:
    every = [*works(quick), *network_works()]
    assert len({work.key for work in every}) == len(every)
    ours = next(peer for peer in PEERS if peer.NAME == "spyhole")
    assert all(work.setting.needs <= ours.DOES for work in every)
