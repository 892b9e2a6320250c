"""A campaign in figures: its state is computed from its batches, and every row is in one bucket."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cli.pages import summary_page
from engine.journal.port import CampaignCounts, CampaignRecord, ShortBatch, Tally
from engine.ledger.points import Points
from engine.ledger.summary import CampaignSummary, number, summarise
from engine.model import BatchState, CampaignState, Exclusion, PauseReason
from tests.numbers import mobiles

B, C, P = BatchState, CampaignState, PauseReason

RECORD = CampaignRecord(
    campaign_id=1,
    name="spring",
    account="key",
    profile="standard",
    order_key="order",
    plan_hash="plan",
    stored_state=C.RUNNING,
    reasons=(),
    detail="",
    rows=1000,
    extra=0,
    recipients=986,
    estimated=Decimal(986),
    sendable=None,
    created_at=datetime(2026, 3, 1, tzinfo=UTC),
)
COUNTS = CampaignCounts(
    excluded={Exclusion.INVALID: 3, Exclusion.DUPLICATE: 10, Exclusion.EMPTY: 1},
    states={B.ACCEPTED: Tally(batches=11, recipients=986)},
    charged=Decimal(986),
)
POINTS = Points(
    opening=Decimal(5000), topped_up=Decimal(0), remaining=Decimal(4014), unexplained=Decimal(0), intervals=()
)


def summary(
    *states: BatchState,
    stored: CampaignState = C.RUNNING,
    reasons: tuple[PauseReason, ...] = (),
    is_running: bool = False,
) -> CampaignSummary:
    counts = replace(COUNTS, states={state: Tally(batches=1, recipients=10) for state in states})
    record = replace(RECORD, stored_state=stored, reasons=reasons)
    return summarise(record, counts, POINTS, is_running=is_running)


def test_the_json_object_has_exactly_the_keys_of_the_contract() -> None:
    shown = summarise(RECORD, COUNTS, POINTS, is_running=False).as_json()
    delivery = shown.pop("delivery")
    assert set(delivery) == {"delivered", "undelivered", "unreported"}
    assert sum(delivery.values()) == 986
    assert shown == {
        "schema": 1,
        "campaign": "spring",
        "state": "finished",
        "reasons": [],
        "rows": 1000,
        "extra": 0,
        "excluded": {"invalid": 3, "duplicate": 10, "opted_out": 0, "empty": 1},
        "recipients": {
            "planned": 0,
            "in_flight": 0,
            "accepted": 986,
            "refused": 0,
            "in_doubt": 0,
            "cancelled": 0,
            "expired": 0,
        },
        "batches": {
            "planned": 0,
            "in_flight": 0,
            "accepted": 11,
            "refused": 0,
            "in_doubt": 0,
            "cancelled": 0,
            "expired": 0,
            "split": 0,
        },
        "points": {"opening": 5000, "estimated": 986, "charged": 986, "remaining": 4014, "unexplained": 0},
    }


def test_points_are_json_numbers_and_null_where_nobody_knows_them() -> None:
    unknown = Points(opening=None, topped_up=Decimal(0), remaining=None, unexplained=None, intervals=())
    counts = replace(COUNTS, charged=Decimal("98.6"))
    points = summarise(RECORD, counts, unknown, is_running=False).as_json()["points"]
    told = '{"opening": null, "estimated": 986, "charged": 98.6, "remaining": null, "unexplained": null}'
    assert json.dumps(points) == told


@pytest.mark.parametrize(
    ("points", "shown"),
    [("5000", "5000"), ("5E+3", "5000"), ("0.5", "0.5"), ("-3", "-3"), ("98.60", "98.6"), ("0", "0"), ("-0", "0")],
)
def test_whole_points_are_shown_whole(points: str, shown: str) -> None:
    assert json.dumps(number(Decimal(points))) == shown


ENDED = [B.ACCEPTED, B.REFUSED, B.CANCELLED, B.EXPIRED, B.SPLIT]
OPEN = [B.PLANNED, B.CLAIMED, B.SUBMITTING]


@pytest.mark.parametrize("stored", [C.PLANNED, C.RUNNING, C.PAUSED])
@pytest.mark.parametrize("is_running", [False, True])
def test_finished_is_computed_from_the_batches(stored: CampaignState, is_running: bool) -> None:
    told = summary(*ENDED, stored=stored, reasons=(P.BALANCE,), is_running=is_running)
    assert (told.state, told.reasons) == (C.FINISHED, ())


@pytest.mark.parametrize("stored", [C.RUNNING, C.PAUSED])
@pytest.mark.parametrize("is_running", [False, True])
def test_with_nothing_left_but_doubts_a_campaign_is_paused_for_them(stored: CampaignState, is_running: bool) -> None:
    told = summary(B.IN_DOUBT, B.ACCEPTED, stored=stored, reasons=(P.BALANCE,), is_running=is_running)
    assert (told.state, told.reasons) == (C.PAUSED, (P.IN_DOUBT,))


@pytest.mark.parametrize("left", OPEN)
def test_a_running_campaign_without_a_process_was_stopped(left: BatchState) -> None:
    told = summary(left, B.ACCEPTED, B.IN_DOUBT)
    assert (told.state, told.reasons) == (C.PAUSED, (P.STOPPED,))


@pytest.mark.parametrize("left", OPEN)
def test_a_running_campaign_with_a_process_runs(left: BatchState) -> None:
    assert summary(left, is_running=True).state is C.RUNNING


@pytest.mark.parametrize("reasons", [(P.BALANCE,), (P.CREDENTIALS, P.DOUBTS), (P.LIMIT,)])
@pytest.mark.parametrize("is_running", [False, True])
def test_a_pause_keeps_its_reasons_while_something_is_left(reasons: tuple[PauseReason, ...], is_running: bool) -> None:
    told = summary(B.PLANNED, B.IN_DOUBT, stored=C.PAUSED, reasons=reasons, is_running=is_running)
    assert (told.state, told.reasons) == (C.PAUSED, reasons)


def test_a_planned_campaign_is_planned() -> None:
    assert summary(B.PLANNED, stored=C.PLANNED).state is C.PLANNED


def test_a_cancelled_campaign_is_cancelled_whatever_came_of_its_batches() -> None:
    assert summary(B.CANCELLED, B.ACCEPTED, B.IN_DOUBT, stored=C.CANCELLED).state is C.CANCELLED


def test_what_a_killed_process_had_claimed_is_planned() -> None:
    told = summary(B.CLAIMED, B.SUBMITTING, is_running=False)
    assert (told.recipients["planned"], told.recipients["in_flight"]) == (10, 10)
    assert (told.batches["planned"], told.batches["in_flight"]) == (1, 1)


def test_claimed_and_submitting_are_both_in_flight() -> None:
    told = summary(B.CLAIMED, B.SUBMITTING, is_running=True)
    assert told.recipients["in_flight"] == 20
    assert told.batches["in_flight"] == 2


def test_a_reason_to_exclude_is_shown_when_it_occurs_and_four_of_them_always() -> None:
    counts = replace(COUNTS, excluded={Exclusion.LANDLINE: 2})
    shown = summarise(RECORD, counts, POINTS, is_running=False).as_json()["excluded"]
    assert shown == {"invalid": 0, "duplicate": 0, "opted_out": 0, "empty": 0, "landline": 2}


BUCKETS = st.dictionaries(st.sampled_from([s for s in B if s is not B.SPLIT]), st.integers(1, 10**6))


@settings(deadline=None)
@given(
    recipients=BUCKETS,
    excluded=st.dictionaries(st.sampled_from(Exclusion), st.integers(1, 10**6)),
    extra=st.integers(0, 9),
)
def test_every_row_is_in_exactly_one_bucket(
    recipients: dict[BatchState, int], excluded: dict[Exclusion, int], extra: int
) -> None:
    whole = sum(recipients.values()) + sum(excluded.values())
    record = replace(RECORD, rows=max(0, whole - extra), extra=min(extra, whole))
    counts = CampaignCounts(
        excluded=excluded,
        states={state: Tally(batches=1, recipients=n) for state, n in recipients.items()},
        charged=Decimal(0),
    )
    told = summarise(record, counts, POINTS, is_running=False)
    assert told.adds_up
    shown = told.as_json()
    assert sum(shown["excluded"].values()) + sum(shown["recipients"].values()) == shown["rows"] + shown["extra"]
    for state in recipients:
        lost = replace(counts, states={s: tally for s, tally in counts.states.items() if s is not state})
        assert not summarise(record, lost, POINTS, is_running=False).adds_up


@pytest.mark.parametrize(
    ("short", "lines", "words"),
    [
        ((None, None), None, "who they are, the delivery reports tell in time; nothing is sent again"),
        (
            (None, (12, 3)),
            (3, 12),
            "2  of those batches have no report, and none is waited for any more: list line 3, 12",
        ),
        (((), ()), (), None),
    ],
)
def test_whom_a_short_count_left_out_is_said_when_no_report_is_waited_for(
    short: tuple[tuple[int, ...] | None, ...], lines: tuple[int, ...] | None, words: str | None
) -> None:
    batches = [
        ShortBatch(
            seq=seq,
            lacking=2,
            unreported=None if told is None else (mobiles(1, seed=1)[0],) * len(told),
            lines=told or (),
        )
        for seq, told in enumerate(short)
    ]
    told = summarise(RECORD, replace(COUNTS, shortfall=4), POINTS, is_running=False, short=batches)
    assert told.left_out == lines
    page = " ".join(summary_page(told).split())
    assert "not counted 4 the gateway's success counts are lower" in page
    assert "1380013" not in page
    if words is None:
        assert "no report" not in page
    else:
        assert " ".join(words.split()) in page


def test_a_split_batch_does_not_count_its_recipients_twice() -> None:
    states = {B.SPLIT: Tally(batches=1, recipients=986), B.ACCEPTED: Tally(batches=2, recipients=986)}
    told = summarise(RECORD, replace(COUNTS, states=states), POINTS, is_running=False)
    assert told.adds_up
    assert told.batches["split"] == 1
