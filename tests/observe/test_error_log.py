"""The error log: a line for each thing, whatever is in it; never waits; never at a peer's speed."""

from __future__ import annotations

import fcntl
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spyhole.errors import OperatorError
from spyhole.observe import error_log
from spyhole.observe.error_log import MAX_KEYS, ErrorLog, RateLimited

LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (debug|info|warning|error) \S+ [^\x00-\x1f\x7f-\x9f\u202e]*"
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "error.log"


@pytest.fixture
def log(file: Path) -> Iterator[ErrorLog]:
    log = ErrorLog(file)
    yield log
    log.close()


def test_a_line_says_when_how_bad_who_and_what(log: ErrorLog, file: Path) -> None:
    logger = logging.getLogger("spyhole.net.accept")
    logger.info("accepting on %s", "127.0.0.1:443")
    log.who = "worker[1]"
    logger.warning("out of descriptors")
    first, second = file.read_text().splitlines()
    assert LINE.fullmatch(first)
    assert first.endswith("Z info supervisor accepting on 127.0.0.1:443")
    assert second.endswith("Z warning worker[1] out of descriptors")


def test_the_level_holds_for_all_of_spyhole(file: Path) -> None:
    log = ErrorLog(file, "error")
    logging.getLogger("spyhole.net").warning("not this")
    logging.getLogger("spyhole.net").error("this")
    log.close()
    assert [line.split()[-1] for line in file.read_text().splitlines()] == ["this"]


@given(st.text())
def test_any_message_is_one_line(text: str) -> None:
    reader, writer = os.pipe()
    try:
        log = ErrorLog(writer)
        logging.getLogger("spyhole").error("%s", text * 50)
        log.close()
        data = os.read(reader, 1 << 20)
    finally:
        os.close(reader)
        os.close(writer)
    assert len(data) <= 4096
    assert data.count(b"\n") == 1
    assert LINE.fullmatch(data.decode().removesuffix("\n"))


def test_each_line_of_a_traceback_has_a_head(log: ErrorLog, file: Path) -> None:
    try:
        raise ValueError("a\nb\x1b[31m")
    except ValueError:
        logging.getLogger("spyhole").exception("a defect")
    lines = file.read_text().splitlines()
    assert all(LINE.fullmatch(line) for line in lines)
    assert lines[0].endswith(" error supervisor a defect")
    assert lines[1].endswith("Traceback (most recent call last):")
    assert lines[-1].endswith(r"b\x1b[31m")


def test_a_message_that_its_arguments_do_not_fit_is_still_said(log: ErrorLog, file: Path) -> None:
    log.emit(logging.LogRecord("spyhole", logging.ERROR, "", 0, "%d of %d", ("x",), None))
    assert "'%d of %d' ('x',)" in file.read_text()


def test_a_full_pipe_is_not_waited_for_and_the_loss_is_said() -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    log = ErrorLog(writer)
    logger = logging.getLogger("spyhole")
    for number in range(300):
        logger.error("number %d", number)  # would hang here if it waited
    written = os.read(reader, 65536).decode().splitlines()
    assert len(written) < 300
    logger.error("again")
    said, again = os.read(reader, 65536).decode().splitlines()
    assert said.endswith(f" {300 - len(written)} lines of this log were lost: nobody took them")
    assert again.endswith(" again")
    os.close(reader)
    logger.error("to nobody")
    log.close()
    os.close(writer)


def test_dev_full_costs_nothing_but_the_line() -> None:
    log = ErrorLog("/dev/full")
    logging.getLogger("spyhole").error("lost")
    log.close()


def test_reopen_goes_on_in_a_new_file(log: ErrorLog, file: Path) -> None:
    file.rename(file.with_suffix(".1"))
    log.reopen()
    logging.getLogger("spyhole").error("new")
    assert file.read_text().endswith("new\n")
    file.unlink()
    file.mkdir()
    log.reopen()  # says so in the file that stays in use, and does not raise


def test_what_cannot_be_opened_is_the_operators_error() -> None:
    with pytest.raises(
        OperatorError, match=r"^error_log = '/nonexistent/log' can't be opened: no such file"
    ):
        ErrorLog("/nonexistent/log")


class TestRateLimited:
    @pytest.fixture
    def said(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        return []

    @pytest.fixture
    def limited(self, said: list[str]) -> RateLimited:
        self.now = 50.0
        logger = logging.Logger("test")
        handler = logging.Handler()
        handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
        logger.addHandler(handler)
        return RateLimited(logger, clock=lambda: self.now)

    def test_a_thing_is_said_once_a_second_and_then_how_often(
        self, limited: RateLimited, said: list[str]
    ) -> None:
        for _ in range(5):
            limited.warning("accept", "can't accept: %s", "EMFILE")
        assert said == ["can't accept: EMFILE"]
        self.now += 1
        limited.warning("accept", "can't accept: %s", "ENOMEM")
        assert said[1:] == ["can't accept: ENOMEM (and 4 more like it)"]
        self.now += 1
        limited.warning("accept", "100% of it")
        assert said[2:] == ["100% of it"]

    def test_two_things_do_not_hide_each_other(self, limited: RateLimited, said: list[str]) -> None:
        limited.info("a", "a")
        limited.error("b", "b")
        assert said == ["a", "b"]

    def test_what_is_owed_is_said_when_nothing_more_comes(
        self, limited: RateLimited, said: list[str]
    ) -> None:
        for number in range(4):
            limited.warning("a", "number %d", number)
        limited.settle()
        assert said == ["number 0"]
        self.now += 1
        limited.settle()
        limited.settle()
        assert said == ["number 0", "number 3 (3 like it)"]
        limited.warning("a", "more")
        limited.settle(everything=True)
        assert said[2:] == ["more (1 like it)"]

    def test_keys_are_bounded_and_so_is_what_is_said(self, limited: RateLimited, said: list[str]) -> None:
        for number in range(10 * MAX_KEYS):
            limited.warning(f"key {number}", "thing")
        assert len(said) == MAX_KEYS + 1
        assert len(limited._said) == MAX_KEYS + 1
        self.now += 1
        limited.settle()
        self.now += 1
        limited.warning("another", "thing")
        assert len(limited._said) == 1

    def test_what_the_level_hides_is_not_counted(self, limited: RateLimited, said: list[str]) -> None:
        limited._logger.setLevel(error_log.LEVELS["warning"])
        limited.debug("a", "hidden")
        limited.warning("a", "shown")
        assert said == ["shown"]
