"""One poller against the simulator, over a real journal."""

from __future__ import annotations

import asyncio
import threading
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from engine.errors import JournalBusy, JournalError, NoAnswer
from engine.gateway.polls import Polled
from engine.gateway.wire import _plain_reports, read_reports
from engine.journal.port import PollAnswer, PollKind
from engine.journal.tracking import ENDED_DURING_POLL
from engine.runtime import Engine
from engine.simulator import Fault
from engine.tracking import Poller, Step, Waits
from engine.tracking.poller import LONG, replay
from tests.gateway.sockets import answering, http, serving
from tests.tracking.house import House, people


class Broken(Exception):
    """A mistake in the reader."""


def cannot(body: bytes, charset: str | None) -> Polled:
    raise Broken


async def test_full_polls_follow_each_other_until_the_queue_is_empty(house: House) -> None:
    house.sim.plant_reports(people(250))
    async with house.engine() as engine:
        poller = house.poller(engine, most=100)
        await poller.run(asyncio.Event(), until_empty=True)
        assert (poller.asked, poller.records, poller.fresh) == (4, 250, 250)
        assert poller.caught_up.is_set()
        assert await engine.journal.emptied_at(engine.account_key, PollKind.REPORT) is not None
    assert house.rows("SELECT most, records, outcome FROM poll") == [(100, n, "answered") for n in (100, 100, 50, 0)]


