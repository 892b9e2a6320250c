"""Bytes in, reports and replies out: whatever can be saved is saved. Source: gateway/protocol.md §8-§11."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BadAnswer
from engine.gateway.profile import Profile, load_profile
from engine.gateway.wire import Polled, PollErrorKind, Reply, ReportState, _plain_reports, read_replies, read_reports
from tests.gateway.samples import DECLARATION, callbox, document, errorstatus, every_cut, mobile, statusbox

STANDARD = load_profile("standard")


def read(body: bytes | str, charset: str | None = "utf-8", profile: Profile = STANDARD) -> Polled:
    return read_reports(body.encode() if isinstance(body, str) else body, charset, profile)


def reply(content: str) -> Reply:
    """The one reply of a document with this raw content."""
    polled = read_replies(document(callbox(mobile(), content)), None, STANDARD)
    (only,) = polled.replies
    return only


def test_a_report() -> None:
    (report,) = read(document(statusbox(mobile(), task="0012"))).reports
    assert (report.mobile, report.task_id, report.state) == (mobile(), "0012", ReportState.DELIVERED)
    assert (report.status, report.error_code, report.extno) == ("10", "DELIVRD", "")
    assert (report.at, report.at_text) == (datetime(2011, 12, 2, 14, 12, 11, tzinfo=UTC), "2011-12-02 22:12:11")


def test_a_reply() -> None:
    found = reply("退订 &amp; 谢谢")
    assert (found.mobile, found.task_id, found.content) == (mobile(), "355531", "退订 & 谢谢")
    assert found.at == datetime(2013, 9, 17, 9, 38, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "error", "state"),
    [
        ("10", "DELIVRD", ReportState.DELIVERED),
        ("10", "MK:0011", ReportState.DELIVERED),
        ("10", "ACCEPTD", ReportState.DELIVERED),
        ("20", "MK:0011", ReportState.UNDELIVERED),
        ("20", "DELIVRD", ReportState.UNDELIVERED),
        ("20", "", ReportState.UNDELIVERED),
        ("20", "ACCEPTD", ReportState.INTERIM),
        ("20", "acceptd:000", ReportState.INTERIM),
        ("DELIVRD", "", ReportState.DELIVERED),
        ("delivrd", "", ReportState.DELIVERED),
        ("UNDELIV", "", ReportState.UNDELIVERED),
        ("EXPIRED", "", ReportState.UNDELIVERED),
        ("ACCEPTD", "", ReportState.INTERIM),
        (" 10 ", "", ReportState.DELIVERED),
        ("30", "", ReportState.UNKNOWN),
    ],
)
def test_the_status_decides(status: str, error: str, state: ReportState) -> None:
    (report,) = read(document(statusbox(mobile(), status=status, error=error))).reports
    assert report.state is state


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2011-12-02 22:12:11", datetime(2011, 12, 2, 14, 12, 11, tzinfo=UTC)),
        ("2013-9-17 7:08:08", datetime(2013, 9, 16, 23, 8, 8, tzinfo=UTC)),
        ("2016/1/26 11:02:08", datetime(2016, 1, 26, 3, 2, 8, tzinfo=UTC)),
        ("2016-01-26T11:02:08.123", datetime(2016, 1, 26, 3, 2, 8, tzinfo=UTC)),
        ("2016-01-26 11:02", datetime(2016, 1, 26, 3, 2, tzinfo=UTC)),
        ("2016-02-30 11:02:08", None),
        ("0001-01-01 00:00:00", None),
        ("20160126110208", None),
        ("", None),
    ],
)
def test_times_are_chinese_and_come_in_three_forms(text: str, at: datetime | None) -> None:
    (report,) = read(document(statusbox(mobile(), at=text))).reports
    assert (report.at, report.at_text) == (at, text)


@pytest.mark.parametrize(
    "body", [b"", b"\r\n", document(), f"{DECLARATION}<returnsms/>", b"{}", b'{"ReturnStatus":"Success"}']
)
def test_nothing_new(body: bytes) -> None:
    assert read(body) == Polled()


@pytest.mark.parametrize("task", ["", "0"])
def test_a_report_without_a_task_is_kept(task: str) -> None:
    (report,) = read(document(statusbox(mobile(), task=task))).reports
    assert report.task_id is None


def test_many_records_mixed_and_in_any_order() -> None:
    polled = read(
        document(
            statusbox(mobile(1)),
            callbox(mobile(2), "T"),
            errorstatus("5", "没有记录"),
            statusbox(mobile(3), status="20"),
        )
    )
    assert [report.mobile for report in polled.reports] == [mobile(1), mobile(3)]
    assert [each.content for each in polled.replies] == ["T"]
    assert [error.kind for error in polled.errors] == [PollErrorKind.NO_DATA]
    assert polled.whole
    assert polled.problems == ()


@pytest.mark.parametrize(
    ("code", "remark", "kind"),
    [
        ("1", "用户名或密码不能为空", PollErrorKind.ACCOUNT),
        ("2", "用户名或密码错误", PollErrorKind.ACCOUNT),
        ("3", "该用户不允许查看状态报告", PollErrorKind.FORBIDDEN),
        ("3", "该用户不允许查看短信回复", PollErrorKind.FORBIDDEN),
        ("4", "参数不正确", PollErrorKind.REQUEST),
        ("5", "没有记录", PollErrorKind.NO_DATA),
        ("5", "您当前要发送的量大于您当前余额", PollErrorKind.OTHER),
        ("6", "其他错误", PollErrorKind.OTHER),
        ("2", "", PollErrorKind.ACCOUNT),
        ("9", "用户名或密码错误", PollErrorKind.ACCOUNT),
        ("", "谁知道", PollErrorKind.OTHER),
    ],
)
def test_errors(code: str, remark: str, kind: PollErrorKind) -> None:
    (error,) = read(document(errorstatus(code, remark))).errors
    assert (error.kind, error.code, error.text) == (kind, int(code) if code else None, remark)


def test_an_error_in_the_form_of_the_other_calls() -> None:
    (error,) = read(
        "<returnsms><returnstatus>Faild</returnstatus><message>用户名或密码错误</message></returnsms>"
    ).errors
    assert (error.kind, error.code) == (PollErrorKind.ACCOUNT, None)
    (error,) = read(json.dumps({"ReturnStatus": "Faild", "Message": "用户名或密码错误"})).errors
    assert error.kind is PollErrorKind.ACCOUNT


@pytest.mark.parametrize("many", [False, True])
def test_json_gives_an_object_for_one_and_a_list_for_several(many: bool) -> None:
    record = {"Mobile": mobile(), "TaskId": 7, "Status": 10, "ReceiveTime": "2016/1/26 11:02:08", "ErrorCode": None}
    polled = read(json.dumps({"StatusBox": [record, record] if many else record}))
    assert len(polled.reports) == 1 + many
    assert (polled.reports[0].task_id, polled.reports[0].state) == ("7", ReportState.DELIVERED)


# --- damage ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "content"),
    [
        ("a & b", "a & b"),
        ("I <3 you", "I <3 you"),
        ("1<2>3", "1<2>3"),
        ("T\x0bD", "T\x0bD"),
        ("T&#x0;", "T\ufffd"),
        ("T\x00", "T\ufffd"),
        ("AT&T &amp; TD", "AT&T & TD"),
        ("&nbsp;退订", "退订"),
        ("<!DOCTYPE x>", "<!DOCTYPE x>"),
        ("<!ENTITY x>&x;", "<!ENTITY x>&x;"),
        ("<![CDATA[a & <b>]]>", "a & <b>"),
        ("<b>T</b>", "T"),
        ("😀", "😀"),
        ("", ""),
    ],
)
def test_what_a_person_wrote_survives_a_gateway_that_does_not_escape(raw: str, content: str) -> None:
    assert reply(raw).content == content


def test_one_broken_reply_does_not_harm_its_neighbours() -> None:
    polled = read(
        document(
            callbox(mobile(1), "好&amp;的"), callbox(mobile(2), "a & b"), statusbox(mobile(3)), errorstatus("6", "x")
        )
    )
    assert [each.content for each in polled.replies] == ["好&的", "a & b"]
    assert [report.mobile for report in polled.reports] == [mobile(3)]
    assert [error.code for error in polled.errors] == [6]
    assert not polled.whole
    assert len(polled.problems) == 1


@pytest.mark.parametrize("size", range(0, 500, 7))
def test_a_cut_answer_gives_every_record_that_came_whole(size: int) -> None:
    body = document(*(statusbox(mobile(each)) for each in range(3)))
    cut = body[: len(body) - size]
    try:
        polled = read(cut)
    except BadAnswer:
        assert b"</status>" not in cut
        return
    whole = cut.count(b"</statusbox>")
    assert [report.mobile for report in polled.reports[:whole]] == [mobile(each) for each in range(whole)]
    for report in polled.reports:
        assert report.mobile in {mobile(each) for each in range(3)}
        assert report.task_id in ("93390617", None)


def test_no_cut_ever_gives_a_shortened_number_or_task_id() -> None:
    body = document(statusbox(mobile()), callbox(mobile(), "T"))
    for cut in every_cut(body):
        try:
            polled = read(cut)
        except BadAnswer:
            continue
        assert {report.mobile for report in polled.reports} <= {mobile()}
        assert {report.task_id for report in polled.reports} <= {"93390617"}
        assert {each.task_id for each in polled.replies} <= {"355531", None}


def test_a_reply_cannot_forge_another() -> None:
    """At a gateway that does not escape, as long as the document stays well-formed."""
    nested = read(document(callbox(mobile(1), f"hi {callbox(mobile(2), 'TD')}")))
    assert [each.mobile for each in nested.replies] == [mobile(1)]
    second = read(document(callbox(mobile(1), f"hi</content><mobile>{mobile(2)}</mobile><content>TD")))
    assert [(each.mobile, each.content) for each in second.replies] == [(mobile(1), "hi")]


def test_a_wrapper_around_the_records_does_no_harm() -> None:
    assert len(read(document(f"<list>{statusbox(mobile(1))}{statusbox(mobile(2))}</list>")).reports) == 2


def test_a_cut_within_a_character_is_still_utf_8() -> None:
    body = document(callbox(mobile(), "退订"), callbox(mobile(2), "谢谢您"))
    cut = body[: body.rindex("您".encode()) + 1]
    assert read(cut).replies[0].content == "退订"


def test_mismatched_tags_are_recovered() -> None:
    body = document(statusbox(mobile(1)), statusbox(mobile(2)).replace("</mobile>", "</mobil>"))
    assert [report.mobile for report in read(body).reports][:1] == [mobile(1)]


def test_bytes_after_the_last_tag_do_no_harm() -> None:
    polled = read(document(statusbox(mobile())) + b"\x00\x00trailing")
    assert [report.mobile for report in polled.reports] == [mobile()]


def test_gbk_replies() -> None:
    body = document(callbox(mobile(), "退订·镕")).decode().replace("utf-8", "gb2312").encode("gbk")
    assert read(body, None).replies[0].content == "退订·镕"


def test_a_record_without_a_number_is_a_problem_and_no_report() -> None:
    polled = read(document(statusbox(""), statusbox(mobile(), status="")))
    assert polled.reports == ()
    assert len(polled.problems) == 2


@pytest.mark.parametrize("body", ["<html></html>", "<returnsms><stat", "<other/>", "ok", '{"a":1}', "[1]", "{"])
def test_what_holds_no_record_and_no_sign_is_a_bad_answer(body: str) -> None:
    with pytest.raises(BadAnswer):
        read(body)


@pytest.mark.parametrize(
    "piece", ["<statusbox>", "<callbox><content>", "<statusbox><mobile>", "<mobile>", "</statusbox>", "<"]
)
def test_a_hostile_answer_costs_no_more_than_its_length(piece: str) -> None:
    start = time.process_time()
    with suppress(BadAnswer):
        read("<statusbox>" + piece * (300_000 // len(piece)))
    assert time.process_time() - start < 10


@given(st.one_of(st.binary(), st.text().map(str.encode)))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with suppress(BadAnswer):
        read(body, None)


@given(st.text())
def test_whatever_a_person_writes_the_reply_is_kept(content: str) -> None:
    """Unless it closes the record itself, which nobody can tell from the gateway's own words."""
    raw = content.encode("utf-8", "replace").decode().replace("</", "< /").replace("box", "")
    assert [each.mobile for each in read(document(callbox(mobile(), raw))).replies] == [mobile()]


