"""One cell in, mobiles or reasons out. Source: gateway/protocol.md, Numbers."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engine.errors import BadRecipient
from engine.intake import examine, normalise
from engine.model import Exclusion
from engine.numbers import _USUAL_LANDLINE, MOBILE, Refusal, _verdict
from tests.numbers import mobile, mobiles

M = mobile()
A, B = mobiles(2, seed=7)
FULL_WIDTH = str.maketrans("0123456789+", "０１２３４５６７８９＋")

any_mobile = st.integers(13 * 10**9, 20 * 10**9 - 1).map(str)


@pytest.mark.parametrize(
    "cell",
    [
        M,
        f" {M} ",
        f"\t{M}\t",
        f"\u3000{M}\u00a0",
        M.translate(FULL_WIDTH),
        f"{M[:3]} {M[3:7]} {M[7:]}",
        f"{M[:3]}-{M[3:7]}-{M[7:]}",
        f"{M[:3]}—{M[3:7]}－{M[7:]}",
        f"({M[:3]}){M[3:]}",
        f"（{M}）",
        f"{M[:3]}.{M[3:7]}.{M[7:]}",
        f"+86{M}",
        f"+86 {M}",
        f"+86-{M[:3]}-{M[3:7]}-{M[7:]}",
        f"＋８６{M}",
        f"(+86){M}",
        f"0086{M}",
        f"0086-{M}",
        f"86{M}",
        f"86 {M}",
        f"0{M}",
        f"'{M}",
        f"‘{M}",
        f"{M}.0",
        f"{M}.00",
        f"86{M}.0",
        f'="{M}"',
        f"={M}",
        f"\ufeff{M}",
        f"\u202d{M}\u202c",
        f"{M[:4]}\u200b{M[4:]}",
        f"{M[0]}.{M[1:]}E10",
        f"{M[0]}.{M[1:]}e+10",
        f"{M};",
        f"{M}、",
    ],
)
def test_one_mobile_is_found_however_it_is_written(cell: str) -> None:
    assert examine(cell) == (M,)
    assert normalise(cell) == M


@pytest.mark.parametrize(
    ("cell", "reason", "word"),
    [
        ("", Exclusion.EMPTY, "empty"),
        ("  \u3000\t", Exclusion.EMPTY, "empty"),
        ("-", Exclusion.EMPTY, "empty"),
        ("\u200b", Exclusion.EMPTY, "empty"),
        ("010-88886666", Exclusion.LANDLINE, "landline"),
        ("010" + "88886666", Exclusion.LANDLINE, "landline"),
        ("(0571) 8888666", Exclusion.LANDLINE, "landline"),
        ("0571-88886666", Exclusion.LANDLINE, "landline"),
        ("0571-88886666转801", Exclusion.LANDLINE, "landline"),
        ("+86 10 8888 6666", Exclusion.LANDLINE, "landline"),
        ("88886666", Exclusion.LANDLINE, "landline"),
        ("400-888-6666", Exclusion.LANDLINE, "landline"),
        ("+852 6123 4567", Exclusion.FOREIGN, "country"),
        ("+1 (202) 555-0123", Exclusion.FOREIGN, "country"),
        ("00442071234567", Exclusion.FOREIGN, "country"),
        ("10648" + "12345678", Exclusion.IOT, "IoT"),
        ("140" + "1234567890", Exclusion.IOT, "IoT"),
        ("+86144" + "1234567890", Exclusion.IOT, "IoT"),
        ("1.38E+10", Exclusion.DIGITS_LOST, "as text"),
        ("1.3812E10", Exclusion.DIGITS_LOST, "as text"),
        ("1E+10", Exclusion.DIGITS_LOST, "as text"),
        (M[:10], Exclusion.INVALID, "too short: 10"),
        (M + "0", Exclusion.INVALID, "too long: 12"),
        ("86" + M[:10], Exclusion.INVALID, "too long: 12"),
        ("12" + M[2:], Exclusion.INVALID, "begins with 12"),
        ("10" + M[2:], Exclusion.INVALID, "begins with 10"),
        ("+86" + "12" + M[2:], Exclusion.INVALID, "too long: 13"),
        ("86" + "86" + M, Exclusion.INVALID, "too long: 15"),
        ("00" + M, Exclusion.FOREIGN, "country"),
        ("张三", Exclusion.INVALID, "characters"),
        (f"{M}张三", Exclusion.INVALID, "characters"),
        (f"{M}/张三", Exclusion.INVALID, "characters"),
        (f"{M[:10]}.{M[10:]}", Exclusion.INVALID, "characters"),
        (f"{M[:3]}****{M[7:]}", Exclusion.INVALID, "asterisks"),
        (M.translate(str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")), Exclusion.INVALID, "characters"),
    ],
)
def test_anything_else_is_refused_with_its_reason(cell: str, reason: Exclusion, word: str) -> None:
    (verdict,) = examine(cell)
    assert isinstance(verdict, Refusal)
    assert verdict.reason is reason
    assert word in verdict.detail
    with pytest.raises(BadRecipient):
        normalise(cell)


@pytest.mark.parametrize(
    "separator", ["/", " / ", "、", ";", "；", ",", "，", "|", "\n", " ", "  ", "\u3000", "/\n", "\\"]
)
@pytest.mark.parametrize(("first", "second"), [(A, B), (f"+86{A}", f"0{B}")])
def test_two_numbers_in_a_cell_are_both_taken(separator: str, first: str, second: str) -> None:
    assert examine(first + separator + second) == (A, B)


def test_of_two_numbers_each_is_judged_alone() -> None:
    mobile_first, landline = examine(f"{A}/010-88886666")
    assert mobile_first == A
    assert isinstance(landline, Refusal)
    assert landline.reason is Exclusion.LANDLINE


def test_several_numbers_are_no_single_mobile() -> None:
    with pytest.raises(BadRecipient, match="more than one"):
        normalise(f"{A}/{B}")


@given(any_mobile)
def test_what_the_oracle_calls_a_chinese_mobile_is_accepted_in_each_of_its_formats(number: str) -> None:
    parsed = phonenumbers.parse(number, "CN")
    assume(phonenumbers.number_type(parsed) == phonenumbers.PhoneNumberType.MOBILE)
    assert phonenumbers.is_valid_number(parsed)
    for style in (
        phonenumbers.PhoneNumberFormat.E164,
        phonenumbers.PhoneNumberFormat.INTERNATIONAL,
        phonenumbers.PhoneNumberFormat.NATIONAL,
    ):
        assert examine(phonenumbers.format_number(parsed, style)) == (number,)


FOREIGN_EXAMPLES = {
    region: phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
    for region in sorted(phonenumbers.SUPPORTED_REGIONS - {"CN"})
}


@pytest.mark.parametrize(
    "example", [pytest.param(number, id=region) for region, number in FOREIGN_EXAMPLES.items() if number]
)
def test_a_foreign_mobile_in_international_form_is_never_taken_for_a_mainland_one(
    example: phonenumbers.PhoneNumber,
) -> None:
    (verdict,) = examine(phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.INTERNATIONAL))
    assert isinstance(verdict, Refusal)
    assert verdict.reason in (Exclusion.FOREIGN, Exclusion.INVALID)


@given(
    st.sampled_from(["10", "20", "21", "22", "25", "28", "311", "512", "571", "755", "791", "898", "991"]),
    st.integers(2 * 10**6, 9 * 10**7 - 1).map(str),
)
def test_what_the_oracle_calls_a_landline_is_called_so(area: str, subscriber: str) -> None:
    parsed = phonenumbers.parse(f"+86{area}{subscriber}")
    assume(phonenumbers.is_valid_number(parsed))
    assume(phonenumbers.number_type(parsed) == phonenumbers.PhoneNumberType.FIXED_LINE)
    for style in (
        phonenumbers.PhoneNumberFormat.E164,
        phonenumbers.PhoneNumberFormat.INTERNATIONAL,
        phonenumbers.PhoneNumberFormat.NATIONAL,
    ):
        (verdict,) = examine(phonenumbers.format_number(parsed, style))
        assert isinstance(verdict, Refusal)
        assert verdict.reason is Exclusion.LANDLINE


@given(st.text())
def test_every_cell_gets_a_verdict_and_a_mobile_is_always_well_formed(cell: str) -> None:
    verdicts = examine(cell)
    assert verdicts
    for verdict in verdicts:
        assert isinstance(verdict, Refusal) or MOBILE.fullmatch(verdict)


@given(st.text(alphabet="0123456789+-() .86EeＥ１/、;'=\"\t\u200b", max_size=40))
def test_a_number_is_made_only_of_digits_that_stand_in_the_cell(cell: str) -> None:
    for verdict in examine(cell):
        if isinstance(verdict, str):
            digits = "".join(sign for sign in cell.translate(str.maketrans("１", "1")) if sign.isdigit())
            assert verdict in digits


@given(st.from_regex(_USUAL_LANDLINE, fullmatch=True))
def test_a_usual_landline_is_what_the_long_way_makes_of_it(cell: str) -> None:
    assert examine(cell) == (_verdict(cell),)
