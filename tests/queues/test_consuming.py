"""What a consumer promises, whatever its broker is: here one in memory, which breaks where it is told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engine.clock import boottime
from engine.errors import QueueError
from engine.journal.arrivals import Arrival
from engine.journal.port import Conduct, OptOut, OptOutSource
from engine.model import CampaignState, Message, PauseReason
from engine.moments import CHINA
from engine.planning.text import Frame
from engine.queues import Delivery, read_notice
from engine.runs import looking
from engine.runs.beside import ASSUME, NOT_TAKEN, TAKEN
from engine.runs.control import Order
from engine.runs.judging import Judge
from engine.simulator import Simulator, SimulatorSettings
from engine.tracking import Barred
from tests.numbers import mobiles
from tests.queues.memory import Room

ONE, TWO, THREE, FOUR = mobiles(4)


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with Simulator(SimulatorSettings(seed=1, report_delay_s=0.05)) as sim:
        yield Room(tmp_path, sim)


def notice(notice_id: str, *numbers: str, text: str = "您好", **more: Any) -> dict[str, Any]:
    return {"id": notice_id, "mobiles": list(numbers), "text": text, **more}


def today() -> str:
    return f"notices-{datetime.now().astimezone():%Y-%m-%d}"


# ── what is sent ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_messages_with_the_same_text_share_a_request(room: Room) -> None:
    room.source.put(*(notice(f"n{at}", mobile) for at, mobile in enumerate(mobiles(20))))
    done = await room.consume()
    assert room.sim.truth()["requests"] == 1
    assert room.sim.truth()["accepted_numbers"] == 20
    assert (done.counted.taken, done.end.reason) == (20, None)
    assert [campaign.campaign for campaign in done.campaigns] == [today()]
    assert done.campaigns[0].adds_up
    assert room.source.handed == {}


async def test_one_person_gets_every_notice_and_no_request_holds_them_twice(room: Room) -> None:
    room.source.put(notice("a", ONE), notice("b", ONE), notice("c", ONE, text="再见"))
    await room.consume()
    assert sorted(room.given(ONE)) == ["再见", "您好", "您好"]
    assert room.rows("SELECT size FROM batch") == [(1,), (1,), (1,)]


async def test_a_template_is_filled_by_names_alone(room: Room) -> None:
    filled = {
        "id": "a",
        "mobile": ONE,
        "template": "{姓名}您好，{{单号}}{单号}",
        "vars": {"姓名": "王", "单号": 7, "x": "y"},
    }
    room.source.put(filled)
    await room.consume()
    assert room.given(ONE) == ["王您好，{单号}7"]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"{", "not JSON"),
        ({"id": "a", "mobile": ONE}, "text and template: exactly one"),
        ({"id": "a", "mobile": ONE, "template": "{x}"}, "the template needs x"),
        ({"id": "a", "mobile": ONE, "template": "{x.y}", "vars": {}}, "{x.y} in the text"),
        ({"id": "a", "mobile": ONE, "template": "{x!r}", "vars": {"x": "y"}}, "{x!r} in the text"),
        ({"id": "a", "mobile": ONE, "template": "{x}您好", "vars": {"x": "【银行】"}}, "x holds 【"),
        ({"id": "a", "mobile": ONE, "template": "{x}您好", "vars": {"x": "a\nb"}}, "x holds a line break"),
        ({"id": "a", "mobile": ONE, "text": "长" * 600}, "the message is too long"),
        ({"id": "a", "mobile": ONE, "text": "【别家】您好"}, "the text carries the signature"),
        ({"id": "a", "mobile": ONE, "text": "您\u0007好"}, "U+0007"),
        ({"id": "a", "mobile": ONE, "text": "您好", "campaign": "a/b"}, "cannot name a campaign"),
    ],
)
async def test_a_bad_message_goes_to_the_dead_letters_and_the_others_on(
    room: Room, message: dict[str, Any] | bytes, reason: str
) -> None:
    room.source.put(message, notice("good", TWO))
    done = await room.consume()
    ((_, told),) = room.source.dead
    assert reason in told
    assert ONE not in told
    assert (done.counted.dead, room.given(ONE), room.given(TWO)) == (1, [], ["您好"])
    assert room.source.handed == {}


async def test_a_message_for_a_campaign_of_a_list_or_another_queue_is_a_dead_letter(room: Room) -> None:
    room.source.put(notice("a", ONE, campaign="spring"))
    await room.consume()
    room.source.name = "memory://here/others"
    room.source.put(notice("b", TWO, campaign="spring"), notice("c", THREE))
    await room.consume()
    assert [reason for _, reason in room.source.dead] == ["the campaign 'spring' belongs to another queue or account"]
    assert (room.given(TWO), room.given(THREE)) == ([], ["您好"])


async def test_numbers_are_judged_and_each_has_its_bucket(room: Room) -> None:
    room.source.put(notice("a", f"+86 {ONE}", "123", "010-12345678", ONE, f"{TWO}/{THREE}", "123"))
    done = await room.consume()
    (campaign,) = done.campaigns
    assert campaign.rows == 7
    assert {reason.value: count for reason, count in campaign.excluded.items() if count} == {
        "invalid": 2,
        "landline": 1,
        "duplicate": 1,
    }
    assert campaign.recipients["accepted"] == 3
    assert campaign.adds_up


async def test_who_has_opted_out_gets_nothing_and_is_told_of(room: Room) -> None:
    async with room.engine() as engine:
        wish = OptOut(mobile=ONE, at=engine.clock(), reason="T", source=OptOutSource.OPERATOR)
        await engine.journal.add_opt_outs(engine.account_key, [wish])
        room.source.put(notice("a", ONE, TWO))
        await room.consumed(engine, outcomes="told")
    assert room.given(ONE) == []
    assert {each["state"]: each["mobiles"] for each in room.source.told} == {"excluded": [ONE], "accepted": [TWO]}


async def test_who_opts_out_and_in_again_while_it_runs_gets_messages_again(room: Room) -> None:
    async with room.engine() as engine:
        running = asyncio.create_task(room.consumed(engine, once=False))
        room.source.put(notice("z", THREE))
        await room.sim.wait_for_accepted(1)
        await engine.order(Order(verb="opt_out", campaign="", words=(engine.account_key, "operator", "", ONE)))
        room.source.put(notice("a", ONE, TWO))
        await room.sim.wait_for_accepted(2)
        await engine.order(Order(verb="opt_in", campaign="", words=(engine.account_key, "", ONE)))
        room.source.put(notice("b", ONE))
        await room.sim.wait_for_accepted(3)
        room.stop.gently.set()
        await running
    assert room.given(ONE) == ["您好"]


# ── once ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_message_is_acknowledged_only_when_its_batch_is_durable(room: Room) -> None:
    durable: list[set[str]] = []

    def look(deliveries: Sequence[Delivery]) -> None:
        durable.append({row[0] for row in room.rows("SELECT notice_id FROM notice")})
        assert {json.loads(each.body)["id"] for each in deliveries} <= durable[-1]

    room.source.on_ack = look
    room.source.put(*(notice(f"n{at}", mobile, text=f"您好{at % 3}") for at, mobile in enumerate(mobiles(90))))
    await room.consume()
    assert len(durable[-1]) == 90


async def test_an_id_that_comes_again_is_not_sent_again(room: Room) -> None:
    room.source.put(notice("a", ONE), notice("a", ONE), notice("b", TWO))
    first = await room.consume()
    room.source.put(notice("a", ONE), notice("a", ONE, text="改了"))
    second = await room.consume()
    assert (room.given(ONE), room.given(TWO)) == (["您好"], ["您好"])
    assert (first.counted.redelivered, second.counted.redelivered) == (1, 2)
    assert room.source.handed == {}


async def test_under_a_known_id_only_new_numbers_are_sent_to(room: Room) -> None:
    room.source.put(notice("a", ONE, "123"))
    await room.consume()
    room.source.put(notice("a", ONE, "123", TWO))
    done = await room.consume()
    assert (room.given(ONE), room.given(TWO)) == (["您好"], ["您好"])
    assert (done.campaigns[0].rows, done.campaigns[0].adds_up) == (3, True)


async def test_an_id_that_comes_again_while_it_gathers_is_sent_once(room: Room) -> None:
    room.source.put(notice("a", ONE))
    room.source.put(*(notice(f"n{at}", mobile) for at, mobile in enumerate(mobiles(30, seed=2))), notice("a", ONE))
    room.source.put(notice("n3", mobiles(4, seed=2)[3]), notice("z", TWO, text="另"), notice("n29", TWO, text="另"))
    await room.consume()
    assert room.given(ONE) == ["您好"]
    assert room.rows("SELECT notice_id, number FROM notice GROUP BY 1, 2 HAVING count(*) > 1") == []


@pytest.mark.parametrize("verb", ["fetch", "ack", "bury", "publish"])
async def test_a_broker_that_breaks_off_is_opened_again_and_nobody_is_lost_or_twice(room: Room, verb: str) -> None:
    people = mobiles(60, seed=3)
    room.source.put(b"{", *(notice(f"n{at}", mobile) for at, mobile in enumerate(people)), notice("bad", "123"))
    room.source.breaks = [verb, "open", verb]
    async with room.engine() as engine:
        room.source.breaks.remove("open")
        done = await room.consumed(engine, outcomes="told")
    assert [room.given(mobile) for mobile in people] == [["您好"]] * 60
    assert room.source.opened >= 2
    assert len(room.source.dead) == done.counted.dead == 1
    assert room.source.handed == {}
    told = {(each["id"], mobile) for each in room.source.told for mobile in each["mobiles"]}
    assert told == {*((f"n{at}", mobile) for at, mobile in enumerate(people)), ("bad", "123")}


async def test_what_was_held_while_the_machine_slept_is_not_made_durable_but_comes_again(room: Room) -> None:
    async with room.engine() as engine:
        make, slept_s = engine._outfit.consumer, [0.0]

        def sleepy(*args: Any) -> Any:
            consumer = make(*args)
            consumer._passing = lambda: boottime() + slept_s[0]
            return consumer

        engine._outfit.consumer = sleepy  # type: ignore[method-assign]
        room.source.put(notice("a", ONE))
        running = asyncio.create_task(room.consumed(engine, once=False, linger_s=0.3))
        await room.source.taken.wait()
        slept_s[0] = 60.0
        await room.sim.wait_for_accepted(1)
        room.stop.gently.set()
        done = await running
    assert room.source.opened == 2
    assert (room.given(ONE), done.counted.taken) == (["您好"], 1)


async def test_a_broker_that_is_not_there_at_the_beginning_ends_the_command(room: Room) -> None:
    room.source.breaks = ["open"]
    with pytest.raises(QueueError):
        await room.consume()


async def test_ids_that_wait_together_and_come_again_together_are_sent_once(room: Room) -> None:
    both = (notice("a", ONE), notice("b", TWO, text="另"))
    async with room.engine() as engine:
        room.source.put(*both)
        running = asyncio.create_task(room.consumed(engine, once=False, linger_s=60.0))
        await room.source.taken.wait()
        room.source.put(*both)
        await room.sim.wait_for_accepted(2)
        room.stop.gently.set()
        done = await running
    assert (room.given(ONE), room.given(TWO)) == (["您好"], ["另"])
    assert (done.counted.taken, done.counted.redelivered) == (2, 2)


async def test_what_was_fetched_and_is_not_durable_goes_back_at_a_stop(room: Room) -> None:
    async with room.engine() as engine:
        room.source.put(notice("a", ONE))
        running = asyncio.create_task(room.consumed(engine, once=False, linger_s=60.0))
        await room.source.taken.wait()
        room.stop.gently.set()
        done = await running
    assert done.end.reason is PauseReason.STOPPED
    assert len(room.source.waiting) == 1
    assert room.given(ONE) == []


# ── pace and steering ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_while_the_pace_is_the_limit_messages_stay_with_the_broker(room: Room) -> None:
    room.source.put(*(notice(f"n{at}", mobile, text=f"{at}") for at, mobile in enumerate(mobiles(300, seed=4))))
    async with room.engine(**{"pace.requests_per_second": 20}) as engine:
        running = asyncio.create_task(room.consumed(engine, once=False, backlog=10))
        await room.sim.wait_for_requests(25)
        planned = room.rows("SELECT count(*) FROM batch WHERE state IN ('planned', 'claimed')")[0][0]
        left = len(room.source.waiting)
        room.stop.gently.set()
        await running
    assert planned <= 10
    assert left >= 300 - 25 - 10 - 10  # sent, waiting, and on their way


async def test_a_campaign_that_is_paused_waits_and_goes_on_when_it_is_resumed(room: Room) -> None:
    async with room.engine() as engine:
        running = asyncio.create_task(room.consumed(engine, once=False))
        room.source.put(notice("a", ONE, campaign="spring"))
        await room.sim.wait_for_accepted(1)
        word = await engine.order(Order(verb="pause", campaign="spring"))
        assert word.done
        room.source.put(notice("b", TWO, campaign="spring"), notice("c", THREE))
        await room.sim.wait_for_accepted(2)
        assert (room.given(TWO), room.given(THREE)) == ([], ["您好"])
        await engine.order(Order(verb="resume", campaign="spring"))
        await room.sim.wait_for_accepted(3)
        room.stop.gently.set()
        await running
    assert room.given(TWO) == ["您好"]


async def test_a_paused_campaign_larger_than_the_backlog_holds_up_nobody_else(room: Room) -> None:
    async with room.engine() as engine:
        running = asyncio.create_task(room.consumed(engine, once=False, backlog=10))
        room.source.put(notice("a", ONE, campaign="spring"))
        await room.sim.wait_for_accepted(1)
        await engine.order(Order(verb="pause", campaign="spring"))
        many = mobiles(60, seed=6)
        room.source.put(*(notice(f"n{at}", mobile, campaign="spring") for at, mobile in enumerate(many)))
        room.source.put(notice("b", TWO), notice("c", THREE, campaign="autumn"))
        await room.sim.wait_for_accepted(3)
        assert (room.given(TWO), room.given(THREE)) == (["您好"], ["您好"])
        assert not any(map(room.given, many))
        await engine.order(Order(verb="resume", campaign="spring"))
        await room.sim.wait_for_accepted(63)
        room.stop.gently.set()
        await running
    assert room.sim.truth()["twice"] == 0


@pytest.mark.parametrize("name", ["spring", ""])
async def test_a_pause_outlives_the_process_and_a_new_message(room: Room, name: str) -> None:
    more = {"campaign": name} if name else {}
    async with room.engine() as engine:
        room.source.put(notice("a", ONE, **more))
        await room.consumed(engine)
        await engine.order(Order(verb="pause", campaign=name or today()))
    room.source.put(notice("b", TWO, **more), notice("c", THREE, campaign="autumn"))
    done = await room.consume()
    assert (done.end.reason, room.given(TWO), room.given(THREE)) == (None, [], ["您好"])
    assert room.source.handed == {}
    async with room.engine() as engine:
        await engine.order(Order(verb="resume", campaign=name or today()))
        await room.consumed(engine)
    assert room.given(TWO) == ["您好"]


# ── hours and points ─────────────────────────────────────────────────────────────────────────────────────────────────

OFFICE = Conduct(windows=("08:30-20:00",), zone="Asia/Shanghai")


class Wall:
    """The clock on the wall, which a test sets: that time of a day in China."""

    def __init__(self, hour: int, minute: int = 0) -> None:
        self.set(hour, minute)

    def set(self, hour: int, minute: int = 0, *, day: int = 2) -> None:
        self.now = datetime(2026, 3, day, hour, minute, tzinfo=CHINA)

    def __call__(self) -> datetime:
        return self.now


async def test_outside_its_hours_messages_are_taken_in_up_to_the_backlog_and_nothing_leaves(room: Room) -> None:
    wall, people = Wall(7), mobiles(60, seed=7)
    async with room.engine(wall) as engine:
        room.source.put(*(notice(f"n{at}", mobile) for at, mobile in enumerate(people)))
        running = asyncio.create_task(room.consumed(engine, backlog=20, conduct=OFFICE))
        while room.planned() < 20:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)  # what does not happen rings no bell
        assert room.sim.truth()["requests"] == 0
        assert len(room.source.waiting) == 40
        wall.set(8, 30)
        done = await running
    assert (done.end.reason, room.sim.truth()["accepted_numbers"], room.sim.truth()["twice"]) == (None, 60, 0)


async def test_when_its_hours_end_it_waits_for_the_next_morning(room: Room) -> None:
    wall = Wall(19, 59)
    async with room.engine(wall) as engine:
        running = asyncio.create_task(room.consumed(engine, once=False, conduct=OFFICE))
        room.source.put(notice("a", ONE))
        await room.sim.wait_for_accepted(1)
        wall.set(20)
        room.source.put(notice("b", TWO))
        while room.planned() < 1:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        assert room.given(TWO) == []
        wall.set(8, 30, day=3)
        await room.sim.wait_for_accepted(2)
        room.stop.gently.set()
        done = await running
    assert (done.end.reason, room.given(TWO)) == (PauseReason.STOPPED, ["您好"])


async def test_it_begins_at_its_time_and_an_empty_queue_is_not_waited_with(room: Room) -> None:
    wall = Wall(7)
    later = Conduct(not_before=datetime(2026, 3, 2, 9, tzinfo=CHINA))
    async with room.engine(wall) as engine:
        done = await room.consumed(engine, conduct=later)
        assert (done.end.reason, done.counted.taken) == (None, 0)
        room.source.put(notice("a", ONE))
        running = asyncio.create_task(room.consumed(engine, conduct=later))
        while room.planned() < 1:
            await asyncio.sleep(0.01)
        assert room.given(ONE) == []
        wall.set(9)
        await running
    assert room.given(ONE) == ["您好"]


async def test_a_stop_ends_the_waiting_and_what_was_taken_in_stays_planned(room: Room) -> None:
    async with room.engine(Wall(7)) as engine:
        room.source.put(notice("a", ONE))
        running = asyncio.create_task(room.consumed(engine, once=False, conduct=OFFICE))
        while room.planned() < 1:
            await asyncio.sleep(0.01)
        room.stop.gently.set()
        done = await running
    assert (done.end.reason, room.planned(), room.sim.truth()["requests"]) == (PauseReason.STOPPED, 1, 0)


async def test_the_points_that_are_to_stay_do(room: Room) -> None:
    opening = int(str(room.sim.truth()["balance"]))
    people = mobiles(30, seed=8)
    room.source.put(*(notice(f"n{at}", mobile, text=f"{at}") for at, mobile in enumerate(people)))
    async with room.engine() as engine:
        done = await room.consumed(engine, conduct=Conduct(keep_points=Decimal(opening - 12)))
    assert done.end.reason is PauseReason.FLOOR
    assert "are to stay" in done.end.detail
    assert room.sim.truth()["charges"] == 12
    again = await room.consume()
    assert (again.end.reason, room.sim.truth()["accepted_numbers"], room.sim.truth()["twice"]) == (None, 30, 0)


async def test_what_waits_for_another_account_keeps_nobody_from_ending(room: Room) -> None:
    room.source.put(notice("a", ONE))
    async with room.engine() as engine:
        await engine.journal.add_arrivals(
            [
                Arrival(
                    queue=room.source.name,
                    account="another account",
                    profile="standard",
                    campaign="others",
                    message=Message("您好", 2, 1),
                    message_seq=None,
                    batches=[[("b", TWO)]],
                    left_out=[],
                    wants_outcome=False,
                    price=Decimal(1),
                    at=engine.clock(),
                )
            ]
        )
        done = await room.consumed(engine)
    assert (done.end.reason, room.given(ONE), room.given(TWO)) == (None, ["您好"], [])


async def test_the_points_that_a_doubt_did_not_cost_are_spent(room: Room) -> None:
    """They are kept as long as nobody knows: here they are all that is above those that are to stay."""
    room.source.put(*(notice(f"n{at}", mobile, text=f"{at}") for at, mobile in enumerate(mobiles(6, seed=5))))
    await room.consume()  # answers that the balance can be measured by
    left = int(str(room.sim.truth()["balance"]))
    room.sim.set_faults({"reset_before": 1.0})
    room.source.put(notice("a", ONE, TWO, THREE))
    async with room.engine() as engine:
        running = asyncio.create_task(room.consumed(engine, conduct=Conduct(keep_points=Decimal(left - 3))))
        await room.sim.wait_for_requests(7)
        room.sim.set_faults({})
        done = await running
    assert (done.end.reason, room.given(ONE)) == (None, ["您好"])
    assert int(str(room.sim.truth()["balance"])) == left - 3


@pytest.mark.parametrize(("word", "given"), [(NOT_TAKEN, ["您好"]), (TAKEN, [])])
async def test_a_persons_word_about_a_doubt_reaches_what_is_being_sent(room: Room, word: str, given: list[str]) -> None:
    """The points that were kept for it are spent, or gone, and who wants to know is told."""
    left = int(str(room.sim.truth()["balance"]))
    room.sim.set_faults({"reset_before": 1.0})
    room.source.put(notice("a", ONE))
    async with room.engine(**{"account.exclusive": False}) as engine:  # whose balance proves nothing
        keep = Conduct(keep_points=Decimal(left - 1))
        running = asyncio.create_task(room.consumed(engine, once=False, outcomes="told", conduct=keep))
        while not await engine.journal.open_doubts(engine.account_key):
            await asyncio.sleep(0.01)
        room.sim.set_faults({})
        words = (engine.account_key, "1", word, "li", "1", "asked the vendor")
        assert (await engine.order(Order(verb=ASSUME, campaign=today(), words=words))).done
        while not any(told["state"] == "accepted" for told in room.source.told):
            assert not running.done(), running.result().end
            await asyncio.sleep(0.01)
        room.stop.gently.set()
        await running
    assert room.given(ONE) == given


async def test_a_campaign_that_is_cancelled_takes_no_more_and_sends_no_more(room: Room) -> None:
    async with room.engine() as engine:
        running = asyncio.create_task(room.consumed(engine, once=False))
        room.source.put(notice("a", ONE, campaign="spring"))
        await room.sim.wait_for_accepted(1)
        await engine.order(Order(verb="pause", campaign="spring"))
        room.source.put(notice("b", TWO, campaign="spring"), notice("c", THREE))
        await room.sim.wait_for_accepted(2)
        await engine.order(Order(verb="cancel", campaign="spring"))
        room.source.put(notice("d", TWO, campaign="spring"), notice("e", FOUR))
        await room.sim.wait_for_accepted(3)
        room.stop.gently.set()
        await running
    assert room.given(TWO) == []
    assert [reason for _, reason in room.source.dead] == ["the campaign 'spring' is cancelled"]
    assert dict(room.rows("SELECT state, count(*) FROM batch GROUP BY 1")) == {"accepted": 3, "cancelled": 1}


async def test_while_it_is_consumed_a_campaign_is_running_and_afterwards_finished(room: Room) -> None:
    async with room.engine() as engine:
        running = asyncio.create_task(room.consumed(engine, once=False))
        room.source.put(notice("a", ONE))
        await room.sim.wait_for_accepted(1)
        summary = await looking.summary_of(engine.journal, today(), is_running=True)
        assert summary.state is CampaignState.RUNNING
        room.stop.gently.set()
        done = await running
    assert done.campaigns[0].state is CampaignState.FINISHED


async def test_a_refusal_of_the_account_ends_consuming_and_the_next_run_goes_on(room: Room) -> None:
    room.sim.set_faults({"faild_balance": 1.0})
    room.source.put(notice("a", ONE))
    done = await room.consume(once=False)
    assert done.end.reason is PauseReason.BALANCE
    assert done.campaigns[0].state is CampaignState.PAUSED
    room.sim.set_faults({})
    done = await room.consume()
    assert (room.given(ONE), done.end.reason) == (["您好"], None)


async def test_a_refused_text_ends_its_messages_and_no_others(room: Room) -> None:
    room.sim.set_faults({"faild_content": 1.0})
    room.source.put(notice("a", ONE, text="坏"))
    async with room.engine() as engine:
        running = asyncio.create_task(room.consumed(engine, once=False, outcomes="told"))
        await room.sim.wait_for_requests(1)
        room.sim.set_faults({})
        room.source.put(notice("b", TWO))
        await room.sim.wait_for_accepted(1)
        room.stop.gently.set()
        await running
    states = {each["id"]: (each["state"], bool(each["reason"])) for each in room.source.told}
    assert states == {"a": ("refused", True), "b": ("accepted", False)}


# ── outcomes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_everybody_s_outcome_is_told_with_id_task_id_and_reason(room: Room) -> None:
    room.source.put(notice("a", ONE, TWO, "123"), notice("b", THREE, text="另"))
    await room.consume(outcomes="told")
    told = {(each["id"], each["state"]): each for each in room.source.told}
    assert set(told) == {("a", "accepted"), ("a", "excluded"), ("b", "accepted")}
    assert sorted(told["a", "accepted"]["mobiles"]) == sorted([ONE, TWO])
    assert told["a", "accepted"]["task_id"].isdigit()
    assert (told["a", "excluded"]["mobiles"], told["a", "excluded"]["task_id"]) == (["123"], None)
    assert told["a", "excluded"]["reason"].startswith("invalid: ")
    assert {each["place"] for each in room.source.told} == {"told"}
    assert {each["campaign"] for each in room.source.told} == {today()}


async def test_what_could_not_be_told_is_told_by_the_next_run(room: Room) -> None:
    room.source.put(notice("a", ONE))
    room.source.breaks = ["publish"] * 5
    await room.consume(outcomes="told")
    assert room.source.told == []
    room.source.breaks = []
    await room.consume(outcomes="told")
    assert [(each["id"], each["state"]) for each in room.source.told] == [("a", "accepted")]
    await room.consume(outcomes="told")
    assert len(room.source.told) == 1


async def test_what_nobody_wanted_to_know_is_never_told(room: Room) -> None:
    room.source.put(notice("a", ONE))
    await room.consume()
    await room.consume(outcomes="told")
    assert room.source.told == []


async def test_a_doubt_is_told_and_so_is_its_end(room: Room) -> None:
    room.source.put(*(notice(f"n{at}", mobile, text=f"{at}") for at, mobile in enumerate(mobiles(6, seed=5))))
    await room.consume()  # answers that the balance can be measured by
    room.sim.set_faults({"drop_answer": 1.0})
    room.source.put(notice("a", ONE, TWO, THREE))
    async with room.engine() as engine:
        running = asyncio.create_task(room.consumed(engine, outcomes="told"))
        await room.sim.wait_for_accepted(9)
        room.sim.set_faults({})
        await running
    assert [each["state"] for each in room.source.told if each["id"] == "a"] == ["in_doubt", "accepted"]
    assert room.given(ONE) == ["您好"]


# ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_message_without_a_campaign_belongs_to_that_of_its_queue_and_day() -> None:
    frame = Frame(signature=None, signature_position="front", signature_required=False, opt_out=None, max_units=1000)
    days = iter([date(2026, 3, 1), date(2026, 3, 2)])
    judge = Judge(frame, Barred(), name="orders", today=lambda: next(days))
    found = read_notice(json.dumps(notice("a", ONE)).encode())
    parcels = [judge.parcel(Delivery(body=b"", handle=None), found, set()) for _ in range(2)]
    assert [parcel and parcel.campaign for parcel in parcels] == ["orders-2026-03-01", "orders-2026-03-02"]
