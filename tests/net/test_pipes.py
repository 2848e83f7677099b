"""Pipes that are kept and lent out."""

from __future__ import annotations

import fcntl
import os
import resource
from collections.abc import Iterator
from contextlib import suppress

import pytest

from spyhole.net import pipes
from support.play import descriptors


@pytest.fixture(autouse=True)
def none_left() -> Iterator[None]:
    pipes.close_idle()
    before = descriptors()
    yield
    pipes.close_idle()
    assert descriptors() == before


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def take() -> pipes.Pipe:
    pipe = pipes.take()
    assert pipe is not None
    return pipe


def test_a_pipe_does_not_block_and_is_not_inherited() -> None:
    pipe = take()
    ends = (pipe.read_end, pipe.write_end)
    assert not any(map(os.get_blocking, ends))
    assert not any(map(os.get_inheritable, ends))
    os.write(pipe.write_end, b"through")
    assert os.read(pipe.read_end, 100) == b"through"
    pipes.give_back(pipe)


def test_a_pipe_is_large_where_the_user_may_have_that() -> None:
    own = os.pipe()
    with suppress(OSError):
        fcntl.fcntl(own[1], fcntl.F_SETPIPE_SZ, pipes.SIZE)
    pipe = take()
    size = fcntl.fcntl(pipe.write_end, fcntl.F_GETPIPE_SZ)
    assert size == fcntl.fcntl(own[1], fcntl.F_GETPIPE_SZ)
    pipes.give_back(pipe)
    for fd in own:
        os.close(fd)


def test_the_default_size_does_where_no_more_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError("no more than pipe-user-pages-soft")

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    pipes.give_back(take())


def test_a_clean_pipe_is_lent_out_again() -> None:
    pipe = take()
    pipes.give_back(pipe)
    assert take() == pipe
    other = take()
    assert other != pipe, "it is lent to one at a time"
    pipes.give_back(pipe)
    pipes.give_back(other)


def test_a_pipe_with_bytes_in_it_is_nobodys_next() -> None:
    pipe = take()
    pipe.held = os.write(pipe.write_end, b"somebody's secret")
    pipes.give_back(pipe)
    assert not is_open(pipe.read_end)
    assert not is_open(pipe.write_end)
    again = take()
    with pytest.raises(BlockingIOError):
        os.read(again.read_end, 100)
    pipes.give_back(again)


def test_only_so_many_are_kept() -> None:
    before = len(descriptors())
    lent = [take() for _ in range(pipes.MOST_IDLE + 5)]
    for pipe in lent:
        pipes.give_back(pipe)
    assert len(descriptors()) == before + pipes.MOST_IDLE


def test_few_are_lent_until_more_are() -> None:
    lent = [take() for _ in range(pipes.FEW)]
    assert pipes.few_lent()
    lent.append(take())
    assert not pipes.few_lent()
    pipes.give_back(lent.pop())
    assert pipes.few_lent()
    for pipe in lent:
        pipes.give_back(pipe)


def test_without_a_descriptor_left_there_is_none() -> None:
    kept = take()
    pipes.give_back(kept)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        assert pipes.take() == kept, "that needs no descriptor"
        assert pipes.take() is None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    pipes.give_back(kept)


def test_pipes_keep_to_their_share_of_the_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipes, "_most_lent", 1)
    share = pipes.reserve(128)
    lent = []
    while (pipe := pipes.take()) is not None:
        lent.append(pipe)
    assert 2 * len(lent) == share == 16
    for pipe in lent:
        pipes.give_back(pipe)
    again = take()
    assert again in lent
    pipes.give_back(again)
