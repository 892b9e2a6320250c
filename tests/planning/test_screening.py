"""What is looked at in texts: the kind, risky signs, and cells that must not be sent."""

from __future__ import annotations

import pytest

from engine.errors import PlanError
from engine.model import Exclusion, Message
from engine.planning.kinds import has_way_out, refuse_no_way_out
from engine.planning.risks import risks
from engine.planning.template import parsed
from engine.planning.text import Frame
from engine.planning.values import MOST_KINDS, Forbidden, Surveyor, without
from engine.planning.wording import FilledText, OwnText, TextFault, Wording, worded

FRAME = Frame(
    signature="测试", signature_position="front", signature_required=True, opt_out=None, max_units=500
)  # fmt: skip
WORDS = ("select", "'", "--")


def filled(text: str, **defaults: str) -> FilledText:
    wording = worded(parsed(text), FRAME, defaults)
    assert isinstance(wording, FilledText)
    return wording


@pytest.mark.parametrize(
    "text", ["退订回T", "新品上市，回T退订", "拒收请回复R", "回复TD退订", "回 T", "回n退", "拒收请回N"]
)
def test_a_way_out_is_recognised(text: str) -> None:
    assert has_way_out(text)


@pytest.mark.parametrize("text", ["新品上市", "回Taobao看看", "请回复 Receipt", "T恤上新", "欢迎回来"])
def test_what_is_no_way_out_is_not_taken_for_one(text: str) -> None:
    assert not has_way_out(text)


def test_marketing_alone_must_have_a_way_out_in_every_text() -> None:
    own = OwnText(names=("内容",), frame=FRAME)
    silent: list[Wording] = [worded(parsed("新品"), FRAME, {}), filled("{姓名}，新品"), own]
    for wording in silent:
        with pytest.raises(PlanError, match="--opt-out"):
            refuse_no_way_out(wording, "marketing", by_channel=False)
        refuse_no_way_out(wording, "marketing", by_channel=True)
        refuse_no_way_out(wording, "notice", by_channel=False)
        refuse_no_way_out(wording, "", by_channel=False)
    refuse_no_way_out(filled("{姓名}，新品，回T退订"), "marketing", by_channel=False)
    with pytest.raises(PlanError):  # the row brings it, or does not
        refuse_no_way_out(filled("新品，{退订}"), "marketing", by_channel=False)


def test_risks_stand_where_they_are() -> None:
    found = risks("【测试】Select x -- it's 5<b> &#39; selected a<5", WORDS)
    assert [(risk.position, risk.sign) for risk in found] == [
        (5, "Select"),
        (14, "--"),
        (19, "'"),
        (23, "<b"),
        (27, "&#"),
    ]
    assert risks("【测试】一切正常", WORDS) == []
    long = risks("长" * 501, WORDS)
    assert (long[0].position, "501 characters" in long[0].why) == (0, True)
    assert len(risks("'" * 50, WORDS)) == 8


def test_rows_with_a_forbidden_cell_have_no_text_and_say_which() -> None:
    wording = filled("{姓名}您好，{城市}", 姓名="客户")
    forbidden = Forbidden(values={"姓名": {"坏词": "包含非法字符"}}, rows={("甲", "乙"): "一起不行"})
    columns = [[" 坏词 ", "李明", "甲", "甲", ""], ["北京", "坏词", "乙", "丙", "北京"]]
    said = without(wording, forbidden)(columns)
    assert [isinstance(each, Message) for each in said] == [False, True, False, True, True]
    first, third = said[0], said[2]
    assert isinstance(first, TextFault)
    assert isinstance(third, TextFault)
    assert first == (Exclusion.FORBIDDEN_VALUE, "姓名 holds 「坏词」, which the gateway forbids: 「包含非法字符」")
    assert "姓名 = 甲 and 城市 = 乙" in third.detail
    assert without(wording, Forbidden())(columns) == wording.speaker()(columns)


def test_a_default_counts_as_the_value_and_a_blank_cell_keeps_its_own_reason() -> None:
    forbidden = Forbidden(values={"姓名": {"坏词": "w", "": "w"}})
    (default,) = without(filled("{姓名}您好", 姓名="坏词"), forbidden)([[" "]])
    (blank,) = without(filled("{姓名}您好"), forbidden)([[" "]])
    assert isinstance(default, TextFault)
    assert isinstance(blank, TextFault)
    assert (default.reason, blank.reason) == (Exclusion.FORBIDDEN_VALUE, Exclusion.PLACEHOLDER)


def test_a_survey_counts_rows_by_their_values_and_stops_where_there_are_too_many() -> None:
    wording = filled("{姓名}{城市}", 城市="北京")
    surveyor = Surveyor(wording, wording.speaker())
    surveyor.said([["a", "b ", "a", ""], ["", "上海", "北京", ""]])
    survey = surveyor.survey()
    assert (list(survey.kinds), survey.whole) == ([(("a", "北京"), 2), (("b", "上海"), 1), (("", "北京"), 1)], True)
    surveyor.said([[str(at) for at in range(MOST_KINDS)], ["x"] * MOST_KINDS])
    assert surveyor.is_full
    assert not surveyor.survey().whole
    assert surveyor.survey().kinds[0] == (("a", "北京"), 2)
    surveyor.said([["b"], ["上海"]])
    assert surveyor.survey().kinds[0] == (("a", "北京"), 2)


def test_blank_rows_are_no_kind_of_a_survey() -> None:
    wording = OwnText(names=("内容",), frame=FRAME)
    surveyor = Surveyor(wording, wording.speaker())
    surveyor.said([["", " ", "新品", *map(str, range(MOST_KINDS - 1))]])
    survey = surveyor.survey()
    assert (surveyor.is_full, survey.whole, len(survey.kinds)) == (False, True, MOST_KINDS)
    assert all(any(row) for row, _ in survey.kinds)


def test_surveyed_rows_are_told_as_each_by_itself_and_rows_alike_get_one_message() -> None:
    wording = filled("{姓名}您好，{城市}", 城市=" 北京 ")
    forbidden = Forbidden(values={"城市": {"坏词": "w"}})
    speak = without(wording, forbidden)
    surveyor = Surveyor(wording, speak)
    columns = [["a", "a ", "", "b", "【", "长" * 500], ["", " 北京", "上海", "坏词", "x", "x"]]
    said = surveyor.said(columns)
    assert said == speak(columns)
    assert [isinstance(each, Message) for each in said] == [True, True, False, False, False, False]
    assert surveyor.said([["a"], [""]])[0] is said[0]
    full = Surveyor(wording, speak)
    full.said([[str(at) for at in range(MOST_KINDS + 1)], ["x"] * (MOST_KINDS + 1)])
    assert full.is_full
    assert full.said(columns) == said