@pytest.mark.parametrize(
    ("kind", "waited"), [(PollKind.REPORT, [True, True, False, False]), (PollKind.REPLY, [True, True, True, True])]
)
async def test_nobody_waits_for_the_end_of_many_reports_and_they_are_read_on(
    house: House, kind: PollKind, waited: list[bool]
) -> None:
    house.sim.plant_reports(people(LONG + 5))
    stop, waits = asyncio.Event(), []

    def read(body: bytes, charset: str | None) -> Polled:
        waits.append(not poller.caught_up.is_set())
        polled = read_reports(body, charset, engine.gate.profile)
        if not polled.reports:
            loop.call_soon_threadsafe(stop.set)
        return polled

    async with house.engine() as engine:
        loop = asyncio.get_running_loop()
        asked = house.poller(engine, most=LONG // 2, read=read)
        poller = Poller(kind, asked._seam, asked._waits)
        await poller.run(stop)
        assert (poller.fresh, waits) == (LONG + 5, waited)


async def test_what_the_simulator_answers_is_of_the_usual_form(house: House) -> None:
    house.sim.plant_reports(people(3))
    plain: list[Polled | None] = []

    def read(body: bytes, charset: str | None) -> Polled:
        plain.append(_plain_reports(body))
        return read_reports(body, charset, engine.gate.profile)

    async with house.engine() as engine:
        await house.poller(engine, read=read).poll()
    (polled,) = plain
    assert polled is not None
    assert len(polled.reports) == 3


async def test_an_answer_is_on_the_disk_before_anybody_reads_it(house: House) -> None:
    house.sim.plant_reports(people(3))
    seen: list[Any] = []

    def look(body: bytes, charset: str | None) -> Polled:
        seen.extend(house.rows("SELECT body, applied_at FROM poll"))
        seen.append(body)
        return Polled()

    async with house.engine() as engine:
        await house.poller(engine, read=look).poll()
    (kept, applied_at), body = seen
    assert zlib.decompress(kept) == body
    assert body.count(b"<statusbox>") == 3
    assert applied_at is None


async def test_an_answer_that_cannot_be_read_is_kept_told_and_read_again_after_a_fix(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.sim.plant_reports(people(3))
    async with house.engine() as engine:
        broken = house.poller(engine, read=cannot)
        assert await broken.poll() is Step.FAILED
        assert "cannot be read; it is kept" in caplog.text
        assert (await engine.journal.polls(engine.account_key)).unread == 1
    async with house.engine() as engine:  # a later process, with a reader that works
        fixed = house.poller(engine)
        assert await replay(engine.journal, engine.account_key, [fixed]) == 1
        assert fixed.fresh == 3
        assert (await engine.journal.polls(engine.account_key)).unread == 0
        assert await replay(engine.journal, engine.account_key, [fixed]) == 0
    assert house.rows("SELECT count(*) FROM report") == [(3,)]


async def test_replay_reads_what_still_cannot_be_read_once_and_ends(house: House) -> None:
    house.sim.plant_reports(people(30))
    async with house.engine() as engine:
        broken = house.poller(engine, most=2, read=cannot)
        for _ in range(15):
            await broken.poll()
        assert await replay(engine.journal, engine.account_key, [broken]) == 0
        assert broken.unreadable == 30
        fixed = house.poller(engine)
        assert await replay(engine.journal, engine.account_key, [fixed]) == 15


async def test_a_lost_answer_is_counted_with_what_it_may_have_cost(house: House) -> None:
    house.sim.plant_reports(people(5))
    house.sim.set_faults({Fault.DROP_POLL: 1.0})
    async with house.engine() as engine:
        poller = house.poller(engine, most=200)
        assert await poller.poll() is Step.FAILED
        house.sim.set_faults({})
        assert await poller.poll() is Step.EMPTY
        tally = await engine.journal.polls(engine.account_key)
        assert (tally.made, tally.lost, tally.may_have_cost) == (2, 1, 200)


async def test_a_poll_that_never_got_there_has_lost_nothing(house: House) -> None:
    async with house.engine() as engine:
        poller = house.poller(engine)
        await house.sim.stop()
        assert await poller.poll() is Step.FAILED
        tally = await engine.journal.polls(engine.account_key)
        assert (tally.lost, tally.may_have_cost) == (0, 0)
    assert house.rows("SELECT outcome FROM poll") == [("not_taken",)]


async def test_a_process_that_ended_during_a_poll_has_lost_its_answer(house: House) -> None:
    async with house.engine() as engine:
        await engine.journal.begin_poll(
            engine.account_key, PollKind.REPORT, asked_at=engine.gate.http._clock(), most=1000
        )
    async with house.engine() as engine:
        tally = await engine.journal.polls(engine.account_key)
        assert (tally.lost, tally.may_have_cost) == (1, 1000)
    assert house.rows("SELECT problem FROM poll") == [(ENDED_DURING_POLL,)]


async def test_a_poll_that_is_cut_off_is_counted_as_lost(house: House) -> None:
    asked = asyncio.Event()

    async def hang(conversation: Any) -> None:
        await conversation.request()
        asked.set()
        await conversation.server.release.wait()

    async with serving(hang) as server, house.engine() as engine:
        engine.gate.http._url = server.url
        polling = asyncio.create_task(house.poller(engine).poll())
        await asked.wait()
        polling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await polling
        assert (await engine.journal.polls(engine.account_key)).lost == 1


async def test_a_poll_in_progress_is_finished_when_the_poller_is_stopped(house: House) -> None:
    asked, stop = asyncio.Event(), asyncio.Event()
    body = f"<returnsms><statusbox><mobile>{people(1)[0]}</mobile><taskid>7</taskid><status>10</status></statusbox></returnsms>"

    async def slow(conversation: Any) -> None:
        await conversation.request()
        asked.set()
        await conversation.server.release.wait()
        await conversation.write(http(body))

    async with serving(slow) as server, house.engine() as engine:
        engine.gate.http._url = server.url
        poller = house.poller(engine)
        running = asyncio.create_task(poller.run(stop))
        await asked.wait()
        stop.set()
        server.release.set()
        await running
        assert (poller.asked, poller.fresh) == (1, 1)


class TwoAtOnce:
    """A poller that reads its first answer when the test says so, in a thread."""

    def __init__(self, house: House, engine: Engine, *, second: Callable[[], Awaitable[None]]) -> None:
        self.may_read, self.asked_again, self._second = threading.Event(), asyncio.Event(), second
        poller = house.poller(engine, most=10, read=self._read)
        self._ask, self._profile = poller._seam.ask, engine.gate.profile
        self.poller = Poller(PollKind.REPORT, replace(poller._seam, ask=self._asked), poller._waits)

    async def run_until_it_asked_again(self) -> None:
        """Stop it then, and let it read."""
        stop = asyncio.Event()
        running = asyncio.create_task(self.poller.run(stop))
        await self.asked_again.wait()
        stop.set()
        self.may_read.set()
        await running

    async def _asked(self, most: int) -> Any:
        if self.poller.asked == 2:
            self.asked_again.set()
            await self._second()
        return await self._ask(most)

    def _read(self, body: bytes, charset: str | None) -> Polled:
        assert self.may_read.wait(60), "nobody asks while this is read"
        return read_reports(body, charset, self._profile)


async def nothing() -> None:
    pass


async def test_while_a_full_answer_is_read_the_next_one_is_asked_for(house: House) -> None:
    house.sim.plant_reports(people(25))
    async with house.engine() as engine:
        two = TwoAtOnce(house, engine, second=nothing)
        running = asyncio.create_task(two.poller.run(asyncio.Event(), until_empty=True))
        await two.asked_again.wait()
        two.may_read.set()
        await running
        assert (two.poller.asked, two.poller.fresh) == (4, 25)
    assert house.rows("SELECT records FROM poll") == [(10,), (10,), (5,), (0,)]


async def test_what_was_asked_for_when_a_stop_came_is_read_too(house: House) -> None:
    house.sim.plant_reports(people(50))
    async with house.engine() as engine:
        two = TwoAtOnce(house, engine, second=nothing)
        await two.run_until_it_asked_again()
        assert (two.poller.asked, two.poller.fresh) == (2, 20)
        assert (await engine.journal.polls(engine.account_key)).unread == 0


async def test_a_cut_while_two_are_under_way_keeps_the_one_and_loses_the_other(house: House) -> None:
    house.sim.plant_reports(people(50))
    async with house.engine() as engine:
        two = TwoAtOnce(house, engine, second=asyncio.Event().wait)  # type: ignore[arg-type]  # for ever
        running = asyncio.create_task(two.poller.run(asyncio.Event()))
        await two.asked_again.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        two.may_read.set()
        tally = await engine.journal.polls(engine.account_key)
        assert (tally.unread, tally.lost) == (1, 1)
        assert await replay(engine.journal, engine.account_key, [house.poller(engine)]) == 1
    assert house.rows("SELECT count(*) FROM report") == [(10,)]


async def test_trouble_with_the_answer_that_was_asked_for_ahead_is_told(house: House) -> None:
    house.sim.plant_reports(people(10))

    async def fail() -> None:
        raise NoAnswer("no answer in 30 s")

    async with house.engine() as engine:
        two = TwoAtOnce(house, engine, second=fail)
        await two.run_until_it_asked_again()
        assert (two.poller.fresh, two.poller.lost) == (10, 1)
        assert "no answer in 30 s" in two.poller.trouble


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_errors_1_to_3_stop_the_poller_with_the_reason(house: House, number: int) -> None:
    remark = {1: "用户名或密码不能为空", 2: "用户名或密码错误", 3: "该用户不允许查看状态报告"}[number]
    error = f"<returnsms><errorstatus><error>{number}</error><remark>{remark}</remark></errorstatus></returnsms>"
    async with serving(answering(http(error))) as server, house.engine() as engine:
        engine.gate.http._url = server.url
        poller = house.poller(engine)
        await poller.run(asyncio.Event())
        assert (poller.asked, poller.stopped) == (1, f"error {number}: {remark}")
        assert len(server.requests) == 1
    assert house.rows("SELECT said, records FROM poll") == [(f"error {number}: {remark}", 0)]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (
            http("<returnsms><errorstatus><error>4</error><remark>参数不正确</remark></errorstatus></returnsms>"),
            "answered",
        ),
        (
            http("<returnsms><errorstatus><error>6</error><remark>其他错误</remark></errorstatus></returnsms>"),
            "answered",
        ),
        (http("<html><body>login</body></html>"), "answered"),
        (http("<html><body>500</body></html>", "500 Internal Server Error"), "lost"),
        (http("<html><body>404</body></html>", "404 Not Found"), "not_taken"),
    ],
)
async def test_other_trouble_backs_off_and_gives_up_only_a_reading_to_the_end(
    house: House, answer: bytes, outcome: str
) -> None:
    async with serving(answering(answer)) as server, house.engine() as engine:
        engine.gate.http._url = server.url
        poller = house.poller(engine)
        await poller.run(asyncio.Event(), until_empty=True)
        assert (poller.asked, poller.stopped) == (3, "")
        assert poller.trouble
        assert poller.caught_up.is_set()
        assert await engine.journal.emptied_at(engine.account_key, PollKind.REPORT) is None
    assert house.rows("SELECT DISTINCT outcome FROM poll") == [(outcome,)]


