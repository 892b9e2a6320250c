"""What a message may look like: our checks say the same as the schema that producers are given."""

from __future__ import annotations

import json
from contextlib import suppress
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from engine.queues.notice import LONGEST_BODY, BadNotice, Notice, checked, read_notice
from tests.numbers import mobile

SCHEMA = Draft202012Validator(json.loads(files("engine.queues").joinpath("message.schema.json").read_text()))
GOOD: dict[str, Any] = {"id": "a1", "mobile": "1", "text": "您好"}


def says(value: Any) -> str:
    """The reason against a value; "" where there is none."""
    try:
        checked(value)
    except BadNotice as reason:
        return str(reason)
    return ""


def without(*names: str, **more: Any) -> dict[str, Any]:
    return {name: value for name, value in GOOD.items() if name not in names} | more


CASES = [
    (GOOD, ""),
    (GOOD | {"campaign": "spring"}, ""),
    (without("mobile", mobiles=["1", 2]), ""),
    (without("text", template="{a}", vars={"a": "x", "b": 3}), ""),
    (without("text", template="x"), ""),
    (GOOD | {"id": 7}, ""),
    (GOOD | {"id": 7.0}, ""),
    (GOOD | {"mobile": 13.0}, ""),
    (GOOD | {"id": "x" * 200}, ""),
    ([GOOD], "not a JSON object"),
    ("text", "not a JSON object"),
    (None, "not a JSON object"),
    ({}, "mobile and mobiles"),
    (without("id"), "id is missing"),
    (without("mobile"), "mobile and mobiles"),
    (without("text"), "text and template"),
    (GOOD | {"mobiles": ["1"]}, "mobile and mobiles"),
    (GOOD | {"template": "x"}, "text and template"),
    (GOOD | {"vars": {}}, "vars come with a template"),
    (GOOD | {"txt": "x"}, "unknown key 'txt'"),
    (GOOD | {"id": ""}, "id: must be"),
    (GOOD | {"id": "a b"}, "id: must be"),
    (GOOD | {"id": "a\n"}, "id: must be"),
    (GOOD | {"id": "é"}, "id: must be"),
    (GOOD | {"id": "x" * 201}, "id: must be"),
    (GOOD | {"id": 1.5}, "id: must be"),
    (GOOD | {"id": True}, "id: must be"),
    (GOOD | {"id": None}, "id: must be"),
    (GOOD | {"mobile": 1.5}, "mobile, mobiles"),
    (GOOD | {"mobile": ["1"]}, "mobile, mobiles"),
    (GOOD | {"mobile": None}, "mobile, mobiles"),
    (without("mobile", mobiles=[]), "mobiles: must be a list"),
    (without("mobile", mobiles="1"), "mobiles: must be a list"),
    (without("mobile", mobiles=["1"] * 10_001), "mobiles: must be a list"),
    (without("mobile", mobiles=[None]), "mobile, mobiles"),
    (GOOD | {"text": ""}, "text: must be text"),
    (GOOD | {"text": 3}, "text: must be text"),
    (GOOD | {"campaign": ""}, "campaign: must be text"),
    (without("text", template=3), "template: must be text"),
    (without("text", template="x", vars=[]), "vars: must be an object"),
    (without("text", template="x", vars={"a": 1.5}), "vars: a value is"),
    (without("text", template="x", vars={"a": None}), "vars: a value is"),
]


@pytest.mark.parametrize(("value", "reason"), CASES)
def test_a_message_is_good_or_bad_for_a_reason(value: Any, reason: str) -> None:
    assert says(value).startswith(reason)
    assert bool(says(value)) is bool(reason)


@pytest.mark.parametrize("value", [value for value, _ in CASES])
def test_the_schema_says_the_same(value: Any) -> None:
    assert SCHEMA.is_valid(value) is not bool(says(value))


_ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
_PLAUSIBLE = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["a", "n-1", 3, "a b", ""]) | _ODD,
        "mobile": st.sampled_from(["1", 13]) | _ODD,
        "mobiles": st.lists(st.sampled_from(["1", 2]) | _ODD, max_size=3) | _ODD,
        "text": st.sampled_from(["您好", ""]) | _ODD,
        "template": st.sampled_from(["{a}", ""]) | _ODD,
        "vars": st.dictionaries(st.text(max_size=2), st.text(max_size=3) | _ODD, max_size=2) | _ODD,
        "campaign": st.text(max_size=3) | _ODD,
        "other": _ODD,
    },
)


@given(value=_PLAUSIBLE | _ODD)
def test_whatever_comes_the_schema_and_the_checks_agree(value: Any) -> None:
    assert SCHEMA.is_valid(value) is not bool(says(value))


def test_numbers_ids_and_values_may_be_whole_numbers() -> None:
    found = checked({"id": 7, "mobiles": [13, "14"], "template": "{a}", "vars": {"a": 5}})
    assert found == Notice(notice_id="7", numbers=("13", "14"), text="{a}", variables={"a": "5"})


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "not JSON (line 1, column 2)"),
        (b"", "not JSON"),
        (b'{"id": "\xff"}', "not UTF-8 (byte 9)"),
        (b'{"id": NaN}', "not JSON (NaN)"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"id": 1' + b"0" * 5_000 + b"}", "not JSON"),
        (b'{"id": 1, "mobile": "1", "mobile": "2", "text": "x"}', "a key stands twice"),
        (b'{"id": 1, "mobile": "1", "text": "x\\ud83d"}', "half a surrogate pair"),
        (b'{"id": 1, "mobile": "\\udc00", "text": "x"}', "half a surrogate pair"),
        (b" " * (LONGEST_BODY + 1), "longer than"),
    ],
)
def test_what_cannot_be_read_says_why(body: bytes, reason: str) -> None:
    with pytest.raises(BadNotice, match=reason.replace("(", r"\(").replace(")", r"\)")):
        read_notice(body)


def test_a_byte_order_mark_is_no_mistake() -> None:
    assert read_notice(b"\xef\xbb\xbf" + json.dumps(GOOD).encode()).notice_id == "a1"


def test_a_reason_tells_no_number_and_no_text() -> None:
    number = mobile()
    for value in (GOOD | {"mobile": [number]}, GOOD | {"text": [number]}, without("id", mobile=number)):
        assert number not in says(value)
    assert number not in repr(checked(GOOD | {"mobile": number}))


@given(body=st.binary(max_size=200))
def test_no_bytes_end_in_anything_but_a_notice_or_a_reason(body: bytes) -> None:
    with suppress(BadNotice):
        read_notice(body)
