"""Bytes in, balance and keyword verdicts out. Source: gateway/protocol.md §6, §7."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BadAnswer, Refused
from engine.gateway.profile import FailureTexts, OverageMeaning, Profile, load_profile
from engine.gateway.wire import CallRefused, KeywordVerdict, read_balance, read_keywords
from engine.model import RefusalKind
from tests.gateway.samples import NOW, balance_answer, faild

STANDARD = load_profile("standard")


def keywords(message: str) -> bytes:
    return f"<returnsms><message>{message}</message></returnsms>".encode()


@pytest.mark.parametrize("status", ["Sucess", "Success", "SUCCESS"])
@pytest.mark.parametrize(
    ("overage", "points"), [("49995", "49995"), ("-4", "-4"), (" 1000.50 ", "1000.50"), ("0", "0")]
)
def test_the_balance(status: str, overage: str, points: str) -> None:
    balance = read_balance(balance_answer(overage, status=status).encode(), None, STANDARD, at=NOW)
    assert (balance.remaining, balance.send_total, balance.payinfo) == (Decimal(points), Decimal(50000), "预付费")
    assert (balance.prepaid, balance.at) == (True, NOW)
    assert "overage" in balance.raw


def test_the_balance_in_gbk_and_json() -> None:
    gbk = balance_answer().replace("utf-8", "gb2312").encode("gbk")
    assert read_balance(gbk, None, STANDARD, at=NOW).payinfo == "预付费"
    text = '{"ReturnStatus":"Sucess","Message":"","PayInfo":"后付费","Overage":-4.5,"SendTotal":"70"}'
    balance = read_balance(text.encode(), None, STANDARD, at=NOW)
    assert (balance.remaining, balance.send_total, balance.prepaid) == (Decimal("-4.5"), Decimal(70), False)


@pytest.mark.parametrize(
    ("payinfo", "prepaid"), [("预付费", True), ("预付", True), ("后付费", False), ("", None), ("其它", None)]
)
def test_how_the_account_is_paid(payinfo: str, prepaid: bool | None) -> None:
    body = balance_answer().replace("预付费", payinfo).encode()
    assert read_balance(body, None, STANDARD, at=NOW).prepaid is prepaid


def test_overage_may_count_what_was_sent() -> None:
    sent = Profile(name="own", overage_means=OverageMeaning.SENT)
    assert read_balance(balance_answer("20").encode(), None, sent, at=NOW).remaining == Decimal(49980)
    assert read_balance(balance_answer("20", total="").encode(), None, sent, at=NOW).remaining is None


@pytest.mark.parametrize("overage", ["", "many", "1,000"])
def test_a_balance_without_its_number_is_a_bad_answer(overage: str) -> None:
    with pytest.raises(BadAnswer):
        read_balance(balance_answer(overage).encode(), None, STANDARD, at=NOW)


@pytest.mark.parametrize(
    ("message", "kind"),
    [("用户名或密码错误", RefusalKind.ACCOUNT), ("其他错误", RefusalKind.UNKNOWN), ("谁知道", RefusalKind.UNKNOWN)],
)
def test_a_refused_balance_may_come_in_the_form_of_a_send(message: str, kind: RefusalKind) -> None:
    with pytest.raises(CallRefused, match=message) as error:
        read_balance(faild(message).encode(), None, STANDARD, at=NOW)
    assert error.value.kind is kind
    assert isinstance(error.value, Refused)


@pytest.mark.parametrize(
    ("message", "verdict"),
    [
        ("未包含非法字符", KeywordVerdict.CLEAN),
        (" 未包含非法字符。", KeywordVerdict.CLEAN),
        ("包含非法字符", KeywordVerdict.FORBIDDEN),
        ("包含非法字符：赌博", KeywordVerdict.FORBIDDEN),
        ("发送内容包含非法字符:赌博", KeywordVerdict.FORBIDDEN),
        ("不包含非法字符", KeywordVerdict.UNKNOWN),
        ("没有包含非法字符", KeywordVerdict.UNKNOWN),
        ("暂未提供", KeywordVerdict.UNKNOWN),
        ("", KeywordVerdict.UNKNOWN),
    ],
)
def test_the_words_for_found_are_part_of_the_words_for_not_found(message: str, verdict: KeywordVerdict) -> None:
    assert read_keywords(keywords(message), None, STANDARD).verdict is verdict


@pytest.mark.parametrize("message", ["用户名或密码错误", "用户名或密码不能为空", "您的账号已停用"])
def test_a_keyword_check_may_be_refused(message: str) -> None:
    own = Profile(name="own", failure_texts=FailureTexts(account=("已停用",)))
    with pytest.raises(CallRefused) as error:
        read_keywords(keywords(message), None, own)
    assert error.value.kind is RefusalKind.ACCOUNT


@given(st.binary())
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    for read in (lambda: read_balance(body, None, STANDARD, at=NOW), lambda: read_keywords(body, None, STANDARD)):
        with suppress(BadAnswer, Refused):
            read()
