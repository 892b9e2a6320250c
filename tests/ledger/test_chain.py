"""What switches the balance chain off, and how its gaps are bracketed: chains drawn by hand."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest

from engine.ledger.chain import read_chain
from engine.ledger.evidence import Finding
from tests.ledger.drawn import PRELUDE, findings, flying, lost, quiet, read, settled, stretch, told
from tests.ledger.histories import moment

DOUBT = lost(4, 97, 4, 4.5)
AFTER = told(5, 96, 5, 5.5, 9_510)  # 9,703 − 97 − 96: the doubt was taken


def test_answers_that_tile_leave_no_gap() -> None:
    chain = read_chain(stretch(*PRELUDE, *quiet(9_703)))
    assert (chain.off, chain.gaps, chain.price) == (None, (), Fraction(1))


def test_a_gap_is_bracketed_by_its_neighbours() -> None:
    (gap,) = read_chain(stretch(*PRELUDE, DOUBT, AFTER)).gaps
    assert (gap.points, gap.begin, gap.end) == (Decimal(97), moment(3), moment(5.5))


def test_a_slow_answer_further_up_does_not_narrow_a_gap() -> None:
    slow = told(1, 100, 1, 60, 9_900)
    (gap,) = read_chain(stretch(PRELUDE[0], slow, *PRELUDE[2:], DOUBT, AFTER)).gaps
    assert (gap.begin, gap.end) == (moment(3), moment(5.5))


@pytest.mark.parametrize(
    ("policy", "word"),
    [
        ({"prepaid": False}, "postpaid"),
        ({"exclusive": False}, "shared"),
        ({"remainpoint_meaningful": False}, "means nothing"),
        ({"refunds": True}, "gives points back"),
    ],
)
def test_an_account_whose_balance_proves_nothing_has_no_chain(policy: dict[str, bool], word: str) -> None:
    settlement = settled(*PRELUDE, DOUBT, AFTER, **policy)
    assert findings(settlement) == {4: Finding.OPEN}
    assert settlement.off is not None
    assert word in settlement.off
    assert word in settlement.verdicts[0].evidence
    assert word in settlement.drawing[0]


def test_unknown_words_for_prepaid_leave_it_to_the_tiling() -> None:
    assert findings(settled(*PRELUDE, DOUBT, AFTER, prepaid=None)) == {4: Finding.TAKEN}


def test_fewer_than_three_tiled_neighbours_are_not_believed() -> None:
    two = PRELUDE[:3]
    settlement = settled(*two, lost(4, 97, 4, 4.5), told(5, 96, 5, 5.5, 9_608))
    assert settlement.off is not None
    assert "3 are needed" in settlement.off
    assert findings(settlement) == {4: Finding.OPEN}


def test_overlapping_intervals_switch_it_off() -> None:
    # Two answers that both tell the balance after both charges.
    settlement = settled(*PRELUDE, DOUBT, told(5, 50, 5, 6, 9_553), told(6, 50, 5, 6, 9_553), *quiet(9_553))
    assert settlement.off is not None
    assert "overlap" in settlement.off


def test_an_overlap_among_doubts_switches_it_off_too() -> None:
    flight = flying(9, 60, 0.5)  # so that no neighbours are undisturbed
    settlement = settled(*PRELUDE, DOUBT, told(5, 50, 5, 6, 9_553), told(6, 40, 5, 6, 9_560), flight)
    assert settlement.off is not None
    assert "overlap" in settlement.off


def test_an_unexplained_step_switches_it_off() -> None:
    settlement = settled(*PRELUDE, told(4, 97, 50, 50.5, 9_600), DOUBT, told(6, 95, 60, 60.5, 9_408), *quiet(9_408))
    assert settlement.off is not None
    assert "unexplained" in settlement.off or "missing" in settlement.off


def test_a_gap_that_no_candidate_fills_switches_it_off() -> None:
    settlement = settled(*PRELUDE, DOUBT, told(5, 96, 5, 5.5, 9_555))  # 52 are missing
    assert settlement.off is not None
    assert "unexplained" in settlement.off
    assert findings(settlement) == {4: Finding.OPEN}


def test_an_opening_that_differs_from_the_last_close_switches_it_off() -> None:
    settlement = settled(read(-1_000, 10_050), read(-990, 10_050), *PRELUDE, DOUBT, AFTER)
    assert settlement.off is not None
    assert "missing" in settlement.off or "unexplained" in settlement.off


def test_a_top_up_nobody_told_of_switches_it_off() -> None:
    settlement = settled(*PRELUDE, lost(4, 97, 4, 4.5), told(5, 96, 5, 5.5, 59_510), *quiet(59_510))
    assert settlement.off is not None
    assert findings(settlement) == {4: Finding.OPEN}


def test_a_top_up_that_hides_in_a_gap_shows_in_the_order() -> None:
    # 193 points came in unseen, so that a later charge of 97 lies where the doubt left its gap.
    settlement = settled(*PRELUDE, DOUBT, AFTER, told(6, 97, 20, 20.5, 9_606))
    assert settlement.off is not None
    assert "the balance rose" in settlement.off
    assert findings(settlement) == {4: Finding.OPEN}


def test_a_top_up_that_was_told_exactly_is_taken_out() -> None:
    rows = [read(0, 10_000, 20_000), *PRELUDE[1:], DOUBT, told(5, 96, 5, 5.5, 59_510)]
    settlement = settled(*rows, *quiet(59_510, bought=70_000))
    assert settlement.off is None
    assert findings(settlement) == {4: Finding.TAKEN}


def test_a_top_up_that_was_told_wrongly_blocks() -> None:
    rows = [read(0, 10_000, 20_000), *PRELUDE[1:], DOUBT, told(5, 96, 5, 5.5, 59_510)]
    settlement = settled(*rows, *quiet(59_510, bought=69_990))
    assert findings(settlement) == {4: Finding.OPEN}


def test_a_top_up_that_cannot_be_placed_blocks() -> None:
    # 40 points were bought at an unknown moment; with or without them every answer fits.
    rows = [read(0, 10_000, 20_000), *PRELUDE[1:], lost(4, 97, 4, 4.5), told(5, 96, 5, 5.5, 9_510)]
    settlement = settled(*rows, *quiet(9_510, bought=20_040))
    assert settlement.off is not None
    assert "a top-up cannot be told from" in settlement.off
    assert findings(settlement) == {4: Finding.OPEN}


def test_points_bought_that_become_fewer_switch_it_off() -> None:
    settlement = settled(read(0, 10_000, 500), *PRELUDE[1:], DOUBT, AFTER, *quiet(9_510, bought=400))
    assert settlement.off is not None
    assert "became fewer" in settlement.off


def test_a_vendor_that_tells_purchases_must_tell_them_until_the_gap_ends() -> None:
    rows = [read(0, 10_000, 20_000), *PRELUDE[1:], DOUBT, AFTER]
    assert findings(settled(*rows)) == {4: Finding.OPEN}  # 97 points may have been bought and spent meanwhile
    assert findings(settled(*rows, read(40, 9_510, 20_000))) == {4: Finding.TAKEN}


def test_a_purchase_may_hide_a_charge_until_the_vendor_tells_that_there_was_none() -> None:
    rows = [read(0, 10_000, 20_000), *PRELUDE[1:], DOUBT, told(5, 96, 5, 5.5, 9_607), told(6, 95, 30, 30.5, 9_512)]
    assert findings(settled(*rows)) == {4: Finding.OPEN}  # 97 points may have been bought beside it
    assert findings(settled(*rows, read(60, 9_512, 20_000))) == {4: Finding.NOT_TAKEN}


def test_a_refund_that_shows_switches_it_off() -> None:
    settlement = settled(*PRELUDE, told(4, 97, 4, 4.5, 9_609), lost(5, 96, 5, 5.5), *quiet(9_609))
    assert settlement.off is not None
    assert findings(settlement) == {5: Finding.OPEN}


def test_a_balance_in_the_answers_that_lags_switches_it_off() -> None:
    behind = [told(n, 101 - n, n, n + 0.5, 10_000 - sum(101 - m for m in range(1, n))) for n in range(1, 6)]
    settlement = settled(read(0, 10_000), *behind, lost(6, 50, 6, 6.5), *quiet(9_510))
    assert settlement.off is not None


def test_what_is_really_charged_is_learned_from_undisturbed_neighbours() -> None:
    rows = [read(0, 10_000)]
    left = 10_000
    for n in range(1, 5):
        left -= 2 * (101 - n)  # two points for each expected
        rows.append(told(n, 101 - n, n, n + 0.5, left))
    rows += [lost(5, 96, 5, 5.5), lost(6, 48, 5, 5.5), told(7, 95, 6, 6.5, left - 2 * 95 - 96)]
    settlement = settled(*rows, *quiet(left - 2 * 95 - 96))
    assert settlement.price == 2
    assert findings(settlement) == {5: Finding.NOT_TAKEN, 6: Finding.TAKEN}


def test_a_price_that_only_disturbed_neighbours_tell_is_not_learned() -> None:
    # Between every two answers an equal batch was lost, and taken: it looks like twice the price.
    rows = [read(0, 10_000)]
    for n in range(1, 6):
        rows += [lost(2 * n, 50, n, n + 0.4), told(2 * n + 1, 50, n, n + 0.5, 10_000 - 100 * n)]
    settlement = settled(*rows, *quiet(9_500))
    assert settlement.off is not None
    assert set(findings(settlement).values()) == {Finding.OPEN}


def test_prices_that_differ_switch_it_off() -> None:
    rows = [read(0, 10_000), told(1, 100, 1, 1.5, 9_900), told(2, 100, 2, 2.5, 9_800), told(3, 100, 3, 3.5, 9_600)]
    settlement = settled(*rows, lost(4, 97, 4, 4.5), *quiet(9_600))
    assert settlement.off is not None


def test_a_clock_that_was_set_back_switches_it_off() -> None:
    assert settled(*PRELUDE, replace(DOUBT, gave_up_at=moment(3)), AFTER).off is not None
    assert settled(*PRELUDE, DOUBT, AFTER, now=5).off is not None


def test_no_answer_and_no_reading_tell_nothing() -> None:
    assert findings(settled(DOUBT)) == {4: Finding.OPEN}
    assert settled().verdicts == ()


def test_the_chain_is_drawn_for_the_audit() -> None:
    drawing = "\n".join(settled(*PRELUDE, DOUBT, AFTER, *quiet(9_510)).drawing)
    assert "opening         10,000" in drawing
    assert "charged           -297  3 charges, batch 1 of spring to batch 3 of spring" in drawing
    assert "gap                -97  2026-03-01 08:00:03.00Z – 2026-03-01 08:00:05.50Z: explained by batch 4" in drawing
    assert "charged            -96  batch 5 of spring" in drawing
    assert "closing          9,510" in drawing


def test_a_chain_that_is_off_is_drawn_with_its_reason_and_overlaps() -> None:
    drawing = settled(*PRELUDE, told(4, 97, 4, 4.5, 9_609), *quiet(9_609)).drawing
    assert drawing[0].startswith("the chain is off: ")
    assert any(line.startswith("overlap              3") for line in drawing)
