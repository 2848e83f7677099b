"""A direction whose bytes are spliced: what splice does not do by itself."""

from __future__ import annotations

import asyncio
import os
import random
import socket

import pytest

from spyhole.net import pipes, plain
from spyhole.net.direction import BLOCKED, LONG_TURN
from spyhole.net.loop import run, running_loop
from spyhole.net.pipes import Pipe, give_back, take
from spyhole.net.relay import Ending, Relay, relay
from spyhole.outcome import EndedBy, Reason
from support.ends import End, pair, stream_on

MEBIBYTE = 1 << 20


def test_urgent_data_in_the_middle_neither_stops_it_nor_is_an_end() -> None:
    data = random.Random(3).randbytes(8 * MEBIBYTE)
    before, after = data[: 6 * MEBIBYTE], data[6 * MEBIBYTE :]

    async def world() -> tuple[Ending, End, End]:
        loop = running_loop()
        one, ours = pair(socket.AF_INET)
        other, theirs = pair(socket.AF_INET)
        client, upstream = End(one), End(other)
        carried = relay(stream_on(loop, ours, "c"), stream_on(loop, theirs, "u"), half_close_timeout=20.0)
        serving = loop.create_task(carried)
        client.send(before)
        while client.to_send:
            client.push()
            upstream.pull()
            await asyncio.sleep(0)
        one.send(b"!", socket.MSG_OOB)
        client.send(after)
        client.send_eof()
        upstream.send_eof()
        while not serving.done():
            client.push()
            upstream.push()
            upstream.pull()
            await asyncio.sleep(0)
        while upstream.pull():
            pass
        return serving.result(), client, upstream

    ending, client, upstream = run(world())
    client.sock.close()
    upstream.sock.close()
    assert len(upstream.received) == len(data)
    assert bytes(upstream.received) == data
    assert (ending.reason, ending.bytes_up) == (Reason.CLOSED, len(data))


@pytest.mark.parametrize(("few", "most"), [(1, pipes.SIZE), (0, LONG_TURN)])
def test_bulk_alone_fills_its_pipe_only_where_few_are_lent(
    few: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def world() -> None:
        loop = running_loop()
        one, ours = pair(socket.AF_INET)
        other, theirs = pair(socket.AF_INET)
        with one, other:
            carried = Relay(stream_on(loop, ours, "c"), stream_on(loop, theirs, "u"), None, None)
            serving = asyncio.ensure_future(carried)
            client = End(one)
            client.send(bytes(64 * MEBIBYTE))
            while not carried.up.state & BLOCKED:
                client.push()
                await asyncio.sleep(0)
            client.reset()
            await serving

    asked: set[int] = set()
    splice = os.splice

    def ask(source: int, sink: int, count: int, **more: int) -> int:
        if sink in ends:
            asked.add(count)
        return splice(source, sink, count, **more)

    def lend() -> Pipe | None:
        pipe = take()
        assert pipe is not None
        ends.add(pipe.write_end)
        return pipe

    ends: set[int] = set()
    monkeypatch.setattr(os, "splice", ask)
    monkeypatch.setattr(plain, "take", lend)
    monkeypatch.setattr(pipes, "FEW", few)
    run(world())
    assert max(asked) == most


def test_a_pipe_is_given_back_when_a_slow_sink_has_taken_the_last_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lent: set[Pipe] = set()

    def lend() -> Pipe | None:
        pipe = take()
        assert pipe is not None
        lent.add(pipe)
        return pipe

    def get_back(pipe: Pipe) -> None:
        lent.remove(pipe)
        give_back(pipe)

    monkeypatch.setattr(plain, "take", lend)
    monkeypatch.setattr(plain, "give_back", get_back)
    # The sink takes some 2 KiB at a time; two full reads are copied, the rest is spliced, in one piece.
    size = 2 * 65_536 + 20_000
    at_rest = []

    async def world() -> Ending:
        loop = running_loop()
        one, ours = pair(socket.AF_UNIX)
        other, theirs = pair(socket.AF_UNIX)
        client, upstream = End(one), End(other)
        upstream.send(bytes(size))
        upstream.push()
        down = stream_on(loop, ours, "c")
        down.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
        serving = loop.create_task(relay(down, stream_on(loop, theirs, "u")))
        was_lent = False
        while len(client.received) < size:
            upstream.push()
            client.pull(5000)
            await asyncio.sleep(0)
            was_lent = was_lent or bool(lent)
        assert was_lent
        at_rest.append(len(lent))
        for end in (client, upstream):
            end.sock.close()
        return await serving

    assert run(world()).ended_by in EndedBy
    assert at_rest == [0]
