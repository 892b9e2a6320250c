"""Tracking as its users see it: beside a campaign, by itself, and in the figures."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from engine.dispatch.pool import Pool
from engine.errors import JournalError, SettingsError
from engine.journal.opening import read_journal
from engine.journal.port import Delivery, OptedOut, OptOutSource, PollAnswer, PollKind
from engine.journal.store import SqlJournal
from engine.ledger.summary import CampaignSummary
from engine.live import Live
from engine.model import BatchState, CampaignState, Exclusion, Outcome, OutcomeKind, PauseReason
from engine.orders import plans
from engine.orders.pipeline import Pipeline
from engine.runs import beside, looking
from engine.runs.control import Order
from engine.runtime import Engine
from engine.simulator import Fault
from engine.tracking import Barred
from tests.gateway.samples import callbox, document
from tests.journal.stores import engine_of
from tests.tracking.house import House, people, stops


async def summary(house: House, *, overdue_before: datetime | None = None) -> CampaignSummary:
    journal = await read_journal(house.folder / "xinshi.db")
    try:
        return await looking.summary_of(journal, "spring", is_running=False, overdue_before=overdue_before)
    finally:
        await journal.close()


async def test_reports_are_joined_and_the_figures_add_up(house: House) -> None:
    numbers = people(950)
    async with house.engine() as engine:
        await house.sent(engine, numbers)
        tally = await engine.track(stops(), once=True)
    assert tally.fresh == 950
    told = (await summary(house)).as_json()
    assert told["delivery"]["delivered"] + told["delivery"]["undelivered"] == 950
    assert (
        told["delivery"]["undelivered"] == house.rows("SELECT count(*) FROM report WHERE state = 'undelivered'")[0][0]
    )
    assert sum(told["delivery"].values()) == told["recipients"]["accepted"] == 950


@pytest.mark.parametrize("house", [{"report_delay_s": 3600.0}], indirect=True)
async def test_after_the_horizon_a_recipient_without_report_is_no_longer_waited_for(house: House) -> None:
    async with house.engine() as engine:
        await house.sent(engine, people(120))
    now = datetime.now(UTC)
    assert (await summary(house, overdue_before=now - timedelta(hours=72))).delivery.overdue == 0
    late = await summary(house, overdue_before=now + timedelta(seconds=60))
    assert (late.delivery.overdue, late.unreported) == (120, 120)


async def test_a_report_that_comes_before_its_answer_is_stored_is_joined_later(house: House) -> None:
    house.sim.set_faults({Fault.DROP_ANSWER: 1.0})
    numbers = people(10)
    async with house.engine() as engine:
        record = await house.planned(engine, numbers)
        await engine.run(record, live=Live(), stop=stops())
        with engine_of(engine.journal).begin() as connection:  # as if its answer were still on its way into the journal
            connection.exec_driver_sql("UPDATE attempt SET outcome = NULL, finished_at = NULL, reason = NULL")
            connection.exec_driver_sql("UPDATE batch SET state = 'submitting', owner = 'we', epoch = 1")
        await engine.track(stops(), once=True)
        orphans = await engine.journal.orphans(engine.account_key)
        assert {orphan.mobile for orphan in orphans} == set(numbers)
        assert (await summary(house)).delivery == Delivery()
        with engine_of(engine.journal).begin() as connection:  # what the answer would have stored
            connection.exec_driver_sql("UPDATE batch SET state = 'accepted', owner = NULL")
            connection.exec_driver_sql(
                "UPDATE attempt SET outcome = 'accepted', task_id = ?, finished_at = started_at", (orphans[0].task_id,)
            )
        assert await engine.journal.orphans(engine.account_key) == []
    told = (await summary(house)).delivery
    assert told.delivered + told.undelivered == 10


async def test_tracking_names_the_batch_whose_answer_was_lost(house: House) -> None:
    house.sim.set_faults({Fault.DROP_ANSWER: 1.0})
    numbers = people(10)
    async with house.engine() as engine:
        await engine.run(await house.planned(engine, numbers), live=Live(), stop=stops())
        await engine.track(stops(), once=True)
        assert await engine.journal.orphans(engine.account_key) == []
    assert house.rows("SELECT state FROM batch") == [("accepted",)]
    told = (await summary(house)).delivery
    assert told.delivered + told.undelivered == 10


async def test_a_stranger_under_our_task_id_does_not_count(house: House) -> None:
    numbers = people(10)
    async with house.engine() as engine:
        await house.sent(engine, numbers)
        ((task_id,),) = house.rows("SELECT task_id FROM attempt")
        house.sim.plant_reports(people(3, seed=9), task_id=task_id)
        await engine.track(stops(), once=True)
    told = (await summary(house)).delivery
    assert told.delivered + told.undelivered == 10


async def test_the_queue_is_read_to_its_end_before_the_first_submission(house: House) -> None:
    house.sim.plant_reports(people(1_500, seed=5))
    async with house.engine() as engine:
        await house.sent(engine, people(300))
        emptied_at = await engine.journal.emptied_at(engine.account_key, PollKind.REPORT)
        assert emptied_at is not None
        assert len(await engine.journal.orphans(engine.account_key)) == 1_500
    ((first,),) = house.rows("SELECT min(started_at) FROM attempt")
    ((asked,),) = house.rows("SELECT min(asked_at) FROM poll WHERE kind = 'report' AND records = 0")
    assert asked < first


async def test_replies_are_kept_once_with_their_campaign_and_their_opt_outs(house: House) -> None:
    numbers = people(4)
    stranger = people(1, seed=9)[0]
    async with house.engine() as engine:
        await house.sent(engine, numbers)
        for mobile, words in ((numbers[0], "Ｔ."), (numbers[1], "Thanks & <b>bye"), (stranger, "退订")):
            house.sim.plant_uplink(mobile, words)
        tally = await engine.track(stops(), once=True)
        assert (tally.fresh, tally.opted_out) == (4 + 3, 2)
        kept = await engine.journal.replies(engine.account_key)
        assert [(reply.mobile, reply.content, reply.campaign) for reply in kept] == [
            (numbers[0], "Ｔ.", "spring"), (numbers[1], "Thanks & <b>bye", "spring"), (stranger, "退订", None),
        ]  # fmt: skip
        opted_out = await engine.journal.opt_outs(engine.account_key)
        assert [(o.mobile, o.reason, o.source) for o in opted_out] == [
            (numbers[0], "Ｔ.", OptOutSource.REPLY), (stranger, "退订", OptOutSource.REPLY),
        ]  # fmt: skip


async def test_opted_out_numbers_are_excluded_when_a_campaign_is_planned(house: House) -> None:
    numbers = people(30)
    await beside.opt_out(
        house.settings(), "default", numbers[:7], reason="asked by phone", source=OptOutSource.OPERATOR
    )
    async with house.engine() as engine:
        end = await house.sent(engine, [*numbers, numbers[0]])
    assert end.excluded[Exclusion.OPTED_OUT] == 7
    assert end.excluded[Exclusion.DUPLICATE] == 1
    assert end.adds_up
    assert house.sim.truth()["mobiles"] == dict.fromkeys(numbers[7:], 1)
    order = house.listed(numbers)
    with Pipeline(order.files) as reading:
        plan = await plans.preview(house.settings(), "default", order, reading, Live())
    assert plan.tally.excluded[Exclusion.OPTED_OUT] == 7


async def test_who_opts_out_after_planning_is_left_out_and_an_emptied_batch_is_cancelled(house: House) -> None:
    numbers = people(30)
    settings = house.settings(batch=10)
    async with house.engine(settings) as engine:
        record = await house.planned(engine, numbers)
    ours = [*numbers[10:20], numbers[3]]
    await beside.opt_out(settings, "default", ours, reason="", source=OptOutSource.IMPORT)
    async with house.engine(settings) as engine:
        end = await engine.run(record, live=Live(), stop=stops())
        await engine.track(stops(), once=True)
    assert (end.recipients["accepted"], end.excluded[Exclusion.OPTED_OUT]) == (19, 11)
    assert (end.batches["accepted"], end.batches["cancelled"], end.recipients["cancelled"]) == (2, 1, 0)
    assert end.adds_up
    assert end.state.value == "finished"
    assert house.sim.truth()["mobiles"] == dict.fromkeys(set(numbers) - set(ours), 1)
    assert sum((await summary(house)).as_json()["delivery"].values()) == 19


async def test_who_is_let_in_again_before_sending_is_sent_to(house: House) -> None:
    numbers = people(5)
    async with house.engine() as engine:
        record = await house.planned(engine, numbers)
    await beside.opt_out(house.settings(), "default", numbers[:2], reason="", source=OptOutSource.OPERATOR)
    assert await beside.opt_in(house.settings(), "default", numbers[:1]) == 1
    async with house.engine() as engine:
        await engine.run(record, live=Live(), stop=stops())
    assert house.sim.truth()["mobiles"] == dict.fromkeys(numbers[:1] + numbers[2:], 1)


async def test_a_removed_opt_out_comes_back_only_with_a_new_wish(house: House) -> None:
    mobile = people(1)[0]
    settings = house.settings()
    async with house.engine() as engine:
        house.sim.plant_uplink(mobile, "T")
        await engine.track(stops(), once=True)
        ((body,),) = house.rows("SELECT body FROM poll WHERE kind = 'reply' AND records = 1")
    assert await beside.opt_in(settings, "default", [mobile]) == 1
    assert await looking.opted_out(settings, "default") == []
    async with house.engine() as engine:
        with engine_of(engine.journal).begin() as connection:  # the same answer, read once more
            connection.exec_driver_sql("UPDATE poll SET applied_at = NULL, records = NULL WHERE body = ?", (body,))
        await engine.track(stops(), replay=True)
        assert await engine.journal.opt_outs(engine.account_key) == []
        house.sim.plant_uplink(mobile, "TD")
        await engine.track(stops(), once=True)
    assert [o.reason for o in await looking.opted_out(settings, "default")] == ["TD"]


@pytest.mark.parametrize("house", [{"latency_s": 0.004}], indirect=True)
@pytest.mark.parametrize("seed", [1, 2])
async def test_an_opt_out_is_in_no_submission_that_starts_after_it(house: House, seed: int) -> None:
    numbers = people(3_000, seed=seed)
    settings = house.settings(batch=5, in_flight=3)
    chance = random.Random(seed)
    recorded: dict[str, datetime] = {}
    async with house.engine(settings) as engine:
        record = await house.planned(engine, numbers)
        running = asyncio.create_task(engine.run(record, live=Live(), stop=stops()))
        await house.sim.wait_for_requests(2)
        for mobile in chance.sample(numbers, 900):
            if running.done():
                break
            await beside.opt_out(settings, "default", [mobile], reason="", source=OptOutSource.OPERATOR)
            recorded[mobile] = datetime.now(UTC)
        end = await running
    assert len(recorded) >= 200
    started = _starts(house)
    assert {mobile for mobile in recorded if mobile in started and started[mobile] > recorded[mobile]} == set()
    truth = house.sim.truth()
    assert truth["mobiles"] == dict.fromkeys(started, 1)
    assert end.excluded[Exclusion.OPTED_OUT] == len(numbers) - len(started) > 20
    assert end.adds_up
    assert end.unexplained == 0


def _starts(house: House) -> dict[str, datetime]:
    """When the submission began that the gateway accepted each number in: by its own word which, by the journal when."""
    tasks = {str(send["task_id"]): send for send in house.sim.truth()["sends"] if send["taken"]}  # type: ignore[attr-defined]
    found: dict[str, datetime] = {}
    query = "SELECT a.task_id, a.started_at, a.omitted, b.mobiles FROM attempt a JOIN batch b ON b.id = a.batch_id"
    for task_id, started_at, omitted, mobiles in house.rows(query):
        if task_id in tasks:
            at = datetime.fromtimestamp(started_at / 1e6, UTC)
            found.update({mobile: at for mobile in mobiles.split(",") if mobile not in omitted.split(",")})
            assert tasks[task_id]["at"] >= started_at / 1e6 - 0.001, "arrived before its intent"
    return found


async def test_an_opt_out_between_intent_and_request_takes_the_request_back(house: House) -> None:
    numbers = people(6)
    async with house.engine(house.settings(batch=3)) as engine:
        record = await house.planned(engine, numbers)
        made = engine._outfit.pool
        asked: list[str] = []

        def late(mobiles: str) -> tuple[str, ...]:
            """Nobody, until the first intent is on the disk."""
            asked.append(mobiles)
            return (numbers[1],) if len(asked) > 1 and numbers[1] in mobiles else ()

        async def pool(*arguments: Any, **named: Any) -> Pool:
            made_pool = await made(*arguments, **named)
            made_pool._opted_out = late
            return made_pool

        engine._outfit.pool = pool  # type: ignore[method-assign]
        end = await engine.run(record, live=Live(), stop=stops())
    assert house.sim.truth()["mobiles"] == dict.fromkeys([*numbers[:1], *numbers[2:]], 1)
    outcomes = house.rows("SELECT batch_id, number, outcome, size FROM attempt ORDER BY batch_id, number")
    assert outcomes == [(1, 1, "not_sent", 3), (1, 2, "accepted", 2), (2, 1, "accepted", 3)]
    assert (end.excluded[Exclusion.OPTED_OUT], end.adds_up, end.state.value) == (1, True, "finished")


@pytest.mark.parametrize("house", [{"latency_s": 0.004}], indirect=True)
async def test_a_reply_that_comes_during_a_run_bites_in_the_same_run(house: House) -> None:
    numbers = people(700)
    async with house.engine(house.settings(batch=5, in_flight=2, interval_s=0.01)) as engine:
        record = await house.planned(engine, numbers)
        running = asyncio.create_task(engine.run(record, live=Live(), stop=stops()))
        await house.sim.wait_for_requests(2)
        house.sim.plant_uplink(numbers[-1], "T")
        end = await running
    assert numbers[-1] not in house.sim.truth()["mobiles"]  # type: ignore[operator]
    assert (end.excluded[Exclusion.OPTED_OUT], end.adds_up) == (1, True)


@pytest.mark.parametrize("house", [{"reports_allowed": False}, {"faults": {Fault.DROP_POLL: 1.0}}], indirect=True)
async def test_trouble_with_tracking_never_stops_sending(house: House, caplog: pytest.LogCaptureFixture) -> None:
    async with house.engine() as engine:
        end = await house.sent(engine, people(200))
    assert end.recipients["accepted"] == 200
    assert "polling has stopped" in caplog.text or "the answer to a poll was lost" in caplog.text


async def test_a_mistake_in_tracking_never_stops_sending(house: House, caplog: pytest.LogCaptureFixture) -> None:
    async with house.engine() as engine:

        async def fails(*_: object, **__: object) -> int:
            raise ValueError

        engine.journal.begin_poll = fails  # type: ignore[method-assign]
        end = await house.sent(engine, people(200))
    assert end.recipients["accepted"] == 200
    assert "sending goes on" in caplog.text


async def test_an_answer_that_the_journal_cannot_take_at_once_is_not_lost(house: House) -> None:
    numbers = people(50)
    house.sim.plant_uplink(numbers[7], "T")
    async with house.engine() as engine:
        keep, asked = engine.journal.keep_answer, []

        async def keeps_the_third_time(poll_id: int, answer: PollAnswer) -> None:
            asked.append(poll_id)
            if asked.count(poll_id) < 3:
                raise JournalError("no space is left")
            await keep(poll_id, answer)

        engine.journal.keep_answer = keeps_the_third_time  # type: ignore[method-assign]
        tally = await engine.track(stops(), once=True)
    assert (tally.opted_out, tally.lost) == (1, 0)
    assert house.rows("SELECT count(*) FROM poll WHERE outcome != 'answered'") == [(0,)]


async def test_a_poll_that_cannot_be_begun_is_told_once_and_tried_again(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    number = people(1)[0]
    house.sim.plant_uplink(number, "T")
    async with house.engine(house.settings(interval_s=0.001)) as engine:
        begin, tries = engine.journal.begin_poll, Counter[PollKind]()

        async def begins_the_third_time(account: str, kind: PollKind, **named: Any) -> int:
            tries[kind] += 1
            if tries[kind] < 3:
                raise JournalError("no space is left")
            return await begin(account, kind, **named)

        engine.journal.begin_poll = begins_the_third_time  # type: ignore[method-assign]
        tally = await engine.track(stops(), once=True)
    assert (tally.opted_out, tally.trouble) == (1, {})
    assert tally.asked == tries.total() - 2 * len(PollKind)
    assert caplog.text.count("a poll could not be begun; trying again later") == len(PollKind)


async def test_where_another_system_reads_the_reports_nothing_is_polled(house: House) -> None:
    async with house.engine(house.settings(enabled=False)) as engine:
        await house.sent(engine, people(20))
        for replay in (False, True):
            with pytest.raises(SettingsError, match="only once"):
                await engine.track(stops(), once=True, replay=replay)
        assert (await engine.track(stops(), replay=True)).asked == 0  # what is kept is read
    calls = house.sim.truth()["calls"]
    assert not {"reports", "uplinks"} & set(calls)  # type: ignore[call-overload]
    assert house.rows("SELECT count(*) FROM poll") == [(0,)]


async def test_tracking_until_a_stop_ends_with_it(house: House) -> None:
    house.sim.plant_reports(people(10))
    stop = stops()
    async with house.engine() as engine:
        tracker = engine._polling.tracker(Barred())
        running = asyncio.create_task(tracker.run(stop.gently))
        await tracker.caught_up()
        stop.gently.set()
        await running
        assert tracker.tally.fresh == 10


async def test_opt_outs_are_recorded_in_thousands_and_listed(house: House) -> None:
    numbers = people(2_300)
    settings = house.settings()
    assert await beside.opt_out(settings, "default", numbers, reason="list", source=OptOutSource.IMPORT) == 2_300
    async with house.engine() as engine:  # also while another process owns the journal
        assert await beside.opt_out(settings, "default", numbers[:1_200], reason="", source=OptOutSource.IMPORT) == 0
        assert await beside.opt_in(settings, "default", numbers[:1_100]) == 1_100
        assert set((await engine.journal.opted_out(engine.account_key)).mobiles) == set(numbers[1_100:])
    listed = await looking.opted_out(settings, "default")
    assert [each.mobile for each in listed] == numbers[1_100:]
    assert {each.reason for each in listed} == {"list"}


async def test_a_batch_that_waits_with_some_opted_out_counts_them_as_excluded(house: House) -> None:
    numbers = people(4)
    async with house.engine(house.settings()) as engine:
        record = await house.planned(engine, numbers)
        await engine.journal.set_campaign_state(record.campaign_id, CampaignState.RUNNING)
        (claim,) = await engine.journal.claim_batches(record.campaign_id, limit=1, lease_until_s=1e9)
        now = datetime.now(UTC)
        submitted = await engine.journal.record_intent(engine.account_key, claim, started_at=now, omit=numbers[:1])
        assert submitted.mobiles == ",".join(numbers[1:])
        outcome = Outcome(kind=OutcomeKind.NOT_SENT)
        await engine.journal.record_outcome(
            engine.account_key, submitted, outcome, finished_at=now, then=BatchState.PLANNED
        )
        counts = await engine.journal.counts(record.campaign_id)
        assert counts.states[BatchState.PLANNED].recipients == 3
        assert counts.excluded == {Exclusion.OPTED_OUT: 1}


async def keep_unread(engine: Engine, account_key: str, body: bytes) -> None:
    """Keep an answer as if its process had been killed before it read it."""
    now = engine.gate.http._clock()
    poll_id = await engine.journal.begin_poll(account_key, PollKind.REPLY, asked_at=now, most=None)
    answer = PollAnswer(at=now, http_status=200, charset="utf-8", complete=True, body=body)
    await engine.journal.keep_answer(poll_id, answer)


@pytest.mark.parametrize("forgets", [False, True])  # all that was told before it was sent
@pytest.mark.parametrize("enabled", [False, True])  # what is kept is read where nothing is asked, too
async def test_an_opt_out_in_an_answer_that_a_killed_process_had_not_read_bites(
    house: House, forgets: bool, enabled: bool
) -> None:
    numbers = people(50)
    async with house.engine() as engine:
        await keep_unread(engine, engine.account_key, document(callbox(numbers[7], "TD")))
        if forgets:
            later = engine.gate.http._clock() + timedelta(days=1)
            await engine.journal.forget_told(engine.account_key, before=later)
    async with house.engine(house.settings(enabled=enabled)) as engine:
        await house.sent(engine, numbers)
        assert (await engine.journal.polls(engine.account_key)).unread == 0
    assert set(house.sim.truth()["mobiles"]) == {*numbers} - {numbers[7]}  # type: ignore[call-overload]


@pytest.mark.parametrize("enabled", [False, True])
@pytest.mark.parametrize(("scope", "barred"), [("all", [7]), ("account", [])])
async def test_an_opt_out_in_an_unread_answer_of_another_account_bites_where_it_counts_for_all(
    house: House, enabled: bool, scope: str, barred: list[int]
) -> None:
    numbers = people(50)
    north = f'[accounts.north]\nurl = "{house.sim.url}"\nuserid = "34"\naccount = "north"\nprofile = "gbk"\n'
    settings = house.settings(enabled=enabled, more=f'opt_out_scope = "{scope}"\n{north}')
    account_key = settings.for_account("north").account_key
    async with house.engine(settings) as engine:
        await keep_unread(engine, account_key, document(callbox(numbers[7], "TD")))
    async with house.engine(settings) as engine:
        await house.sent(engine, numbers)
        assert len(await engine.journal.opt_outs(engine.account_key)) == len(barred)
        assert (await engine.journal.polls(account_key)).unread == 1 - len(barred)
    left = {*numbers} - {numbers[at] for at in barred}
    assert set(house.sim.truth()["mobiles"]) == left  # type: ignore[call-overload]


async def test_another_account_whose_answers_cannot_be_read_holds_nobody_up(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    north = f'[accounts.north]\nurl = "{house.sim.url}"\nuserid = "34"\naccount = "north"\nprofile = "gone.toml"\n'
    settings = house.settings(more=f'opt_out_scope = "all"\n{north}')
    async with house.engine(settings) as engine:
        await keep_unread(engine, settings.for_account("north").account_key, document(callbox(people(1)[0], "TD")))
        await house.sent(engine, people(5))
    assert len(house.sim.truth()["mobiles"]) == 5  # type: ignore[arg-type]
    assert "kept answers to polls are not read; sending goes on" in caplog.text


async def test_a_reply_that_is_told_again_bars_nobody_whose_opt_out_was_taken_back(house: House) -> None:
    """Some gateways tell every reply for ever."""
    numbers = people(50)
    async with house.engine() as engine:
        body = document(callbox(numbers[7], "TD") + callbox(numbers[8], "TD"))
        for told in range(2):
            await keep_unread(engine, engine.account_key, body)
            if not told:
                await engine.track(stops(), once=True)
                assert await beside.opt_in(house.settings(), "default", [numbers[7]]) == 1
        await house.sent(engine, numbers)
    assert set(house.sim.truth()["mobiles"]) == {*numbers} - {numbers[8]}  # type: ignore[call-overload]


class LateJournal:
    """Somebody opts out in the moment after the opt-outs of before were read."""

    def __init__(self, engine: Engine, mobile: str) -> None:
        self._engine, self._mobile = engine, mobile

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine.journal, name)

    async def opted_out(self, account: str, *, since: int = 0) -> OptedOut:
        before = await self._engine.journal.opted_out(account, since=since)
        words = (account, OptOutSource.OPERATOR.value, "", self._mobile)
        assert (await self._engine.order(Order(verb=beside.OPT_OUT, campaign="", words=words))).done
        return before


async def test_an_opt_out_in_the_moment_in_which_a_run_reads_them_bites(house: House) -> None:
    numbers = people(50)
    async with house.engine() as engine:
        record = await house.planned(engine, numbers)
        engine._outfit.journal = cast("SqlJournal", LateJournal(engine, numbers[7]))
        await engine.run(record, live=Live(), stop=stops())
    assert set(house.sim.truth()["mobiles"]) == {*numbers} - {numbers[7]}  # type: ignore[call-overload]


class PausedMeanwhile:
    """Somebody pauses the campaign while its run finds another reason to end."""

    def __init__(self, engine: Engine, campaign: str) -> None:
        self._engine, self._campaign = engine, campaign

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine.journal, name)

    async def planned_sizes(self, campaign_id: int) -> list[tuple[int, int, int]]:
        assert (await self._engine.order(Order(verb="pause", campaign=self._campaign))).done
        return await self._engine.journal.planned_sizes(campaign_id)


async def test_a_pause_outlives_whatever_else_ends_the_run(house: House) -> None:
    async with house.engine() as engine:
        record = await house.planned(engine, people(50))
        engine._outfit.journal = cast("SqlJournal", PausedMeanwhile(engine, record.name))
        ended = await engine.run(record, live=Live(), stop=stops(), limit=10)
        assert ended.reasons == (PauseReason.OPERATOR,)
    assert house.sim.truth()["mobiles"] == {}