def test_waits_double_after_failures_up_to_their_limit() -> None:
    waits = Waits(interval_s=30, failure_s=30, failure_max_s=600, failures_most=5)
    asked = Poller(PollKind.REPORT, None, waits)  # type: ignore[arg-type]
    assert [asked._wait_s(Step.FAILED, failures, eager=False) for failures in range(1, 8)] == [
        30, 60, 120, 240, 480, 600, 600,
    ]  # fmt: skip
    assert asked._wait_s(Step.FULL, 0, eager=False) == 0
    assert asked._wait_s(Step.SOME, 0, eager=False) == asked._wait_s(Step.EMPTY, 0, eager=False) == 30


async def test_a_gateway_that_forgets_nothing_is_not_asked_for_ever(house: House) -> None:
    body = "".join(
        f"<statusbox><mobile>{mobile}</mobile><taskid>7</taskid><status>10</status></statusbox>" for mobile in people(5)
    )
    async with serving(answering(http(f"<returnsms>{body}</returnsms>"))) as server, house.engine() as engine:
        engine.gate.http._url = server.url
        poller = house.poller(engine, most=5)
        await poller.run(asyncio.Event(), until_empty=True)
        assert (poller.fresh, len(server.requests)) == (5, 4)


@pytest.mark.parametrize("house", [{"faults": {Fault.ERROR_BESIDE: 1.0}}], indirect=True)
async def test_an_error_beside_records_costs_no_record(house: House) -> None:
    house.sim.plant_reports(people(20))
    async with house.engine() as engine:
        poller = house.poller(engine, most=10)
        assert await poller.poll() is Step.FULL
        assert await poller.poll() is Step.FULL
        assert poller.fresh == 20


