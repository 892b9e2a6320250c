"""Bytes in, SendAnswer out. Source: gateway/protocol.md §5, §13."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import BadAnswer
from engine.gateway.decoding import MAX_ANSWER_BYTES
from engine.gateway.profile import Profile, load_profile
from engine.gateway.wire import _PLAIN_SUCCESS, SendAnswer, _read_any_send, read_send
from tests.gateway.samples import DECLARATION, every_cut, faild, send_answer

STANDARD = load_profile("standard")
PLAIN = send_answer().encode()
GB = '<?xml version="1.0" encoding="gb2312"?>'
INDENTED = f"""{DECLARATION}
<returnsms>
    <returnstatus>Success</returnstatus>
    <message>ok</message>
    <remainpoint>7863</remainpoint>
    <taskID>93390617</taskID>
    <successCounts>1</successCounts>
</returnsms>
"""
STRINGS = {
    "returnstatus": "Success",
    "message": "操作成功",
    "remainpoint": "-4",
    "taskID": "1504080852350206",
    "successCounts": "1",
}
NUMBERS = {"ReturnStatus": "Success", "Message": "ok", "RemainPoint": 420842, "TaskID": 18424321, "SuccessCounts": 1}


def read(body: bytes | str, charset: str | None = "utf-8", profile: Profile = STANDARD) -> SendAnswer:
    return read_send(body.encode() if isinstance(body, str) else body, charset, profile)


def as_json(values: object) -> str:
    return json.dumps(values, ensure_ascii=False)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(PLAIN, id="the layout of the samples"),
        pytest.param(INDENTED, id="indented"),
        pytest.param(PLAIN.replace(b"\r\n", b"\n"), id="line feeds"),
        pytest.param(PLAIN.replace(b"\r\n ", b""), id="one line"),
        pytest.param(b"\r\n" + PLAIN, id="leading CRLF"),
        pytest.param(b"\xef\xbb\xbf" + PLAIN, id="BOM"),
        pytest.param(b"\r\n\xef\xbb\xbf" + PLAIN + b"\r\n", id="BOM after CRLF"),
        pytest.param(send_answer().encode("utf-16"), id="UTF-16 with BOM"),
        pytest.param(
            send_answer(declaration='<?xml version="1.0" encoding="utf-16"?>'), id="utf-16 declared over UTF-8"
        ),
        pytest.param(send_answer(declaration=""), id="no declaration"),
        pytest.param(send_answer(declaration="<?xml version='1.0' encoding='utf-8' ?>"), id="single quotes"),
        pytest.param(send_answer(declaration=GB), id="gb2312 declared"),
        pytest.param(
            send_answer().replace("taskID", "taskid").replace("returnstatus", "ReturnStatus"), id="other case"
        ),
        pytest.param(send_answer().replace("returnsms>", "ReturnSms>"), id="root in other case"),
        pytest.param(send_answer().replace("<returnsms>", '<returnsms xmlns="urn:x">'), id="namespace"),
        pytest.param(send_answer(" Success ", " ok\r\n", " 7863 ", "\t93390617 ", " 1 "), id="spaces"),
        pytest.param(send_answer("sucess"), id="sucess"),
        pytest.param(send_answer().replace("<message>", "<new>7</new><message>"), id="extra element"),
        pytest.param(send_answer("<![CDATA[Success]]>"), id="CDATA"),
        pytest.param(send_answer().replace("<message>", "<!-- x --><?p i?><message>"), id="comment"),
        pytest.param(
            "<returnsms><successCounts>1</successCounts><taskID>93390617</taskID><message>ok</message>"
            "<remainpoint>7863</remainpoint><returnstatus>Success</returnstatus></returnsms>",
            id="any order",
        ),
        pytest.param(quote(send_answer()), id="percent-encoded as a whole"),
        pytest.param(quote(send_answer()).replace("%20", "+").lower(), id="form-encoded as a whole"),
        pytest.param(as_json({**NUMBERS, "RemainPoint": 7863, "TaskID": 93390617}), id="JSON with numbers"),
        pytest.param(
            as_json({**STRINGS, "message": "ok", "remainpoint": "7863", "taskID": "93390617"}), id="JSON with texts"
        ),
    ],
)
def test_one_answer_in_every_form(body: bytes | str) -> None:
    answer = read(body)
    assert (answer.success, answer.message, answer.remaining) == (True, "ok", Decimal(7863))
    assert (answer.task_id, answer.success_counts, answer.notes) == ("93390617", 1, ())


@pytest.mark.parametrize(
    ("remain", "points"),
    [("-4", "-4"), ("1000.00", "1000.00"), ("0", "0"), ("+7", "7"), (" 6 ", "6"), ("1219176", "1219176"), ("", None)],
)
def test_points_may_be_negative_and_have_decimals(remain: str, points: str | None) -> None:
    assert read(send_answer(remain=remain)).remaining == (None if points is None else Decimal(points))


@pytest.mark.parametrize("remain", ["1,000", "n/a", "1e5", "７", "NaN"])
def test_points_that_are_no_number_are_noted_and_absent(remain: str) -> None:
    answer = read(send_answer(remain=remain))
    assert answer.remaining is None
    assert remain in answer.notes[0]


def test_a_zero_on_failure_is_not_the_balance() -> None:
    assert read(faild("短信内容不能为空")).remaining is None


def test_points_are_ignored_where_the_profile_says_so() -> None:
    assert read(PLAIN, profile=Profile(name="own", remainpoint_meaningful=False)).remaining is None


@pytest.mark.parametrize("task", ["1504080852350206", "0012", "885", "a-b_c.1", "99999999999999999999"])
def test_a_task_id_stays_a_text(task: str) -> None:
    assert read(send_answer(task=task)).task_id == task


@pytest.mark.parametrize("task", ["0", "", " ", "00"])
def test_no_task_id(task: str) -> None:
    assert read(send_answer(task=task)).task_id is None


def test_a_long_task_id_in_json_keeps_every_digit() -> None:
    assert read(as_json({**NUMBERS, "TaskID": 1504080852350206123456789})).task_id == "1504080852350206123456789"


@pytest.mark.parametrize("task", ["-1", "<b>1</b>x y", "a b", "单", "9" * 65])
def test_a_task_id_that_is_none_is_a_bad_answer(task: str) -> None:
    with pytest.raises(BadAnswer, match="task id"):
        read(send_answer(task=task))


def test_gbk_under_the_name_of_gb2312() -> None:
    """镕 and · are not in GB2312: a strict decoder fails on an answer that every other client shows."""
    text = send_answer("Faild", "镕·包含非法字符", "0", "0", "0", declaration=GB)
    assert read(text.encode("gbk"), None).message == "镕·包含非法字符"


@pytest.mark.parametrize("charset", ["gb2312", "GBK", '"gbk"', "utf-8", "iso-8859-1", "nonsense", None])
def test_gbk_is_read_whatever_the_header_says(charset: str | None) -> None:
    text = send_answer("Faild", "用户名或密码错误", "0", "0", "0", declaration="")
    assert read(text.encode("gbk"), charset).message == "用户名或密码错误"


def test_the_declaration_goes_before_the_header() -> None:
    assert read(faild("余额不足"), "gb2312").message == "余额不足"


def test_references_are_resolved_once() -> None:
    assert read(send_answer("Faild", "a &amp;lt; b &#x4F59;", "0", "0", "0")).message == "a &lt; b 余"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(b" \r\n\t", "empty", id="space"),
        pytest.param("<!DOCTYPE html><html><body>500</body></html>", "HTML", id="HTML"),
        pytest.param("\r\n<HTML><head/></HTML>", "HTML", id="HTML in capitals"),
        pytest.param("ok", "neither", id="bare word"),
        pytest.param("[]", "neither", id="JSON list"),
        pytest.param("{}", "no status", id="empty JSON"),
        pytest.param('{"ReturnStatus":"Success"', "JSON", id="cut JSON"),
        pytest.param('{"ReturnStatus":["Success"]}', "returnstatus", id="status is a list"),
        pytest.param('{"ReturnStatus":true}', "returnstatus", id="status is true"),
        pytest.param('{"TaskID":1,"taskid":2,"ReturnStatus":"Success"}', "two values", id="two ids in JSON"),
        pytest.param("{" + '"a":[' * 200_000, "JSON", id="deep JSON"),
        pytest.param('{"ReturnStatus":' + "9" * 5000 + "}", "status", id="long number"),
        pytest.param("<returnsms></returnsms>", "no status", id="no fields"),
        pytest.param("<result><returnstatus>Success</returnstatus></result>", "<result>", id="other root"),
        pytest.param(send_answer("OK"), "「OK」", id="unknown status word"),
        pytest.param(send_answer(""), "status", id="empty status word"),
        pytest.param(send_answer().replace("<message>", "<taskID>1</taskID><message>"), "two values", id="two ids"),
        pytest.param(send_answer() + "x", "complete", id="trailing bytes"),
        pytest.param(send_answer() + send_answer(declaration=""), "complete", id="two documents"),
        pytest.param(send_answer(message="a & b"), "complete", id="raw ampersand"),
        pytest.param(send_answer(message="\x0b"), "complete", id="control character"),
        pytest.param(send_answer(message="&xxe;"), "complete", id="undefined entity"),
        pytest.param('<!DOCTYPE r [<!ENTITY a "b">]>' + send_answer(declaration=""), "document type", id="DOCTYPE"),
        pytest.param(DECLARATION + '<!DOCTYPE r SYSTEM "file:///etc/passwd"><returnsms/>', "document type", id="DTD"),
        pytest.param(faild("x", counts="many"), "successcounts", id="a failure with no number for a count"),
        pytest.param(b"\xff\xff\xff", "encoding", id="no encoding"),
        pytest.param(b" " * (MAX_ANSWER_BYTES + 1), "longer", id="too long"),
    ],
)
def test_what_cannot_be_placed_is_a_bad_answer(body: bytes | str, why: str) -> None:
    with pytest.raises(BadAnswer, match=why):
        read(body)


@pytest.mark.parametrize(
    "body", [PLAIN, INDENTED.strip().encode(), as_json(NUMBERS).encode(), send_answer(declaration=GB).encode("gbk")]
)
def test_no_cut_answer_is_read(body: bytes) -> None:
    """A success whose last tag is missing may miss the part that takes it back."""
    for cut in every_cut(body):
        with pytest.raises(BadAnswer):
            read(cut)


def test_the_raw_text_is_kept_and_bounded() -> None:
    with pytest.raises(BadAnswer) as error:
        read("<result>" + "x\x00" * 9000)
    assert len(error.value.raw) == 4000
    assert "\x00" not in error.value.raw
    assert read(PLAIN).raw == PLAIN.decode()


def test_half_a_character_in_json_is_replaced() -> None:
    answer = read('{"ReturnStatus":"Faild","Message":"a\\ud83d","TaskID":null}')
    answer.message.encode()
    assert answer.task_id is None


@given(st.one_of(st.binary(), st.text().map(str.encode)), st.sampled_from([None, "utf-8", "gb2312", "utf-16"]))
def test_any_bytes_are_read_or_refused(body: bytes, charset: str | None) -> None:
    with suppress(BadAnswer):
        read(body, charset)


@given(st.data())
def test_any_damage_is_read_or_refused(data: st.DataObject) -> None:
    body = data.draw(st.sampled_from([PLAIN, as_json(NUMBERS).encode(), faild("余额不足").encode("gbk")]))
    start = data.draw(st.integers(0, len(body)))
    end = data.draw(st.integers(start, len(body)))
    body = body[:start] + data.draw(st.binary(max_size=8)) + body[end:]
    try:
        answer = read(body, None)
    except BadAnswer:
        return
    answer.message.encode()


_USUAL = st.lists(st.sampled_from(["", " ", "\n", "\r\n ", "\t"]), min_size=9, max_size=9)
_ODD = st.sampled_from(["\x0b", "\x0c", "\ufeff", "\x85", "\xa0", "<!-- -->", "x"])
_SPACES = _USUAL | st.builds(
    lambda spaces, place, odd: [*spaces[:place], odd, *spaces[place + 1 :]], _USUAL, st.integers(0, 8), _ODD
)
_DIGITS = st.from_regex(r"[1-9][0-9]{0,8}", fullmatch=True) | st.sampled_from(
    ["0", "-4", "-0", "007", " 7 ", "1.5", "+3", "１２", "", "9" * 17, "9" * 41]
)


@settings(max_examples=400)
@given(
    space=_SPACES,
    status=st.sampled_from(["Success", "success", "SUCCESS", "Sucess", "Faild"]),
    message=st.sampled_from(["ok", "OK", "", "操作成功", "a&amp;b", "o k", "<b/>"]),
    values=st.lists(_DIGITS, min_size=3, max_size=3),
    declared=st.sampled_from(['encoding="utf-8"', "encoding='GBK'", 'encoding="gb2312"', 'encoding="big5"', ""]),
    charset=st.sampled_from([None, "utf-8", "gb2312", "utf-16", "big5", "nonsense"]),
    means_something=st.booleans(),
)
def test_the_plain_answer_is_read_quickly_as_it_would_be_read_slowly(
    space: list[str],
    status: str,
    message: str,
    values: list[str],
    declared: str,
    charset: str | None,
    means_something: bool,
) -> None:
    tags = zip(("remainpoint", "taskID", "successCounts"), values, strict=True)
    told = [f"<{tag}>{value}</{tag}>" for tag, value in tags]
    head = f'<?xml version="1.0" {declared} ?>'
    parts = [head, "<returnsms>", f"<returnstatus>{status}</returnstatus>", f"<message>{message}</message>", *told]
    body = "".join(gap + part for gap, part in zip(space, [*parts, "</returnsms>", ""], strict=True)).encode()
    profile = replace(STANDARD, remainpoint_meaningful=means_something)
    assert outcome(read_send, body, charset, profile) == outcome(_read_any_send, body, charset, profile)


def test_the_layout_of_the_samples_is_read_quickly() -> None:
    assert _PLAIN_SUCCESS.fullmatch(PLAIN)
    assert _PLAIN_SUCCESS.fullmatch(INDENTED.encode())


def outcome(reader: Callable[[bytes, str | None, Profile], SendAnswer], *given: Any) -> object:
    """What a reader says, or what it raises."""
    try:
        return reader(*given)
    except BadAnswer as bad:
        return bad.problem
