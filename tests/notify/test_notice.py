"""What people are told, and what never: no number, no text, no secret."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import pytest

from engine.events import BatchAccepted, BatchRefused, Doubtful, Event, LowBalance, Planned, Reported, Resumed, Started
from engine.model import PauseReason
from engine.notify import Kind, notice_of, trial
from engine.notify.formats import WECOM_BYTES, dingtalk, plain, robot_problem, signed, wecom
from engine.reasons import BECAUSE
from tests.notify.samples import NOW, ended, paused
from tests.numbers import mobile

COMMON = {"campaign": "spring", "at": NOW}


@pytest.mark.parametrize(
    ("event", "kind", "words"),
    [
        (paused(PauseReason.BALANCE), Kind.PAUSE, "paused: the points do not reach"),
        (paused(PauseReason.BALANCE, waits=True), Kind.PAUSE, "it waits, and goes on by itself"),
        (paused(PauseReason.STOPPED), Kind.PAUSE, "stopped"),
        (paused(PauseReason.IN_DOUBT), Kind.DOUBTS, "some answers were lost"),
        (paused(PauseReason.DOUBTS), Kind.DOUBTS, "several answers in a row were lost"),
        (ended(), Kind.END, "finished"),
        (Resumed(reasons=(PauseReason.BALANCE,), **COMMON), Kind.PAUSE, "goes on by itself"),  # type: ignore[arg-type]
        (LowBalance(balance=Decimal(99), below=Decimal(100), **COMMON), Kind.LOW_BALANCE, "99 points are left"),  # type: ignore[arg-type]
        (Doubtful(recipients=100, **COMMON), Kind.DOUBTS, "100 recipients are in doubt"),  # type: ignore[arg-type]
    ],
)
def test_people_are_told_what_stops_or_ends_a_campaign(event: Event, kind: Kind, words: str) -> None:
    notice = notice_of(event, account="north")
    assert notice is not None
    assert (notice.kind, notice.account, notice.campaign) == (kind, "north", "spring")
    assert words in notice.title
    assert "north" in notice.text


@pytest.mark.parametrize(
    "event",
    [
        Planned(rows=1, left_out=0, recipients=1, batches=1, points=Decimal(1), plan_hash="x", **COMMON),  # type: ignore[arg-type]
        Started(recipients=1, balance=None, **COMMON),  # type: ignore[arg-type]
        BatchAccepted(recipients=1, points=Decimal(1), **COMMON),  # type: ignore[arg-type]
        BatchRefused(recipients=1, reason="x", **COMMON),  # type: ignore[arg-type]
        Reported(reports=1, replies=0, **COMMON),  # type: ignore[arg-type]
    ],
)
def test_nobody_is_told_what_goes_on_all_the_time(event: Event) -> None:
    assert notice_of(event, account="north") is None


def test_every_reason_has_words() -> None:
    assert BECAUSE.keys() == set(PauseReason)


def test_programs_read_states_counts_and_points() -> None:
    notice = notice_of(paused(PauseReason.BALANCE, waits=True), account="north")
    assert notice is not None
    told = plain(notice)
    text = told.pop("text")
    assert told == {
        "schema": 1,
        "event": "pause",
        "at": "2026-11-20T03:00:00+00:00",
        "account": "north",
        "campaign": "spring",
        "state": "paused",
        "reasons": ["balance"],
        "waits": True,
        "recipients": paused().recipients,
        "points": {"charged": 986, "remaining": 4014.5},
    }
    assert text.splitlines() == [
        "Xinshi · spring: paused: the points do not reach; it waits, and goes on by itself",
        "account: north",
        "recipients: 1,000: 986 accepted, 14 not sent yet",
        "points: 986 charged, 4,014.5 left",
    ]


def test_a_campaign_named_like_a_number_is_told_without_it() -> None:
    number = mobile()
    notice = notice_of(paused(PauseReason.BALANCE, campaign=number), account="north")
    assert notice is not None
    for told in (plain(notice), wecom(notice), dingtalk(notice)):
        assert number not in json.dumps(told)


def test_a_robot_of_wecom_gets_text_that_fits() -> None:
    notice = notice_of(paused(PauseReason.BALANCE, campaign="春" * 3000), account="north")
    assert notice is not None
    told = wecom(notice)
    assert told["msgtype"] == "text"
    assert len(told["text"]["content"].encode()) <= WECOM_BYTES
    assert told["text"]["content"].startswith("Xinshi · 春春")


def test_a_robot_of_dingtalk_gets_a_title_and_markdown() -> None:
    told = dingtalk(trial(account="north", at=NOW))
    assert told == {
        "msgtype": "markdown",
        "markdown": {
            "title": "Xinshi · this is how you will be told",
            "text": "**Xinshi · this is how you will be told**",
        },
    }


def test_a_signature_is_made_as_dingtalk_says() -> None:
    url = signed("https://robot.example/send?access_token=abc", "SEC+/=", at_ms=1_700_000_000_123)
    query = parse_qs(urlsplit(url).query)
    expected = hmac.new(b"SEC+/=", b"1700000000123\nSEC+/=", hashlib.sha256).digest()
    assert query["access_token"] == ["abc"]
    assert query["timestamp"] == ["1700000000123"]
    assert base64.b64decode(query["sign"][0]) == expected
    assert "+" not in urlsplit(url).query  # a plus would arrive as a space


@pytest.mark.parametrize(
    ("body", "problem", "may_help"),
    [
        (b'{"errcode":0,"errmsg":"ok"}', "", False),
        (b'{"errcode":93000,"errmsg":"invalid webhook url"}', "errcode 93000: invalid webhook url", False),
        (b'{"errcode":"310000","errmsg":"sign not match"}', "errcode 310000: sign not match", False),
        (b'{"errcode":45009,"errmsg":"api freq out of limit"}', "errcode 45009: api freq out of limit", True),
        (b"<html>", "its answer is not that of a group robot: is the address right?", False),
        (b"[]", "its answer is not that of a group robot: is the address right?", False),
    ],
)
def test_what_a_robot_answers_is_understood(body: bytes, problem: str, may_help: bool) -> None:
    assert robot_problem(body) == (problem, may_help)