async def test_half_an_answer_is_joined_as_far_as_it_came_and_the_rest_counted(house: House) -> None:
    first, second = people(2)
    body = (
        f"<returnsms><statusbox><mobile>{first}</mobile><taskid>7</taskid><status>10</status></statusbox>"
        f"<statusbox><mobile>{second}</mobile><task"
    )

    async def half(conversation: Any) -> None:
        await conversation.request()
        await conversation.write(http(body, length=5_000))
        conversation.close()

    async with serving(half) as server, house.engine() as engine:
        engine.gate.http._url = server.url
        poller = house.poller(engine, most=100)
        await poller.poll()
        assert poller.fresh == 1
        tally = await engine.journal.polls(engine.account_key)
        assert (tally.lost, tally.may_have_cost, tally.unread) == (1, 100 - 1, 0)


async def test_an_answer_is_kept_only_once(house: House) -> None:
    async with house.engine() as engine:
        now = engine.gate.http._clock()
        poll_id = await engine.journal.begin_poll(engine.account_key, PollKind.REPORT, asked_at=now, most=1)
        answer = PollAnswer(at=now, http_status=200, charset=None, complete=True, body=b"<returnsms/>")
        await engine.journal.keep_answer(poll_id, answer)
        with pytest.raises(JournalError, match="not under way"):
            await engine.journal.keep_answer(poll_id, answer)


async def test_a_second_poller_is_refused_also_with_another_journal(house: House) -> None:
    elsewhere = house.settings(journal="other.db")
    async with house.engine():
        for settings in (house.settings(), elsewhere):
            with pytest.raises(JournalBusy):
                async with house.engine(settings):
                    pass
