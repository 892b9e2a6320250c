from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from engine import telemetry
from engine.telemetry import configure_logging, hide, logger, mask
from tests.numbers import mobile, mobiles

NUMBER = mobile()
COVERED = f"{NUMBER[:3]}****{NUMBER[-4:]}"
SECRET = 'p"ä ss/wörd+1'


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Secrets, handlers and levels are the process's: put them back."""
    monkeypatch.setattr(telemetry, "_secrets", set())
    root = logging.getLogger()
    before = root.level, logger.level
    yield
    root.handlers[:] = [handler for handler in root.handlers if handler.name != "xinshi"]
    root.setLevel(before[0])
    logger.setLevel(before[1])


@pytest.fixture(params=[False, True], ids=["human", "json"])
def stream(request: pytest.FixtureRequest) -> io.StringIO:
    stream = io.StringIO()
    configure_logging(2, json_lines=request.param, stream=stream)
    return stream


@pytest.fixture
def lines() -> Callable[[], list[dict[str, Any]]]:
    stream = io.StringIO()
    configure_logging(2, json_lines=True, stream=stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


# ── nothing passes ───────────────────────────────────────────────────────────────────────────────────────────────────


class Customer:
    def __str__(self) -> str:
        return f"customer {NUMBER} {SECRET}"


def fail(text: str) -> None:
    raise ValueError(text)


def log_in_a_message() -> None:
    logger.info(f"for {NUMBER} with {SECRET}")


def log_in_arguments() -> None:
    logger.info("for %s with %s", NUMBER, SECRET)


def log_in_arguments_by_name() -> None:
    logger.info("for %(mobile)s with %(secret)s", {"mobile": NUMBER, "secret": SECRET})


def log_in_arguments_that_do_not_fit() -> None:
    logger.info("for %d %d", NUMBER, SECRET)


def log_in_fields() -> None:
    logger.info("Sent.", extra={"mobile": NUMBER, "password": SECRET})


def log_in_nested_fields() -> None:
    logger.info("Sent.", extra={"batch": {"mobiles": [NUMBER, int(NUMBER)], NUMBER: (SECRET, {SECRET})}})


def log_in_a_number_field() -> None:
    logger.info("Sent.", extra={"mobile": int(NUMBER), "cell": float(NUMBER), "points": Decimal(NUMBER)})


def log_in_an_object() -> None:
    logger.info("for %s", Customer(), extra={"customer": Customer()})


def log_in_a_traceback() -> None:
    try:
        try:
            fail(f"number {NUMBER}")
        except ValueError as exc:
            exc.add_note(f"with {SECRET}")
            raise KeyError(f"{SECRET} of {NUMBER}") from exc
    except KeyError:
        logger.exception("It failed.")


def log_in_a_group_of_exceptions() -> None:
    try:
        raise ExceptionGroup(f"for {NUMBER}", [ValueError(f"{SECRET} and {NUMBER}")])
    except ExceptionGroup:
        logger.exception("It failed.")


def log_in_a_stack() -> None:
    record = logger.makeRecord("xinshi", logging.INFO, "x.py", 1, "It failed.", (), None)
    record.stack_info, record.exc_text = f"Stack: {NUMBER} {SECRET}", f"Traceback: {NUMBER} {SECRET}"
    logger.handle(record)


def log_by_a_library() -> None:
    logging.getLogger("asyncio").error("Task exception was never retrieved: %s", f"{NUMBER} {SECRET}")


@pytest.mark.parametrize("log", [value for name, value in sorted(globals().items()) if name.startswith("log_")])
def test_no_number_and_no_secret_passes(log: Callable[[], None], stream: io.StringIO) -> None:
    root = logging.getLogger()
    # pytest's own handlers fail on purpose when arguments do not fit their sentence.
    root.handlers[:] = [handler for handler in root.handlers if handler.name == "xinshi"]
    hide(SECRET)
    log()
    output = stream.getvalue()
    assert output
    assert NUMBER not in output
    assert NUMBER[3:7] not in output.replace(COVERED, "")
    for form in (SECRET, json.dumps(SECRET)[1:-1], repr(SECRET)[1:-1], "wörd"):
        assert form not in output


def test_a_write_that_fails_does_not_print_the_number_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    closed = io.StringIO()
    configure_logging(2, stream=closed)
    closed.close()
    hide(SECRET)
    logger.info("for %s", NUMBER, extra={"password": SECRET})
    printed = capsys.readouterr().err
    assert "Logging error" in printed
    assert NUMBER not in printed
    assert SECRET not in printed


def test_another_handler_keeps_the_original_record(stream: io.StringIO, caplog: pytest.LogCaptureFixture) -> None:
    logger.warning("for %s", NUMBER)
    assert caplog.records[0].args == (NUMBER,)


# ── what is covered, and what is not ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("before", ["", "+86", "86", "0086", "+86 ", "0", "mobile=", "%2C", ","])
@pytest.mark.parametrize("after", ["", ",", "%2C", "x", ".0", "\n"])
def test_a_mobile_is_covered_wherever_it_stands(before: str, after: str) -> None:
    assert mask(f"{before}{NUMBER}{after}") == f"{before}{COVERED}{after}"


def test_a_mobile_is_covered_however_it_is_spaced() -> None:
    spaced = f"{NUMBER[:3]} {NUMBER[3:7]} {NUMBER[7:]}"
    assert mask(spaced) == mask(spaced.replace(" ", "-")) == COVERED
    wide = NUMBER.translate({ord(digit): ord(digit) - ord("0") + ord("０") for digit in "0123456789"})
    assert wide[3:7] not in mask(wide)


def test_every_number_of_a_list_is_covered() -> None:
    numbers = mobiles(1000)
    covered = mask(",".join(numbers)).split(",")
    assert covered == [f"{number[:3]}****{number[-4:]}" for number in numbers]


@pytest.mark.parametrize("text", ["1911044500010583", "7863", "20261122", "2026-11-22 15:04:05", "12345678901"])
def test_what_is_no_mobile_stays(text: str) -> None:
    assert mask(text) == text


@pytest.mark.parametrize(
    "form", ["p%22%C3%A4%20ss%2Fw%C3%B6rd%2B1", "p%22%C3%A4+ss%2Fw%C3%B6rd%2B1", 'p\\"ä ss/wörd+1']
)
def test_a_secret_is_hidden_in_the_forms_it_travels_in(form: str) -> None:
    hide(SECRET)
    lower = re.sub("%..", lambda escape: escape[0].lower(), form)
    assert mask(f"<{form}>") == mask(f"<{lower}>") == "<***>"


def test_a_secret_that_looks_like_a_mobile_is_hidden_whole() -> None:
    hide(NUMBER)
    assert mask(f"a {NUMBER} b") == "a *** b"


def test_a_secret_within_another_does_not_uncover_the_rest() -> None:
    hide("abc")
    hide("abcdef")
    assert mask("abcdef") == "***"


def test_an_empty_secret_hides_nothing() -> None:
    hide("")
    assert mask("abc") == "abc"


# ── the lines ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_json_line_has_time_level_logger_message_and_fields(lines: Callable[[], list[dict[str, Any]]]) -> None:
    logger.info("Batch accepted.", extra={"campaign": "spring", "batch": 3, "done": True, "points": Decimal("1.5")})
    (line,) = lines()
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info",
        "logger": "xinshi",
        "message": "Batch accepted.",
        "campaign": "spring",
        "batch": 3,
        "done": True,
        "points": "1.5",
    }