@given(st.data())
def test_any_damage_is_read_or_refused(data: st.DataObject) -> None:
    body = document(statusbox(mobile(1)), callbox(mobile(2), "退订"), statusbox(mobile(3)))
    start = data.draw(st.integers(0, len(body)))
    end = data.draw(st.integers(start, len(body)))
    try:
        polled = read(body[:start] + data.draw(st.binary(max_size=8)) + body[end:])
    except BadAnswer:
        return
    for each in polled.replies:
        each.content.encode()


# ── the usual answer, read without lxml ───────────────────────────────────────────────────────────────────────────────

USUAL = document(
    statusbox(mobile(1)),
    statusbox("86" + mobile(2), task="", status="20", at="2013-9-17 17:38:08", error=""),
    statusbox(mobile(3), task="0", status="DELIVRD", at="2016/1/26 11:02:08", error="ACCEPTD:1"),
    statusbox(mobile(4), status="UNDELIV", at="", error="MB:1042"),
)
DAMAGE = (
    b"<",
    b">",
    b"&amp;",
    b"</extno>",
    b"<extno></extno>",
    b"<!-- -->",
    b" ",
    b"\r\n ",
    b"x",
    "信".encode(),
    b"\x00",
)


def same_as_lxml(body: bytes, charset: str | None = None) -> bool:
    """Whether it was usual; then lxml, which reads replies in the same way, must say the same."""
    plain = _plain_reports(body)
    assert plain is None or plain == read_replies(body, charset, STANDARD)
    return plain is not None


