"""The final text: signature and opt-out once and in their place, or a refusal that says what to change."""

from __future__ import annotations

from typing import Any

import pytest

from engine.errors import PlanError
from engine.model import Message
from engine.planning import compose

DEFAULTS: dict[str, Any] = {
    "signature": None,
    "signature_position": "front",
    "signature_required": False,
    "opt_out": None,
    "max_units": 500,
}


def composed(text: str, **options: Any) -> Message:
    return compose(text, **{**DEFAULTS, **options})


@pytest.mark.parametrize(
    ("text", "options", "content"),
    [
        ("你好", {}, "你好"),
        ("你好", {"signature": "品牌"}, "【品牌】你好"),
        ("你好", {"signature": "【品牌】"}, "【品牌】你好"),
        ("你好", {"signature": " 品牌 "}, "【品牌】你好"),
        ("你好", {"signature": "品牌", "signature_position": "end"}, "你好【品牌】"),
        ("你好", {"signature": "品牌", "opt_out": "退订回T"}, "【品牌】你好，退订回T"),
        ("你好", {"signature": "品牌", "opt_out": "退订回T", "signature_position": "end"}, "你好，退订回T【品牌】"),
        ("你好退订回T", {"signature": "品牌", "opt_out": "退订回T"}, "【品牌】你好退订回T"),
        ("你好退订回T【品牌】", {"opt_out": "退订回T", "signature_position": "end"}, "你好退订回T【品牌】"),
        ("你好【品牌】", {"opt_out": "退订回T", "signature_position": "end"}, "你好，退订回T【品牌】"),
        *((f"你好{sign}", {"opt_out": "回T退订"}, f"你好{sign}回T退订") for sign in "。！!.~、（"),
        *(("你好", {"opt_out": f"{sign}回T退订"}, f"你好{sign}回T退订") for sign in " ，,(（/"),
        ("全场8折5%", {"opt_out": "拒收请回复R"}, "全场8折5%，拒收请回复R"),
        ("Sale (today)", {"opt_out": "回T退订"}, "Sale (today)，回T退订"),
        ("Sale now", {"opt_out": "reply R to stop"}, "Sale now reply R to stop"),
        ("【品牌】你好", {"signature": "品牌", "signature_required": True}, "【品牌】你好"),
        ("【品牌】你好", {"signature_required": True}, "【品牌】你好"),
        ("你好", {"signature_position": "none", "signature_required": True, "opt_out": "回T退订"}, "你好，回T退订"),
        ("  你好\r\n再见\n\n", {}, "你好\n再见"),
        ("a<b & 'c' --", {}, "a<b & 'c' --"),
    ],
)
def test_each_part_stands_once_and_in_its_place(text: str, options: dict[str, Any], content: str) -> None:
    assert composed(text, **options).content == content


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("", {}, "no text"),
        (" \n\u3000", {}, "no text"),
        ("【品牌】", {"signature": "品牌"}, "no text besides"),
        ("你好", {"signature_required": True}, "wants a signature"),
        ("你好", {"signature_required": True, "signature": ""}, "wants a signature"),
        ("你好【品牌】", {"signature": "品牌"}, "at the beginning"),
        ("【品牌】你好", {"signature": "品牌", "signature_position": "end"}, "at the end"),
        ("你【好】吗", {}, "at the beginning"),
        ("【甲】你好", {"signature": "乙"}, "【甲】, asked for was 【乙】"),
        ("【甲】你好【乙】", {}, "2 【 and 2 】"),
        ("【甲你好", {}, "1 【 and 0 】"),
        ("】甲你好【", {}, "one pair"),
        ("【】你好", {}, "is no signature"),
        ("你好", {"signature": "【甲】【乙】"}, "is no signature"),
        ("你好", {"signature": "【】"}, "is no signature"),
        ("你好", {"signature": "品牌", "signature_position": "none"}, "adds the signature itself"),
        ("【品牌】你好", {"signature_position": "none"}, "adds the signature itself"),
        ("你\x00好", {}, "U+0000 at position 2"),
        ("你好\t吗", {}, "U+0009 at position 3"),
        ("你\rx", {}, "U+000D"),
        ("你\x85好", {}, "U+0085"),
        ("你\ud800好", {}, "U+D800"),
        ("你好", {"signature": "品\x07牌"}, "U+0007"),
        ("你好", {"opt_out": "回T\x1f退订"}, "U+001F"),
    ],
)
def test_what_would_arrive_wrong_is_refused(text: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(PlanError) as caught:
        composed(text, **options)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sign", "position"),
    [("你好😀", "😀", 3), ("收5€", "€", 3), ("𠮷", "𠮷", 1), ("【牌】é\u0300", "\u0300", 5)],
)
def test_a_character_outside_gbk_is_named_with_its_place(text: str, sign: str, position: int) -> None:
    with pytest.raises(PlanError) as caught:
        composed(text, charset="gbk")
    assert f"U+{ord(sign):04X}, position {position})" in str(caught.value)
    assert composed(text).content == text


def test_what_gbk_holds_beyond_gb2312_is_taken() -> None:
    assert composed("镕喆·—", charset="gbk").content == "镕喆·—"


def test_the_limit_counts_signature_opt_out_and_what_the_channel_adds() -> None:
    options: dict[str, Any] = {"signature": "品牌", "opt_out": "退订回T", "extra_units": 10}
    body = "x" * 81
    assert composed(body, **options, max_units=100).units == 90
    with pytest.raises(PlanError, match="90 units and 10 that the channel adds, the limit is 99"):
        composed(body, **options, max_units=99)


@pytest.mark.parametrize(
    ("length", "extra", "billed"), [(70, 0, 1), (71, 0, 2), (60, 10, 1), (61, 10, 2), (134, 0, 2), (124, 11, 3)]
)
def test_segments_count_what_the_channel_adds(length: int, extra: int, billed: int) -> None:
    message = composed("中" * length, extra_units=extra)
    assert (message.units, message.segments) == (length, billed)
