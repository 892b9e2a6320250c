"""A case for every row of the outcome table. Source: gateway/protocol.md §18."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.gateway.failures import KNOWN, Failure, failure_of
from engine.gateway.outcomes import Exchange, TransportFailure, outcome_of
from engine.gateway.profile import FailureTexts, Profile, load_profile
from engine.model import Outcome, OutcomeKind, PauseReason, RefusalKind
from tests.gateway.samples import NOW, every_cut, faild, send_answer

OWN = replace(
    load_profile("standard"),
    failure_texts=FailureTexts(
        account=("账号已停用",),
        balance=("点数不够",),
        content=("签名未报备",),
        request=("号码过多",),
        too_frequent=("提交过快",),
        in_doubt=("系统繁忙",),
    ),
)
HTML = "<html><body>Runtime Error</body></html>"


def exchange(
    body: str | bytes, status: int = 200, *, complete: bool = True, retry_after: str | None = None
) -> Exchange:
    data = body.encode() if isinstance(body, str) else body
    return Exchange(status=status, body=data, complete=complete, at=NOW, retry_after=retry_after)


def outcome(
    what: Exchange | TransportFailure, *, answered_before: bool = False, size: int = 100, profile: Profile = OWN
) -> Outcome:
    return outcome_of(what, profile, answered_before=answered_before, batch_size=size)


ACCEPTED, REFUSED, NOT_SENT, NOT_TAKEN, IN_DOUBT = (
    OutcomeKind.ACCEPTED,
    OutcomeKind.REFUSED,
    OutcomeKind.NOT_SENT,
    OutcomeKind.NOT_TAKEN,
    OutcomeKind.IN_DOUBT,
)
CONFIGURATION, THROTTLED = PauseReason.CONFIGURATION, PauseReason.THROTTLED


# --- transport ------------------------------------------------------------------------------------------------------------


def test_no_byte_written_is_not_sent() -> None:
    found = outcome(TransportFailure(sent="no", problem="refused"))
    assert (found.kind, found.reason, found.surely_not_taken) == (NOT_SENT, "refused", True)


def test_a_byte_perhaps_written_is_in_doubt() -> None:
    found = outcome(TransportFailure(sent="maybe", problem="reset"))
    assert (found.kind, found.reason, found.surely_not_taken) == (IN_DOUBT, "reset", False)


# --- what the application says --------------------------------------------------------------------------------------------


def test_success_with_a_task_id_is_accepted() -> None:
    assert outcome(exchange(send_answer(counts="100"))) == Outcome(
        kind=ACCEPTED,
        task_id="93390617",
        success_counts=100,
        remaining=Decimal(7863),
        http_status=200,
        raw=send_answer(counts="100"),
        may_land_late=False,
    )


@pytest.mark.parametrize(
    ("counts", "kept", "words"),
    [
        ("97", 97, "took 97 of 100"),
        ("0", 0, "took 0 of 100"),
        ("200", 200, "counts 200 for 100"),
        ("", None, "does not say"),
        ("x", None, "「x」"),
    ],
)
def test_a_count_that_is_not_the_batch_is_kept_and_noted(counts: str, kept: int | None, words: str) -> None:
    found = outcome(exchange(send_answer(counts=counts)))
    assert (found.kind, found.success_counts) == (ACCEPTED, kept)
    assert words in found.reason


@pytest.mark.parametrize(
    ("message", "refusal"),
    [
        ("用户名或密码不能为空", RefusalKind.ACCOUNT),
        ("用户名或密码错误", RefusalKind.ACCOUNT),
        ("用户名错误", RefusalKind.ACCOUNT),
        ("您的账号已停用！", RefusalKind.ACCOUNT),
        ("对不起，您当前要发送的量大于您当前余额", RefusalKind.BALANCE),
        ("对不起,您当前要发送的量大于您当前余额", RefusalKind.BALANCE),
        ("余额不足", RefusalKind.BALANCE),
        ("点数不够", RefusalKind.BALANCE),
        ("包含非法字符：赌博", RefusalKind.CONTENT),
        ("包含非法字符:赌博", RefusalKind.CONTENT),
        ("发送内容包含sql注入字符", RefusalKind.CONTENT),
        ("发送内容包含ＳＱＬ注入字符", RefusalKind.CONTENT),
        ("短信必须带【】格式签名", RefusalKind.CONTENT),
        ("该签名未报备", RefusalKind.CONTENT),
        ("短信号码不能为空", RefusalKind.REQUEST),
        ("短信内容不能为空", RefusalKind.REQUEST),
        ("扩展子号只能是数字", RefusalKind.REQUEST),
        ("参数错误", RefusalKind.REQUEST),
        ("参数不正确", RefusalKind.REQUEST),
        ("content解析错误", RefusalKind.REQUEST),
        ("号码过多", RefusalKind.REQUEST),
        ("操作失败", RefusalKind.UNKNOWN),
        ("", RefusalKind.UNKNOWN),
    ],
)
def test_a_failure_is_refused_with_its_words(message: str, refusal: RefusalKind) -> None:
    found = outcome(exchange(faild(message)))
    assert (found.kind, found.refusal, found.pause) == (REFUSED, refusal, None)
    assert (f"「{message}」" if message else "no text") in found.reason
    assert not found.surely_not_taken
    assert found.remaining is None


def test_known_words_are_explained() -> None:
    assert (
        outcome(exchange(faild("余额不足"))).reason == "the gateway refused: 「余额不足」 (the balance does not reach)"
    )


def test_a_failure_in_either_json_is_refused() -> None:
    for names in (
        "ReturnStatus Message RemainPoint TaskID SuccessCounts",
        "returnstatus message remainpoint taskID successCounts",
    ):
        for zero in (0, "0"):
            values = dict(zip(names.split(), ["Faild", "余额不足", zero, zero, zero], strict=True))
            assert outcome(exchange(json.dumps(values))).refusal is RefusalKind.BALANCE


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(faild("其他错误"), id="an error in the vendor's database"),
        pytest.param(faild("其它：其他错误(数据库)"), id="the same with more words"),
        pytest.param(faild("其他错误，余额不足"), id="doubt goes before every other meaning"),
        pytest.param(faild("系统繁忙"), id="the vendor's own doubtful text"),
        pytest.param(faild("余额不足", task="885"), id="failure with a task id"),
        pytest.param(faild("余额不足", counts="3"), id="failure with a count"),
        pytest.param(faild("提交过快", task="885"), id="too frequent with a task id"),
        pytest.param(faild("提交过快", counts="1"), id="too frequent with a count"),
        pytest.param(faild("余额不足", counts="x"), id="failure with no number for a count"),
        pytest.param(send_answer(task="0"), id="success without a task id"),
        pytest.param(send_answer(task=""), id="success with an empty task id"),
        pytest.param(send_answer(task="?"), id="success with no id for a task id"),
        pytest.param(send_answer("OK"), id="unknown status word"),
        pytest.param(HTML, id="HTML"),
        pytest.param("", id="empty"),
        pytest.param("  \r\n", id="blank"),
        pytest.param(send_answer()[:-1], id="truncated"),
        pytest.param("Success", id="unparsable"),
        pytest.param(b"\x00\xff" * 9, id="binary"),
    ],
)
def test_what_proves_nothing_is_in_doubt(body: str | bytes) -> None:
    found = outcome(exchange(body))
    assert (found.kind, found.refusal, found.pause, found.http_status) == (IN_DOUBT, None, None, 200)
    assert found.reason


def test_an_answer_cut_by_http_is_in_doubt_even_if_it_looks_whole() -> None:
    found = outcome(exchange(send_answer(), complete=False))
    assert (found.kind, found.raw) == (IN_DOUBT, send_answer())


@pytest.mark.parametrize("body", [send_answer().encode(), faild("余额不足").encode(), faild("余额不足").encode("gbk")])
def test_every_cut_answer_is_in_doubt(body: bytes) -> None:
    assert {outcome(exchange(cut)).kind for cut in every_cut(body)} == {IN_DOUBT}


def test_too_frequent_is_only_what_the_profile_says() -> None:
    found = outcome(exchange(faild("您提交过快，请稍后")))
    assert (found.kind, found.pause, found.retry_after_s, found.surely_not_taken) == (NOT_TAKEN, THROTTLED, None, True)
    silent = replace(load_profile("standard"), failure_texts=FailureTexts(too_frequent=()))
    assert outcome(exchange(faild("提交过快")), profile=silent).refusal is RefusalKind.UNKNOWN


@pytest.mark.parametrize("words", ["提交过于频繁，请稍后再试", "您提交过快", "超过频率限制", "发送频率过高"])
def test_the_usual_words_for_too_often_are_known_and_only_without_a_task(words: str) -> None:
    found = outcome(exchange(faild(words)), profile=load_profile("standard"))
    assert (found.kind, found.pause) == (NOT_TAKEN, THROTTLED)
    contradicting = outcome(exchange(faild(words, task="885")), profile=load_profile("standard"))
    assert contradicting.kind is IN_DOUBT


def test_a_profile_cannot_make_a_doubtful_text_harmless() -> None:
    careless = FailureTexts(too_frequent=("其他错误", "余额"), balance=("其他",))
    assert failure_of("其他错误", careless) is Failure.IN_DOUBT
    assert failure_of("余额不足", careless) is Failure.TOO_FREQUENT


def test_every_known_text_means_what_its_table_says() -> None:
    for failure, text, _ in KNOWN:
        assert failure_of(f"　{text}。", FailureTexts()) is failure


# --- what the status line says ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answered_before", [False, True])
@pytest.mark.parametrize("status", [401, 405, 413, 414])
def test_wrong_requests_are_not_taken_and_a_matter_of_configuration(status: int, answered_before: bool) -> None:
    for complete in (True, False):
        found = outcome(exchange(HTML, status, complete=complete), answered_before=answered_before)
        assert (found.kind, found.pause, found.http_status) == (NOT_TAKEN, CONFIGURATION, status)
        assert str(status) in found.reason


@pytest.mark.parametrize("status", [403, 404])
def test_a_missing_path_is_configuration_until_the_application_has_answered(status: int) -> None:
    before = outcome(exchange(HTML, status))
    assert (before.kind, before.pause) == (NOT_TAKEN, CONFIGURATION)
    assert outcome(exchange(HTML, status), answered_before=True).kind is IN_DOUBT


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("999999999", 86_400.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0),
        ("Tue, 03 Nov 2026 04:05:36 -0000", 30.0),
        ("soon", None),
        ("-5", None),
        ("1e9", None),
        ("٧", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_come_back_later(status: int, retry_after: str | None, seconds: float | None) -> None:
    found = outcome(exchange(HTML, status, retry_after=retry_after), answered_before=True)
    if status == 503 and retry_after is None:
        assert found.kind is IN_DOUBT
        return
    assert (found.kind, found.pause, found.retry_after_s) == (NOT_TAKEN, THROTTLED, seconds)


def test_a_cut_503_may_hide_an_answer() -> None:
    assert outcome(exchange("", 503, retry_after="5", complete=False)).kind is IN_DOUBT


@pytest.mark.parametrize("status", [401, 403, 404, 405, 413, 414, 429, 503, 500, 400, 302])
@pytest.mark.parametrize("body", [send_answer(), faild("余额不足"), '{"ReturnStatus":"Faild","Message":"x"}'])
def test_an_answer_under_a_wrong_status_is_in_doubt_and_kept(status: int, body: str) -> None:
    """The application was reached and something went wrong around it: its words help to settle, and prove nothing."""
    found = outcome(exchange(body, status, retry_after="5"))
    assert (found.kind, found.refusal, found.pause, found.raw) == (IN_DOUBT, None, None, body)
    assert found.task_id == ("93390617" if body == send_answer() else None)


@pytest.mark.parametrize(
    "status",
    [
        201,
        202,
        204,
        206,
        300,
        301,
        302,
        303,
        304,
        307,
        308,
        400,
        402,
        406,
        408,
        409,
        411,
        418,
        499,
        500,
        501,
        502,
        503,
        504,
        599,
    ],
)
@pytest.mark.parametrize("body", ["", HTML, send_answer()])
def test_every_other_status_is_in_doubt(status: int, body: str) -> None:
    found = outcome(exchange(body, status))
    assert (found.kind, found.http_status) == (IN_DOUBT, status)
    assert str(status) in found.reason


def test_the_raw_text_is_bounded() -> None:
    assert len(outcome(exchange("<html>" + "x" * 100_000, 500)).raw) == 4000


@given(status=st.integers(100, 599), body=st.binary(), complete=st.booleans(), answered=st.booleans(), after=st.text())
def test_only_an_answer_that_was_read_is_accepted_or_refused(
    status: int, body: bytes, complete: bool, answered: bool, after: str
) -> None:
    found = outcome(exchange(body, status, complete=complete, retry_after=after), answered_before=answered)
    assert found.kind in (IN_DOUBT, NOT_TAKEN)
    found.raw.encode()
