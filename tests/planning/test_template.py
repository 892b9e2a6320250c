"""Placeholders: names of columns, and nothing of what `str.format` could do beside."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import PlanError
from engine.planning import parsed


@pytest.mark.parametrize(
    ("text", "literals", "names"),
    [
        ("你好", ("你好",), ()),
        ("", ("",), ()),
        ("{姓名}您好", ("", "您好"), ("姓名",)),
        ("您好{ 姓名 }", ("您好", ""), ("姓名",)),
        ("{姓名}{城市}{姓名}", ("", "", "", ""), ("姓名", "城市", "姓名")),
        ("满{{100}}减{优惠}", ("满{100}减", ""), ("优惠",)),
        ("{{{姓名}}}", ("{", "}"), ("姓名",)),
        ("｛姓名｝100% %s %(a)s", ("｛姓名｝100% %s %(a)s",), ()),
        ("{1}您好", ("", "您好"), ("1",)),
    ],
)
def test_a_text_falls_into_literals_and_names(text: str, literals: tuple[str, ...], names: tuple[str, ...]) -> None:
    template = parsed(text)
    assert (template.literals, template.names) == (literals, names)


@pytest.mark.parametrize(
    "text",
    [
        "{姓名", "姓名}", "{", "}", "{{}", "{}", "{ }", "{姓名!r}", "{姓名!s}", "{姓名:>10}", "{姓名.名}", "{姓名[0]}", "{a:{b}}",
        "{姓名.__class__.__init__.__globals__}", "{0.__class__}", "{a!}",
    ],
)  # fmt: skip
def test_everything_else_in_braces_is_refused_and_the_braces_are_explained(text: str) -> None:
    with pytest.raises(PlanError, match=r"\{\{"):
        parsed(text)


@given(st.text())
def test_braces_written_twice_are_the_text_itself(text: str) -> None:
    template = parsed(text.replace("{", "{{").replace("}", "}}"))
    assert (template.literals, template.names) == ((text,), ())


@given(st.text())
def test_any_text_is_parsed_or_refused_in_words(text: str) -> None:
    try:
        template = parsed(text)
    except PlanError:
        return
    assert len(template.literals) == len(template.names) + 1
