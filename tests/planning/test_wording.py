"""What each row is told: its cells as they are, in their places, or a reason why it is told nothing."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import PlanError
from engine.model import Exclusion, Message
from engine.planning import FilledText, Frame, OwnText, SameText, TextFault, parsed, worded
from engine.planning.text import TooLong
from engine.planning.wording import Said, again

PLAIN = Frame(signature=None, signature_position="front", signature_required=False, opt_out=None, max_units=500)
GBK = replace(PLAIN, charset="gbk")


def filled(text: str, frame: Frame = PLAIN, defaults: Mapping[str, str] | None = None) -> FilledText:
    wording = worded(parsed(text), frame, defaults or {})
    assert isinstance(wording, FilledText)
    return wording


def told(wording: FilledText | OwnText, *rows: Sequence[str]) -> list[Said]:
    return wording.speaker()([list(column) for column in zip(*rows, strict=True)])


def contents(said: Sequence[Said]) -> list[str]:
    return [each.content if isinstance(each, Message) else each.reason.value for each in said]


def test_a_text_without_placeholders_is_the_text_that_compose_makes() -> None:
    wording = worded(parsed("满{{100}}减50"), replace(PLAIN, signature="品牌", opt_out="回T退订"), {})
    assert isinstance(wording, SameText)
    assert wording.message == Message(content="【品牌】满{100}减50，回T退订", units=18, segments=1)
    assert wording.kept() == ""


@pytest.mark.parametrize(
    ("text", "options", "content"),
    [
        ("{姓名}您好", {}, "王芳您好"),
        ("您好{姓名}", {}, "您好王芳"),
        ("{姓名}和{姓名}在{城市}", {}, "王芳和王芳在北京"),
        ("100%{姓名}%s{{", {}, "100%王芳%s{"),
        ("{姓名}您好", {"signature": "品牌"}, "【品牌】王芳您好"),
        ("【品牌】{姓名}您好", {"signature_required": True}, "【品牌】王芳您好"),
        ("【品牌】 {姓名}您好 ", {}, "【品牌】王芳您好"),
        ("{姓名}您好【品牌】", {"signature_position": "end", "opt_out": "回T退订"}, "王芳您好，回T退订【品牌】"),
        ("{姓名}您好", {"signature_position": "none", "opt_out": "回T退订"}, "王芳您好，回T退订"),
        ("{姓名}您好回T退订", {"opt_out": "回T退订"}, "王芳您好回T退订"),
        ("您好\r\n{姓名}", {}, "您好\n王芳"),
        ("【{城市}店】{姓名}您好", {}, "【北京店】王芳您好"),
    ],
)
def test_cells_stand_in_their_places_with_signature_and_opt_out_around(
    text: str, options: dict[str, Any], content: str
) -> None:
    wording = filled(text, replace(PLAIN, **options))
    cells = {"姓名": " 王芳\u3000", "城市": "北京"}
    assert contents(told(wording, [cells[name] for name in wording.names])) == [content]


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("{姓名}您好", {"signature_required": True}, "wants a signature"),
        ("{姓名}【品牌】您好", {}, "at the beginning"),
        ("【甲】{姓名}【乙】", {}, "one pair"),
        ("【甲】{姓名}", {"signature": "乙"}, "asked for was"),
        ("{姓名}\x00您好", {}, "U\\+0000"),
        ("{姓名}\x07您好", {}, "U\\+0007 at position 2"),
        ("{姓名}😀", {"charset": "gbk"}, "does not exist in gbk"),
        ("{姓名}" + "好" * 501, {}, "too long: 501 units, the limit is 500, before any cell"),
        ("{姓名}您好", {"signature": "品\x00牌"}, "U\\+0000"),
    ],
)
def test_a_template_that_fits_no_row_is_refused_at_once(text: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(PlanError, match=words):
        worded(parsed(text), replace(PLAIN, **options), {})


@pytest.mark.parametrize(
    ("cell", "frame", "reason", "words"),
    [
        ("", PLAIN, Exclusion.PLACEHOLDER, "needs 姓名 and the row has none"),
        (" \u3000\t", PLAIN, Exclusion.PLACEHOLDER, "needs 姓名"),
        ("王\x00芳", PLAIN, Exclusion.UNSENDABLE, "U+0000"),
        ("王\n芳", PLAIN, Exclusion.UNSENDABLE, "a line break"),
        ("王\t芳", PLAIN, Exclusion.UNSENDABLE, "U+0009"),
        ("王\x9f芳", PLAIN, Exclusion.UNSENDABLE, "U+009F"),
        ("王\ud83d芳", PLAIN, Exclusion.UNSENDABLE, "U+D83D"),
        ("【王芳】", PLAIN, Exclusion.UNSENDABLE, "【"),
        ("王芳】", PLAIN, Exclusion.UNSENDABLE, "】"),
        ("😀", GBK, Exclusion.UNSENDABLE, "gbk lacks"),
        ("好" * 499, PLAIN, Exclusion.TOO_LONG, "too long: 501 units, the limit is 500"),
        ("😀" * 250, PLAIN, Exclusion.TOO_LONG, "502 units"),
        ("好" * 500_000, PLAIN, Exclusion.TOO_LONG, "500002 units"),
    ],
)
def test_a_row_that_cannot_be_told_says_why_and_the_others_are_told(
    cell: str, frame: Frame, reason: Exclusion, words: str
) -> None:
    before, fault, after = told(filled("{姓名}您好", frame), ["王芳"], [cell], ["李雷"])
    assert isinstance(fault, TextFault)
    assert fault.reason is reason
    assert words in fault.detail
    assert contents([before, after]) == ["王芳您好", "李雷您好"]


def test_every_missing_cell_is_named() -> None:
    (fault,) = told(filled("{姓名}在{城市}{区}"), [" ", "北京", ""])
    assert fault == TextFault(Exclusion.PLACEHOLDER, "the text needs 姓名 and 区 and the row has none")


def test_a_default_stands_in_for_blank_cells_only() -> None:
    wording = filled("{姓名}在{城市}", defaults={"姓名": "客户"})
    assert contents(told(wording, ["", "北京"], ["王芳", "上海"], ["", ""])) == [
        "客户在北京",
        "王芳在上海",
        "placeholder",
    ]


def test_an_empty_default_makes_a_cell_optional_but_never_an_empty_text() -> None:
    wording = filled("{称呼}{姓名}", defaults={"称呼": "", "姓名": ""})
    assert contents(told(wording, ["尊敬的", ""], ["", ""])) == ["尊敬的", "unsendable"]


@pytest.mark.parametrize(("default", "frame"), [("客\x07户", PLAIN), ("【客户】", PLAIN), ("😀", GBK)])
def test_a_default_that_cannot_be_sent_is_refused(default: str, frame: Frame) -> None:
    with pytest.raises(PlanError):
        filled("{姓名}您好", frame, {"姓名": default})


@pytest.mark.parametrize(
    ("cell", "extra", "units", "billed"), [("好" * 68, 0, 70, 1), ("好" * 69, 0, 71, 2), ("😀" * 34, 0, 70, 1), ("好" * 60, 9, 62, 2)]
)  # fmt: skip
def test_segments_are_those_of_the_filled_text(cell: str, extra: int, units: int, billed: int) -> None:
    (said,) = told(filled("{姓名}您好", replace(PLAIN, extra_units=extra)), [cell])
    assert isinstance(said, Message)
    assert (said.units, said.segments) == (units, billed)


def test_a_text_of_its_own_gets_signature_and_opt_out_and_its_braces_stay() -> None:
    wording = OwnText(names=("内容",), frame=replace(PLAIN, signature="品牌", opt_out="回T退订", max_units=20))
    rows = ["{您}好", "【品牌】您好", "", "好" * 20, "【别家】您好", "您\x07好", "第一行\r\n第二行"]
    assert contents(told(wording, *[[row] for row in rows])) == [
        "【品牌】{您}好，回T退订", "【品牌】您好，回T退订", "placeholder", "too_long", "unsendable", "unsendable",
        "【品牌】第一行\n第二行，回T退订",
    ]  # fmt: skip


def test_a_wording_comes_back_from_what_the_journal_keeps() -> None:
    template = filled("【品牌】{姓名}%您好{{}}", replace(PLAIN, opt_out="回T"), {"姓名": "客户"})
    own = OwnText(names=("内容",), frame=replace(PLAIN, signature="品牌", opt_out="回T"), default="您好")
    assert again(template.kept(), template.frame) == template
    assert again(own.kept(), PLAIN) == own
    assert template.shown == "【品牌】{姓名}%您好{}，回T"


@pytest.mark.parametrize(
    "other",
    ["{姓名}您好！", "{名字}您好", "您好{姓名}", "{姓名}您好{姓名}"],
)
def test_another_template_is_another_order(other: str) -> None:
    assert filled(other).key != filled("{姓名}您好").key
    assert filled("{姓名}您好", defaults={"姓名": "客户"}).key != filled("{姓名}您好").key


def test_too_long_is_a_plan_error() -> None:
    with pytest.raises(TooLong):
        PLAIN.around("好" * 501)


CELLS = st.text(max_size=30)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=20), st.sampled_from([PLAIN, GBK]))
def test_a_filled_text_holds_the_cells_verbatim_or_the_row_is_left_out(
    rows: list[tuple[str, str]], frame: Frame
) -> None:
    for (name, city), said in zip(rows, told(filled("您好{姓名}%在{城市}。", frame), *rows), strict=True):
        name, city = name.strip(), city.strip()
        whole = f"您好{name}%在{city}。"
        bad = any(unicodedata.category(sign) in ("Cc", "Cs") or sign in "【】" for sign in name + city)
        if isinstance(said, Message):
            assert said.content == whole
            assert said.units == len(whole.encode("utf-16-le")) // 2
            assert name
            assert city
            assert not bad
        else:
            assert not name or not city or bad or whole.encode("gbk", "replace").decode("gbk") != whole


@given(st.lists(st.text(min_size=1, max_size=12), min_size=2, max_size=8, unique_by=str.strip))
def test_different_cells_are_never_told_the_same(cells: list[str]) -> None:
    texts = [
        said.content for said in told(filled("您好{姓名}！"), *[[cell] for cell in cells]) if isinstance(said, Message)
    ]
    assert len(set(texts)) == len(texts)
