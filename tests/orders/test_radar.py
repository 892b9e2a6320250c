"""Whom a list would reach again: everybody who may have been reached counts, nobody else, whatever is kept."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import IO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.gateway.polls import ReportState
from engine.intake import Lately, ReachedSet, Seen
from engine.intake.reached import ALIKE, ANY, Hours
from engine.journal.port import Conduct, PollAnswer, PollKind, PollRead, ReportLine
from engine.journal.reached import HOUR_US
from engine.journal.schema import attempt, microseconds
from engine.journal.store import SqlJournal
from engine.model import BatchState, Outcome, OutcomeKind
from engine.orders.radar import Cap, Sighting, cap_of, likeness, overlap_of, remember, sighted
from tests.journal.stores import ACCOUNT, START, TEXT, SqlitePlace, accepted, claimed, ended, intended, planned, taken

NOW = START + timedelta(hours=2)
SAME = [TEXT.content]
TASK = taken(1).task_id or ""


@pytest.fixture
def place(tmp_path: Path) -> SqlitePlace:
    return SqlitePlace(tmp_path)


@pytest.fixture
async def journal(place: SqlitePlace) -> AsyncIterator[SqlJournal]:
    async with place.open() as journal:
        yield journal


async def look(journal: SqlJournal, *, days: float = 7, cap: Cap | None = None, now: datetime = NOW) -> Sighting:
    return await sighted(journal, SAME, days=days, cap=cap, now=now, writes=None)


def reached(sighting: Sighting, mobiles: list[str]) -> list[str]:
    lately = Lately(sighting.sets)
    found = []
    for mobile in mobiles:
        seen = Seen()
        seen.add([mobile])
        found += [mobile] * lately.counted(seen.numbers).get(ANY, 0)
    return found


async def everybody(journal: SqlJournal, campaign_id: int) -> list[list[str]]:
    return [mobiles.split(",") for _, mobiles in await journal.held_numbers(campaign_id)]


async def test_who_may_have_been_reached_counts_and_who_surely_was_not_does_not(journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 2, 2, 2, 2, 3)
    one, two, three, four, five = await everybody(journal, campaign_id)
    claims = await claimed(journal, campaign_id)
    await accepted(journal, await intended(journal, claims[0]))
    doubt, refusal = Outcome(kind=OutcomeKind.IN_DOUBT), Outcome(kind=OutcomeKind.REFUSED)
    await ended(journal, await intended(journal, claims[1]), doubt, BatchState.IN_DOUBT)
    await ended(journal, await intended(journal, claims[2]), refusal, BatchState.REFUSED)
    await accepted(journal, await intended(journal, claims[4], omit=five[:1]))
    people = [*one, *two, *three, *four, *five]
    assert reached(await look(journal), people) == [*one, *two, *five[1:]]
    assert reached(await look(journal, days=0), people) == []
    assert reached(await look(journal, now=START + timedelta(days=8)), people) == []


@pytest.mark.parametrize("kept", [True, False])
async def test_whose_report_says_undelivered_was_not_reached_whatever_is_kept_when_it_comes(
    journal: SqlJournal, kept: bool
) -> None:
    campaign_id = await planned(journal, 4)
    (people,) = await everybody(journal, campaign_id)
    (claim,) = await claimed(journal, campaign_id)
    await accepted(journal, await intended(journal, claim))
    if kept:
        await remember(journal, campaign_id)
    poll_id = await journal.begin_poll(ACCOUNT, PollKind.REPORT, asked_at=NOW, most=None)
    answer = PollAnswer(at=NOW, http_status=200, charset=None, complete=True, body=b"<returnsms/>")
    await journal.keep_answer(poll_id, answer)
    states = (ReportState.DELIVERED, ReportState.UNDELIVERED, ReportState.INTERIM)
    told = [ReportLine(TASK, who, state, NOW, "", "") for who, state in zip(people[:3], states, strict=True)]
    elsewhere = ReportLine("another", people[3], ReportState.UNDELIVERED, NOW, "", "")
    await journal.apply_poll(ACCOUNT, poll_id, PollRead(at=NOW, records=4, reports=[*told, elsewhere]))
    assert reached(await look(journal), people) == [people[0], *people[2:]]
    capped = await look(journal, days=0, cap=Cap(messages=1, hours=24))
    assert [int(who) in Lately(capped.sets, most=1).enough for who in people] == [True, False, True, True]
    better = told[1]._replace(state=ReportState.DELIVERED)
    await journal.apply_poll(ACCOUNT, poll_id, PollRead(at=NOW, records=1, reports=[better]))
    assert reached(await look(journal), people) == people


async def test_what_the_gateway_sends_later_reaches_people_then(journal: SqlJournal) -> None:
    at = START + timedelta(days=10)
    campaign_id = await planned(journal, 2, 2)
    await journal.set_conduct(campaign_id, Conduct(scheduled_for=at))
    ones, others = await everybody(journal, campaign_id)
    first, second = await claimed(journal, campaign_id)
    await accepted(journal, await intended(journal, first, scheduled_for=at))
    for kept in (False, True):
        if kept:
            await accepted(journal, await intended(journal, second, scheduled_for=at))
            await remember(journal, campaign_id)
        everyone = ones + others if kept else ones
        assert reached(await look(journal, now=START + timedelta(days=15)), ones + others) == everyone
        assert reached(await look(journal, now=START + timedelta(days=18)), ones + others) == []


async def test_a_campaign_that_is_over_is_kept_and_made_again_when_it_grows(
    journal: SqlJournal, place: SqlitePlace
) -> None:
    campaign_id = await planned(journal, 3)
    (people,) = await everybody(journal, campaign_id)
    await remember(journal, campaign_id)
    assert place.rows("SELECT * FROM reached") == []  # it is not over
    (claim,) = await claimed(journal, campaign_id)
    await accepted(journal, await intended(journal, claim))
    await remember(journal, campaign_id)
    kept = await look(journal)
    assert len(place.rows("SELECT hour FROM reached WHERE hour > 0")) == 1
    assert reached(kept, people) == people
    place.alter("DELETE FROM reached")
    assert await look(journal) == kept
    await remember(journal, campaign_id)
    place.alter("UPDATE campaign SET recipients = recipients + 5")
    assert await look(journal) == kept
    ((row,)) = place.rows("SELECT count(*) AS n FROM reached WHERE hour > 0")
    assert row["n"] == 1


def set_of(people: list[list[str]]) -> bytes:
    hours = Hours()
    hours.add(1, [who for each in people for who in each])
    ((_, numbers),) = hours.packed()
    return numbers


async def test_who_planned_a_campaign_that_went_within_an_hour_tells_whom_it_reached(
    journal: SqlJournal, place: SqlitePlace
) -> None:
    campaign_id = await planned(journal, 2, 3)
    people = await everybody(journal, campaign_id)
    for claim in await claimed(journal, campaign_id):
        await accepted(journal, await intended(journal, claim))
    asked = []

    def whom() -> IO[bytes]:
        asked.append(1)
        return BytesIO(set_of(people))

    await remember(journal, campaign_id, whom=whom)
    told = place.rows("SELECT * FROM reached ORDER BY hour")
    place.alter("DELETE FROM reached")
    await remember(journal, campaign_id)
    assert (place.rows("SELECT * FROM reached ORDER BY hour"), asked) == (told, [1])
    assert len(told) == 2


CASES = [
    "it went in two hours",
    "somebody had opted out",
    "a part was refused",
    "a part was refused, another sent twice",
]


@pytest.mark.parametrize("case", CASES)
async def test_whom_it_was_planned_for_does_not_count_where_others_were_reached(
    journal: SqlJournal, place: SqlitePlace, case: str
) -> None:
    campaign_id = await planned(journal, 2, 2, 2)
    people = await everybody(journal, campaign_id)
    one, two, three = await claimed(journal, campaign_id)
    await accepted(journal, await intended(journal, one))
    await accepted(journal, await intended(journal, two))
    omit = people[2][:1] if case == CASES[1] else []
    at = START + timedelta(hours=case == CASES[0])
    last = await intended(journal, three, omit=omit, at=at)
    if case in CASES[2:]:
        await ended(journal, last, Outcome(kind=OutcomeKind.REFUSED), BatchState.REFUSED)
    else:
        await accepted(journal, last, at=at)
    if case == CASES[3]:  # as many numbers as everybody, but not everybody
        rest = ", ".join(each.name for each in attempt.columns if each.name not in ("batch_id", "number"))
        place.alter(f"INSERT INTO attempt SELECT batch_id, 2, {rest} FROM attempt WHERE batch_id = 1")
    await remember(journal, campaign_id, whom=lambda: pytest.fail("nobody is to be asked"))
    went = [who for each in people[:2] for who in each]
    went += [] if case in CASES[2:] else [who for who in people[2] if who not in omit]
    assert reached(await look(journal), [who for each in people for who in each]) == went


async def test_everybody_is_kept_under_the_hour_in_which_it_was_told(journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 2, 3, 2, 3, 2)
    people = await everybody(journal, campaign_id)
    for claim, hour in zip(await claimed(journal, campaign_id), (2, 1, 1, 0, 2), strict=True):
        at = START + timedelta(hours=hour)
        omit = people[claim.seq - 1][:1] if claim.seq in (2, 4) else []
        await accepted(journal, await intended(journal, claim, omit=omit, at=at), at=at)
    await remember(journal, campaign_id)
    by_hour = ([people[3][1:]], [people[1][1:], people[2]], [people[0], people[4]])
    first = microseconds(START) // HOUR_US
    kept = await journal.reached_hours(campaign_id)
    assert kept == [(first + at, set_of(told)) for at, told in enumerate(by_hour)]


async def test_where_nobody_knows_any_more_whom_it_was_planned_for_the_journal_does(journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 2)
    (people,) = await everybody(journal, campaign_id)
    (claim,) = await claimed(journal, campaign_id)
    await accepted(journal, await intended(journal, claim))
    await remember(journal, campaign_id, whom=lambda: None)
    assert reached(await look(journal), people) == people


def test_what_a_cap_says() -> None:
    assert (cap_of(""), cap_of("2/7d"), cap_of("1/24h")) == (
        None,
        Cap(messages=2, hours=168),
        Cap(messages=1, hours=24),
    )


def test_texts_are_alike_when_little_differs() -> None:
    text = "【测试】春季新品已经到店，欢迎光临门店选购，回T退订"
    assert likeness(text, text) == 1
    assert likeness(text, text.replace("春季", "春夏") + "！") >= 0.7
    assert likeness(text, "【测试】系统将于今晚维护，请提前保存工作") < 0.2
    assert likeness("", "x") == 0


PEOPLE = st.lists(st.integers(0, 30), max_size=20)


def packed(people: list[int]) -> bytes:
    hours = Hours()
    hours.add(1, [f"{13_000_000_000 + one}" for one in people])
    ((_, numbers),) = hours.packed()
    return numbers


@given(
    st.lists(st.tuples(PEOPLE, st.integers(2, 5), st.booleans(), st.booleans(), PEOPLE), max_size=8),
    PEOPLE,
    st.integers(1, 4),
)
def test_counts_and_caps_are_those_of_plain_sets(
    drawn: list[tuple[list[int], int, bool, bool, list[int]]], recipients: list[int], most: int
) -> None:
    alike_of = {campaign: alike for _, campaign, alike, *_ in drawn}
    sets, plain = [], []
    for people, campaign, _, of_lists, missed in drawn:
        alike = alike_of[campaign]
        sets.append(ReachedSet(campaign, True, alike, True, of_lists, packed(people), packed(missed)))
        plain.append((set(people) - set(missed), campaign, alike, of_lists))
    lately = Lately(sets, most=most)
    seen = Seen()
    seen.add([f"{13_000_000_000 + one}" for one in recipients])
    counted = lately.counted(seen.numbers)
    anybody = set().union(*(people for people, *_ in plain)) & set(recipients)
    alike_people = set().union(*(people for people, _, alike, _ in plain if alike)) & set(recipients)
    assert (counted.get(ANY, 0), counted.get(ALIKE, 0)) == (len(anybody), len(alike_people))
    had = {
        one: len({campaign for people, campaign, _, lists in plain if lists and one in people})
        + sum(one in people for people, _, _, lists in plain if not lists)
        for one in range(31)
    }
    assert {number - 13_000_000_000 for number in lately.enough} == {one for one, times in had.items() if times >= most}


def test_the_campaign_that_is_named_has_the_most_of_them() -> None:
    overlap = overlap_of(Sighting(names={2: "a", 3: "b"}), {ANY: 9, ALIKE: 7, 2: 3, 3: 5}, days=7, recipients=10)
    assert (overlap.reached, overlap.alike, overlap.campaign, overlap.share(overlap.alike)) == (9, 7, "b", 70)
