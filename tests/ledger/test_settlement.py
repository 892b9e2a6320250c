"""When the balance settles a doubt, and when it waits: chains drawn by hand."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from engine.ledger import explaining
from engine.ledger.evidence import AttemptKey, Finding, Source, Standing, operator_word
from engine.ledger.settlement import settle
from tests.ledger.drawn import PRELUDE, Row, findings, flying, lost, quiet, read, settled, stretch, told
from tests.ledger.histories import moment

TAKEN, NOT_TAKEN, OPEN = Finding.TAKEN, Finding.NOT_TAKEN, Finding.OPEN


def test_a_gap_that_fits_one_doubt_alone_proves_it_taken() -> None:
    settlement = settled(*PRELUDE, lost(4, 97, 4, 4.5), lost(5, 96, 4, 4.5), told(6, 95, 5, 5.5, 9_511))
    assert findings(settlement) == {4: TAKEN, 5: OPEN}
    assert "lacks 97 points" in settlement.verdicts[0].evidence
    assert settlement.gaps[0].taken_by == (AttemptKey(batch_id=4, number=1),)


def test_what_no_gap_can_hold_was_not_taken() -> None:
    settlement = settled(*PRELUDE, lost(4, 97, 4, 4.5), told(5, 96, 5, 5.5, 9_607), *quiet(9_607))
    assert findings(settlement) == {4: NOT_TAKEN}
    assert "no charge is missing" in settlement.verdicts[0].evidence


def test_that_no_charge_is_missing_proves_nothing_of_what_may_be_charged_later() -> None:
    doubt = replace(lost(4, 97, 4, 4.5), scheduled=True)
    rows = [*PRELUDE, doubt, told(5, 96, 5, 5.5, 9_607), *quiet(9_607)]
    settlement = settled(*rows)
    assert findings(settlement) == {4: OPEN}
    assert "no answer shows that the gateway charges what it sends later" in settlement.verdicts[0].evidence
    assert findings(settled(*rows, charges_when_taken=True)) == {4: NOT_TAKEN}
    gap = [*PRELUDE, doubt, told(5, 95, 5, 5.5, 9_511)]
    assert findings(settled(*gap)) == {4: TAKEN}  # it is missing, so it was charged


def test_the_balance_says_nothing_while_what_was_handed_over_before_may_be_charged() -> None:
    rows = [*PRELUDE, lost(4, 97, 4, 4.5), lost(5, 96, 4, 4.5), told(6, 95, 5, 5.5, 9_511), *quiet(9_511)]
    due = replace(stretch(*rows), fell_due=True)
    assert findings(settle(due)) == {4: OPEN, 5: OPEN}
    assert "scheduled messages" in (settle(due).off or "")
    known = replace(due, policy=replace(due.policy, charges_when_taken=True))
    assert findings(settle(known)) == {4: TAKEN, 5: NOT_TAKEN}


def test_a_gap_explained_by_another_clears_the_doubt() -> None:
    rows = [*PRELUDE, lost(4, 97, 4, 4.5), lost(5, 96, 4, 4.5), told(6, 95, 5, 5.5, 9_511), *quiet(9_511)]
    settlement = settled(*rows)
    assert findings(settlement) == {4: TAKEN, 5: NOT_TAKEN}
    assert "batch 4 of spring" in settlement.verdicts[1].evidence


def test_two_doubts_of_one_size_and_one_gap_stay_open() -> None:
    rows = [*PRELUDE, lost(4, 97, 4, 4.5), lost(5, 97, 4, 4.5), told(6, 95, 5, 5.5, 9_511), *quiet(9_511)]
    assert findings(settled(*rows)) == {4: OPEN, 5: OPEN}


def test_two_doubts_of_one_size_and_two_such_gaps_were_both_taken() -> None:
    rows = [*PRELUDE, lost(4, 97, 4, 7), lost(5, 97, 4, 7), told(6, 95, 5, 5.5, 9_511), told(7, 94, 6, 6.5, 9_320)]
    assert findings(settled(*rows, *quiet(9_320))) == {4: TAKEN, 5: TAKEN}


def test_sums_are_counted() -> None:
    # 193 are missing: 97 + 96, or 103 + 90.
    rows = [*PRELUDE, lost(4, 97, 4, 4.5), lost(5, 96, 4, 4.5), told(6, 95, 5, 5.5, 9_415), *quiet(9_415)]
    assert findings(settled(*rows)) == {4: TAKEN, 5: TAKEN}
    rivals = [lost(7, 103, 4, 4.5), lost(8, 90, 4, 4.5)]
    assert set(findings(settled(*rows, *rivals)).values()) == {OPEN}


def test_a_part_that_every_sum_has_still_waits_for_the_whole_to_be_certain() -> None:
    # 197 are missing: 97 with the one or the other of 100.
    rows = [*PRELUDE, lost(4, 97, 4, 4.5), lost(5, 100, 4, 4.5), lost(6, 100, 4, 4.5), told(7, 95, 5, 5.5, 9_411)]
    assert findings(settled(*rows, *quiet(9_411))) == {4: OPEN, 5: OPEN, 6: OPEN}


def test_what_is_in_flight_may_be_the_gap() -> None:
    rows = [*PRELUDE, lost(4, 97, 4, 4.5), told(6, 95, 5, 5.5, 9_511)]
    assert findings(settled(*rows)) == {4: TAKEN}
    assert findings(settled(*rows, flying(7, 97, 4.2))) == {4: OPEN}
    assert findings(settled(*rows, flying(7, 97, 6))) == {4: TAKEN}  # sent after the gap had closed
    assert findings(settled(*rows, flying(7, 50, 4.2), flying(8, 47, 4.2))) == {4: OPEN}


def test_a_stranger_is_cleared_where_the_filling_charge_is_certain_and_its_batch_is_not() -> None:
    rows = [*PRELUDE, *(lost(n, 97, 4, 4.5) for n in (4, 5)), lost(6, 90, 4, 4.5), told(7, 95, 5, 5.5, 9_511)]
    assert findings(settled(*rows, *quiet(9_511))) == {4: OPEN, 5: OPEN, 6: NOT_TAKEN}


def test_a_stranger_waits_where_several_sums_fit() -> None:
    sizes = {4: 60, 5: 37, 6: 50, 7: 47, 8: 90}
    rows = [*PRELUDE, *(lost(n, size, 4, 4.5) for n, size in sizes.items()), told(9, 95, 5, 5.5, 9_511)]
    assert findings(settled(*rows, *quiet(9_511)))[8] is OPEN


def test_a_doubt_outside_the_bracket_is_no_candidate() -> None:
    rows = [*PRELUDE, lost(4, 97, 4, 4.5), told(5, 96, 5, 5.5, 9_607), lost(6, 97, 6, 6.5), told(7, 95, 7, 7.5, 9_415)]
    assert findings(settled(*rows, *quiet(9_415))) == {4: NOT_TAKEN, 6: TAKEN}


def test_a_timed_out_request_may_be_taken_after_giving_up() -> None:
    rows = [*PRELUDE, lost(4, 97, 4, 4.5, late=True), told(5, 96, 5, 5.5, 9_607), lost(6, 97, 6, 6.5)]
    rows.append(told(7, 95, 7, 7.5, 9_415))
    assert findings(settled(*rows, *quiet(9_415))) == {4: OPEN, 6: OPEN}
    assert findings(settled(*rows, *quiet(9_415), min_age_s=0.4)) == {4: NOT_TAKEN, 6: TAKEN}


def test_a_request_cut_off_is_worked_on_for_as_long_as_the_slowest_answer_took() -> None:
    slow = told(8, 94, 3.2, 7.2, 9_416)
    rows = [*PRELUDE, lost(4, 97, 4, 4.5), told(5, 96, 5, 5.5, 9_607), lost(6, 97, 6, 6.5), slow]
    assert findings(settled(*rows, *quiet(9_416))) == {4: OPEN, 6: OPEN}


def test_patience_is_counted_from_giving_up() -> None:
    rows = [*PRELUDE, lost(4, 97, 4, 30), told(5, 96, 31, 31.5, 9_607), told(6, 95, 41, 41.5, 9_512)]
    assert findings(settled(*rows, now=41.6)) == {4: NOT_TAKEN}
    early = settled(*rows[:-1], now=39)
    assert findings(early) == {4: OPEN}
    assert "may still be taken until 2026-03-01 08:00:40.00Z" in early.verdicts[0].evidence


def test_the_evidence_must_be_younger_than_the_patience() -> None:
    rows = [*PRELUDE, lost(4, 97, 4, 4.5), told(5, 96, 5, 5.5, 9_607), *quiet(9_607, at=6)]
    waiting = settled(*rows)
    assert findings(waiting) == {4: OPEN}
    assert "after 2026-03-01 08:00:14.50Z" in waiting.verdicts[0].evidence
    assert findings(settled(*rows, *quiet(9_607, at=20))) == {4: NOT_TAKEN}


def test_without_a_bottom_edge_nothing_is_not_taken() -> None:
    assert findings(settled(*PRELUDE, lost(4, 97, 4, 4.5))) == {4: OPEN}


def test_one_reading_alone_is_no_bottom_edge() -> None:
    rows = [*PRELUDE, lost(4, 97, 4, 4.5)]
    assert findings(settled(*rows, read(100, 9_703))) == {4: OPEN}
    assert findings(settled(*rows, read(100, 9_703), read(104, 9_703))) == {4: OPEN}  # too close
    assert findings(settled(*rows, read(100, 9_703), read(106, 9_703))) == {4: NOT_TAKEN}


def test_a_reading_while_something_is_in_flight_is_not_quiet() -> None:
    rows = [*PRELUDE, lost(4, 97, 4, 4.5), *quiet(9_703)]
    assert findings(settled(*rows, flying(5, 50, 3.6))) == {4: OPEN}
    assert findings(settled(*rows, told(5, 50, 103, 120, 9_653))) == {4: NOT_TAKEN}  # its own answer is the edge
    assert findings(settled(*rows, lost(5, 50, 103, 120)))[4] is OPEN


def test_readings_that_differ_are_not_quiet() -> None:
    rows = [*PRELUDE, lost(4, 97, 4, 4.5, late=True), lost(5, 96, 4, 4.5, late=True)]
    assert findings(settled(*rows, read(100, 9_703), read(106, 9_606)))[5] is OPEN


def test_a_quiet_reading_shows_the_gap_at_the_bottom() -> None:
    rows = [*PRELUDE, lost(4, 97, 4, 4.5), lost(5, 96, 4, 4.5)]
    assert findings(settled(*rows, *quiet(9_606))) == {4: TAKEN, 5: NOT_TAKEN}


def test_a_doubt_from_before_the_first_balance_is_left_to_reports() -> None:
    rows = [lost(9, 97, -5, -4), *PRELUDE, *quiet(9_703)]
    settlement = settled(*rows)
    assert findings(settlement) == {9: OPEN}
    assert "before the first known balance" in settlement.verdicts[0].evidence


def test_a_report_that_proves_one_batch_explains_its_gap() -> None:
    pair = [lost(4, 97, 4, 4.5, standing=Standing.REPORTED), lost(5, 97, 4, 4.5)]
    rows = [*PRELUDE, *pair, told(6, 95, 5, 5.5, 9_511), *quiet(9_511)]
    assert findings(settled(*rows)) == {5: NOT_TAKEN}


def test_a_reported_batch_without_a_place_in_the_balance_switches_the_chain_off() -> None:
    pair = [lost(4, 97, 4, 4.5, standing=Standing.REPORTED), lost(5, 96, 4, 4.5)]
    settlement = settled(*PRELUDE, *pair, told(6, 95, 5, 5.5, 9_608), *quiet(9_608))
    assert settlement.off is not None
    assert findings(settlement) == {5: OPEN}


def test_a_reported_batch_below_the_last_known_balance_contradicts_nothing() -> None:
    settlement = settled(*PRELUDE, lost(4, 97, 4, 4.5, standing=Standing.REPORTED), lost(5, 96, 4, 4.5))
    assert settlement.off is None
    assert findings(settlement) == {5: OPEN}


def test_an_operators_word_binds_nobody_else() -> None:
    pair = [lost(4, 97, 4, 4.5, standing=Standing.ASSUMED), lost(5, 97, 4, 4.5)]
    rows = [*PRELUDE, *pair, told(6, 95, 5, 5.5, 9_511), *quiet(9_511)]
    assert findings(settled(*rows)) == {5: OPEN}


def test_an_answer_without_a_balance_explains_its_gap() -> None:
    rows: list[Row] = [*PRELUDE, lost(4, 97, 4, 4.5), told(5, 97, 4, 4.5, None), told(6, 95, 5, 5.5, 9_511)]
    assert findings(settled(*rows, *quiet(9_511))) == {4: NOT_TAKEN}
    assert findings(settled(*rows[:-1], told(6, 95, 5, 5.5, 9_414), *quiet(9_414))) == {4: TAKEN}


SHORT = told(3, 98, 3, 3.5, 9_706, charge=95)
"""In place of the third of the prelude: three numbers were not counted. The balance stands at 9,706."""


def test_after_a_short_count_a_gap_fits_every_batch_that_is_large_enough() -> None:
    rows = [*PRELUDE[:-1], SHORT, lost(4, 97, 4, 4.5), lost(5, 99, 4, 4.5), told(6, 95, 5, 5.5, 9_514)]
    assert findings(settled(*rows, *quiet(9_514))) == {4: OPEN, 5: OPEN}


def test_with_short_counts_a_stranger_waits_until_the_gap_has_its_batch() -> None:
    rows = [*PRELUDE[:-1], SHORT, lost(4, 97, 4, 4.5), lost(5, 99, 4, 4.5), lost(6, 90, 4, 4.5)]
    assert findings(settled(*rows, told(7, 95, 5, 5.5, 9_514), *quiet(9_514)))[6] is OPEN


def test_a_smaller_batch_never_fills_a_larger_gap() -> None:
    rows = [*PRELUDE[:-1], SHORT, lost(4, 97, 4, 4.5), lost(5, 90, 4, 4.5), told(6, 95, 5, 5.5, 9_514)]
    assert findings(settled(*rows, *quiet(9_514))) == {4: TAKEN, 5: NOT_TAKEN}


def test_a_shortfall_beyond_the_bound_is_not_believed() -> None:
    rows = [*PRELUDE[:-1], SHORT, lost(4, 97, 4, 4.5), lost(5, 99, 4, 4.5)]
    assert (
        findings(settled(*rows, told(6, 95, 5, 5.5, 9_529), short_bound=5))[4] is OPEN
    )  # 82: within 4 times 3 of none
    assert settled(*rows, told(6, 95, 5, 5.5, 9_529), short_bound=5).off is not None
    assert settled(*rows, told(6, 95, 5, 5.5, 9_529), short_bound=20).off is None


def test_the_worst_shortfall_seen_widens_the_bound() -> None:
    worse = told(3, 98, 3, 3.5, 9_711, charge=90)  # eight lacking: thirty-two are plausible
    rows = [*PRELUDE[:-1], worse, lost(4, 97, 4, 4.5), told(5, 95, 5, 5.5, 9_550)]  # 66 are missing
    assert findings(settled(*rows, short_bound=5)) == {4: TAKEN}


def test_the_profile_can_say_that_short_counts_happen() -> None:
    rows = [*PRELUDE, lost(4, 97, 4, 4.5), lost(5, 99, 4, 4.5), told(6, 95, 5, 5.5, 9_511), *quiet(9_511)]
    assert findings(settled(*rows)) == {4: TAKEN, 5: NOT_TAKEN}
    assert findings(settled(*rows, short_counts=True)) == {4: OPEN, 5: OPEN}


def test_until_enough_answers_were_whole_short_counts_are_possible() -> None:
    rows = [*PRELUDE, lost(4, 97, 4, 4.5), lost(5, 99, 4, 4.5), told(6, 95, 5, 5.5, 9_511), *quiet(9_511)]
    assert findings(settled(*rows, whole_answers_needed=5)) == {4: OPEN, 5: OPEN}
    assert findings(settled(*rows, whole_answers_needed=4)) == {4: TAKEN, 5: NOT_TAKEN}


def test_too_many_doubts_at_once_stay_open_and_say_so() -> None:
    crowd = [lost(10 + n, 50 + n, 4, 4.5) for n in range(explaining.MOST_CANDIDATES + 6)]
    rows = [*PRELUDE, *crowd, told(6, 95, 5, 5.5, 9_608 - 50 - 61 - 72), *quiet(9_608 - 50 - 61 - 72)]
    settlement = settled(*rows)
    assert set(findings(settlement).values()) == {OPEN}
    assert "too many batches are in doubt at once" in settlement.verdicts[0].evidence


def test_a_search_that_runs_out_of_steps_guesses_nothing() -> None:
    pieces = [explaining.Piece(least=97, most=97)] * 2
    places = [{0, 1, explaining.NOWHERE}] * 2
    whole = explaining.explain([97, 97], pieces, places)
    assert whole.places == (frozenset({0, 1}),) * 2
    cut = explaining.explain([97, 97], pieces, places, most_steps=1)
    assert cut.places == (frozenset({0, 1, explaining.NOWHERE}),) * 2
    assert cut.cut_short == {0, 1}


def test_an_operators_word_is_evidence_with_a_name() -> None:
    key = AttemptKey(batch_id=7, number=2)
    verdict = operator_word(key, taken=False, by="li", reason="the vendor's console shows nothing", at=moment(0))
    assert (verdict.key, verdict.finding, verdict.source) == (key, NOT_TAKEN, Source.OPERATOR)
    assert verdict.evidence == "li assumed it not taken at 2026-03-01 08:00:00.00Z: the vendor's console shows nothing"


def test_fractions_of_a_point_are_exact() -> None:
    rows: list[Row] = [read(0, 100)]
    left = Decimal(100)
    for n in range(1, 5):
        left -= Decimal("0.08") * (30 + n)
        rows.append(told(n, 30 + n, n, n + 0.5, float(left), charge=float(Decimal("0.08") * (30 + n))))
    settlement = settled(*rows, lost(5, 10, 6, 6.5), *quiet(float(left)))
    assert findings(settlement) == {5: NOT_TAKEN}