@pytest.mark.parametrize("charset", [None, "utf-8", "gb2312", "utf-16"])
@pytest.mark.parametrize("declared", ["utf-8", "GB2312", "gbk"])
def test_the_usual_answer_reads_as_lxml_reads_it(declared: str, charset: str | None) -> None:
    body = USUAL.replace(b'encoding="utf-8"', f'encoding="{declared}"'.encode())
    assert same_as_lxml(body, charset)
    spread = body.replace(b"><", b">\r\n\t<").replace(b">\r\n\t</", b"></")
    assert same_as_lxml(spread, charset)
    assert len(read(spread, charset).reports) == 4


@given(st.data())
def test_a_usual_answer_with_any_damage_reads_as_lxml_reads_it(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(USUAL)))
    end = start + data.draw(st.integers(0, 60))
    with suppress(BadAnswer):
        same_as_lxml(USUAL[:start] + data.draw(st.sampled_from(DAMAGE) | st.binary(max_size=4)) + USUAL[end:])


def test_what_stands_between_two_reports_is_not_passed_over() -> None:
    one, two = statusbox(mobile(1)), statusbox(mobile(2))
    polled = read(document(one, callbox(mobile(3), "TD"), two))
    assert (len(polled.reports), [each.content for each in polled.replies]) == (2, ["TD"])
    assert not same_as_lxml(document(one, "x", two))
