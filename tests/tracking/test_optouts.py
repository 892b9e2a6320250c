"""Which replies are an opt-out, and who is left out."""

from __future__ import annotations

import pytest

from engine.intake.screening import Screen, packed
from engine.model import Chunk, Excluded, Exclusion
from engine.tracking import Barred, is_opt_out
from engine.tracking.reading import plain_mobile
from tests.numbers import mobile, mobiles


@pytest.mark.parametrize(
    "text",
    ["T", "t", "Ｔ", "T.", " 退订", "退订！", "td", "ＴＤ", "Td，谢谢", "R", "r。", "N", "退", "取消", "拒收", "“拒收”", "退订短信",
     "TD1", "T 退订", "T，不要再发了", "T!", "T1", "T退订", "T退", "\u3000t\u200b", "…T…", "TD取消", "T👍"],
)  # fmt: skip
def test_a_refusal_is_recognised_however_it_is_written(text: str) -> None:
    assert is_opt_out(text)


@pytest.mark.parametrize(
    "text",
    ["", " ", "。", "Thanks", "thank you", "T恤多少钱", "two", "不取消", "取消订单", "R u there", "No", "你好", "请问地址", "拒收快递怎么办", "1"],
)  # fmt: skip
def test_a_text_that_merely_holds_the_letter_is_none(text: str) -> None:
    assert not is_opt_out(text)


def test_further_words_may_be_given() -> None:
    assert is_opt_out("ＳＴＯＰ！", {"stop"})
    assert not is_opt_out("R", {"stop"})


def test_among_names_the_barred_in_their_order_and_nobody_else() -> None:
    numbers = mobiles(5)
    barred = Barred()
    assert barred.among(",".join(numbers)) == ()
    barred.add([numbers[3], numbers[0]])
    assert barred.among(",".join(numbers)) == (numbers[0], numbers[3])
    assert barred.among(",".join(numbers[1:3])) == ()


def test_screening_moves_opted_out_numbers_to_the_excluded_and_keeps_the_sum() -> None:
    numbers = mobiles(6)
    before = Excluded(line=4, raw="x", reason=Exclusion.INVALID, detail="too short")
    chunk = Chunk(rows=7, mobiles=numbers, lines=[2, 3, 5, 6, 7, 8], extra=0, excluded=[before])
    sifted = Screen(packed([numbers[1], numbers[4], mobile(99)])).sift(chunk)
    assert sifted.mobiles == [numbers[0], numbers[2], numbers[3], numbers[5]]
    assert sifted.lines == [2, 5, 6, 8]
    assert [(row.line, row.reason) for row in sifted.excluded] == [
        (3, Exclusion.OPTED_OUT), (4, Exclusion.INVALID), (7, Exclusion.OPTED_OUT),
    ]  # fmt: skip
    assert sifted.rows + sifted.extra == len(sifted.mobiles) + len(sifted.excluded)


def test_without_opt_outs_a_chunk_stays_as_it_is() -> None:
    chunk = Chunk(rows=1, mobiles=mobiles(1), lines=[2])
    assert Screen(packed([])).sift(chunk) is chunk


@pytest.mark.parametrize("prefix", ["", "86", "+86", "0086"])
def test_a_number_is_joined_whether_the_gateway_writes_its_country_or_not(prefix: str) -> None:
    assert plain_mobile(prefix + mobile()) == mobile()


def test_who_was_barred_after_a_look_stays_when_what_it_saw_is_carried_out() -> None:
    one, two, three = mobiles(3)
    barred = Barred([one])
    barred.add([two, three])
    since = barred.additions
    barred.add([three])  # opted out while somebody looked
    barred.remove([one, two, three, mobiles(4)[3]], since=since)
    assert barred.among(",".join([one, two, three])) == (three,)
