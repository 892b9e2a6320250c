"""The end state of reports knows no order, no repetition and no delay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, insert, select

from engine.gateway.polls import ReportState
from engine.journal.opening import _writing_engine
from engine.journal.port import ReportLine
from engine.journal.schema import metadata, poll, report
from engine.journal.tracking import join_reports
from tests.numbers import mobiles

START = datetime(2026, 3, 1, tzinfo=UTC)
NUMBERS = mobiles(3)
RANKS = [ReportState.DELIVERED, ReportState.UNDELIVERED, ReportState.INTERIM, ReportState.UNKNOWN]

lines = st.builds(
    ReportLine,
    task_id=st.sampled_from(["", "93390617"]),
    mobile=st.sampled_from(NUMBERS),
    state=st.sampled_from(list(ReportState)),
    received_at=st.none() | st.integers(0, 2).map(lambda minutes: START + timedelta(minutes=minutes)),
    status=st.sampled_from(["10", "20"]),
    error_code=st.sampled_from(["", "DELIVRD", "MK:0011"]),
)


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path: Path = tmp_path_factory.mktemp("joining") / "xinshi.db"
    engine = _writing_engine(path, 2)
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(poll).values(id=1, account="a", kind="report", asked_at=START))
    yield engine
    engine.dispose()


def ending(journal: Engine, stretches: list[list[ReportLine]]) -> list[tuple[Any, ...]]:
    """What is in the journal after these stretches, each a commit."""
    with journal.begin() as connection:
        connection.execute(report.delete())
    for stretch in stretches:
        with journal.begin() as connection:
            join_reports(connection, [("a", 1, stretch)])
    with journal.connect() as connection:
        return sorted(map(tuple, connection.execute(select(report))), key=repr)


def best(told: list[ReportLine]) -> dict[tuple[str, str], ReportState]:
    """The model: the best state of every key."""
    states: dict[tuple[str, str], ReportState] = {}
    for line in told:
        before = states.get((line.task_id, line.mobile), ReportState.UNKNOWN)
        states[line.task_id, line.mobile] = min(before, line.state, key=RANKS.index)
    return states


def _line(state: ReportState, minutes: int) -> ReportLine:
    return ReportLine("93390617", NUMBERS[0], state, START + timedelta(minutes=minutes), "10", "")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=st.lists(lines, max_size=12), shuffle=st.randoms(use_true_random=False), cuts=st.integers(1, 5))
@example(told=[_line(s, m) for s in RANKS for m in (0, 1)], shuffle=__import__("random").Random(1), cuts=3)
def test_any_permutation_repetition_and_grouping_ends_alike(
    journal: Engine, told: list[ReportLine], shuffle: Any, cuts: int
) -> None:
    expected = ending(journal, [told])
    again = [*told, *told]
    shuffle.shuffle(again)
    assert ending(journal, [again[at::cuts] for at in range(cuts)]) == expected
    assert {(task, mobile): ReportState(state) for _, task, mobile, state, *_ in expected} == best(told)


def test_delivered_wins_over_undelivered_and_interim_is_not_final(journal: Engine) -> None:
    told = [
        _line(ReportState.DELIVERED, 9), _line(ReportState.UNDELIVERED, 1), _line(ReportState.INTERIM, 0)
    ]  # fmt: skip
    ((*_, state, at, _, _, _),) = ending(journal, [told])
    assert (state, at) == ("delivered", START + timedelta(minutes=9))
    ((*_, state, _, _, _, _),) = ending(journal, [told[1:]])
    assert state == "undelivered"


def test_a_report_told_again_changes_nothing(journal: Engine) -> None:
    told = [_line(ReportState.DELIVERED, 0), _line(ReportState.UNDELIVERED, 0)]
    ending(journal, [told])
    with journal.begin() as connection:
        assert join_reports(connection, [("a", 1, told)]) == [0]