def test_a_field_cannot_take_the_place_of_time_or_level(lines: Callable[[], list[dict[str, Any]]]) -> None:
    logger.info("Batch accepted.", extra={"level": 9})
    assert (lines()[0]["level"], lines()[0]["level_"]) == ("info", 9)


def test_a_traceback_is_one_field_of_one_line(lines: Callable[[], list[dict[str, Any]]]) -> None:
    log_in_a_traceback()
    (line,) = lines()
    assert "KeyError" in line["exception"]


def test_a_line_for_people_cannot_be_forged() -> None:
    stream = io.StringIO()
    configure_logging(1, stream=stream)
    logger.info("The gateway said %s", "no\n2026-01-01 00:00:00 info all sent\x1b[2J", extra={"batch": 3})
    (line,) = stream.getvalue().splitlines()
    assert line.endswith("info    The gateway said no\\x0a2026-01-01 00:00:00 info all sent\\x1b[2J batch=3")


@pytest.mark.parametrize(
    ("verbosity", "shown"),
    [(-2, "E"), (-1, "E"), (0, "WE"), (1, "IWE"), (2, "DIWE"), (3, "DIWEdi"), (9, "DIWEdi")],
)
def test_verbosity_decides_what_is_shown(verbosity: int, shown: str) -> None:
    stream = io.StringIO()
    configure_logging(verbosity, stream=stream)
    for level, letter in zip((10, 20, 30, 40), "DIWE", strict=True):
        logger.log(level, letter)
    library = logging.getLogger("some.library")
    library.debug("d")
    library.info("i")
    assert "".join(line.split()[-1] for line in stream.getvalue().splitlines()) == shown


def test_configured_again_it_writes_to_the_new_stream_only() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure_logging(stream=first)
    configure_logging(stream=second)
    logger.warning("once")
    assert first.getvalue() == ""
    assert len(second.getvalue().splitlines()) == 1
