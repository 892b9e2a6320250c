"""The engine as a library: rows in, events out, two engines beside each other, nothing left behind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import engine
from engine.errors import BalanceTooLow, IntakeError, JournalBusy, PlanError, SettingsError
from engine.library import FOLLOWED_MOST, _Follower
from engine.model import CampaignState, PauseReason
from engine.moments import CHINA
from engine.orders.conduct import Wish
from engine.simulator import Simulator, SimulatorSettings
from tests.notify.samples import NOW
from tests.numbers import mobiles

ROOT = Path(__file__).parents[2]
TEXT = "{姓名}您好，春季新品到店"


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(SimulatorSettings(points=5_000, seed=1)) as simulator:
        yield simulator


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", str(temporary))


def opened(sim: Simulator, folder: Path, **settings: Any) -> AbstractAsyncContextManager[engine.Engine]:
    given = {
        "account.url": sim.url,
        "account.password": "demo",
        "journal.url": folder / "xinshi.db",
        "pace.requests_per_second": 0,
        "batch.max_recipients": 10,
        "settlement.min_age_s": 1,
        "settlement.balance_settle_s": 0.1,
        "tracking.report_interval_s": 0.2,
        **settings,
    }
    return engine.open(settings=given, environ={"HOME": str(folder), "XDG_STATE_HOME": str(folder)})


def people(count: int, *, seed: int = 1) -> list[dict[str, object]]:
    return [{"姓名": f"客户{at}", "手机号": number} for at, number in enumerate(mobiles(count, seed=seed))]


async def streamed(rows: Iterable[engine.Row]) -> AsyncIterator[engine.Row]:
    for row in rows:
        await asyncio.sleep(0)
        yield row


# ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_rows_from_an_async_iterable_are_planned_sent_and_told(sim: Simulator, tmp_path: Path) -> None:
    async with opened(sim, tmp_path) as xinshi:
        rows = [*people(25), {"姓名": "无", "手机号": "12345"}]
        campaign = await xinshi.plan(streamed(rows), text=TEXT, signature="测试", name="spring")
        assert campaign.planned is not None
        assert (campaign.planned.rows, campaign.planned.left_out, campaign.planned.recipients) == (26, 1, 25)
        told = [event async for event in campaign.events()]
        summary = await campaign.summary()
    assert [type(event) for event in told if not isinstance(event, engine.Reported | engine.BatchAccepted)] == [
        engine.Planned,
        engine.Started,
        engine.Ended,
    ]
    assert {event.campaign for event in told} == {"spring"}
    accepted = [event for event in told if isinstance(event, engine.BatchAccepted)]
    assert sum(event.recipients for event in accepted) == 25
    assert sum(event.points for event in accepted) == Decimal(25)
    assert (summary.state, summary.recipients["accepted"]) == (CampaignState.FINISHED, 25)
    number = str(rows[7]["手机号"])
    assert sim.told(number) == ["【测试】客户7您好，春季新品到店"]


@pytest.mark.parametrize("rows", [mobiles(12, seed=3), (str(number) for number in mobiles(12, seed=3))])
async def test_numbers_alone_are_rows_too(sim: Simulator, tmp_path: Path, rows: Iterable[str]) -> None:
    async with opened(sim, tmp_path) as xinshi:
        campaign = await xinshi.plan(rows, text="【测试】春季新品到店")
        assert (await campaign.run()).recipients["accepted"] == 12
    assert sim.truth()["mobiles"] == dict.fromkeys(mobiles(12, seed=3), 1)


async def test_cells_of_other_types_are_written_as_people_do(sim: Simulator, tmp_path: Path) -> None:
    (number,) = mobiles(1, seed=4)
    row = {"phone": float(number), "姓名": 'a "b", c', "城市": None, "备注": "x\ny", "积分": 12}
    async with opened(sim, tmp_path) as xinshi:
        text = "【测试】{姓名}{积分}分"
        campaign = await xinshi.plan([row], text=text)
        await campaign.run()
    assert sim.told(number) == ['【测试】a "b", c12分']


async def test_a_list_file_is_planned_the_same_way(sim: Simulator, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("手机号\n" + "\n".join(mobiles(5, seed=5)) + "\n")
    async with opened(sim, tmp_path) as xinshi:
        campaign = await xinshi.plan(path, text="【测试】春季新品到店")
        assert (await campaign.run()).recipients["accepted"] == 5


@pytest.mark.parametrize("form", ["time", "time without a zone", "words"])
async def test_the_gateway_can_be_told_when_to_send(sim: Simulator, tmp_path: Path, form: str) -> None:
    at = (datetime.now(CHINA) + timedelta(hours=3)).replace(second=0, microsecond=0)
    given = {
        "time": at.astimezone(UTC),
        "time without a zone": at.replace(tzinfo=None),
        "words": f"{at:%Y-%m-%d %H:%M}",
    }
    async with opened(sim, tmp_path) as xinshi:
        campaign = await xinshi.plan(mobiles(5, seed=5), text="【测试】春季新品到店", gateway_schedule=given[form])
        summary = await campaign.run()
    assert (summary.recipients["accepted"], summary.scheduled_for) == (5, at)
    assert {send["send_at"] for send in sim.truth()["sends"]} == {at.timestamp()}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "nothing came"),
        ([{}], "row 1 has no columns"),
        ([{"手机号": "1"}, {"手机": "2"}], "row 2 has a column that the first row has not: 手机"),
        ([{"手机号": "1", "姓名": "a"}, "2"], "row 2 is a number alone"),
        ([["1"]], "row 1 is list"),
        (["12345"], "the rows: none of its 1 rows holds a number"),
        ([{"a": "x"}], "the rows: .*no column"),
    ],
)
async def test_rows_that_are_not_alike_are_refused(sim: Simulator, tmp_path: Path, rows: Any, words: str) -> None:
    async with opened(sim, tmp_path) as xinshi:
        with pytest.raises((PlanError, IntakeError), match=words):
            await xinshi.plan(rows, text="【测试】春季")
        assert await xinshi.campaigns() == []


async def test_nothing_of_the_rows_stays_in_the_temporary_folder(sim: Simulator, tmp_path: Path) -> None:
    seen: list[int] = []

    def rows() -> Iterator[engine.Row]:
        for row in people(3):
            seen.extend(path.stat().st_mode & 0o777 for path in (tmp_path / "tmp").rglob("*.csv"))
            yield row

    async def failing() -> AsyncIterator[engine.Row]:
        yield people(1)[0]
        raise OSError("the source is gone")

    async with opened(sim, tmp_path) as xinshi:
        await xinshi.plan(rows(), text=TEXT, signature="测试")
        with pytest.raises(OSError, match="the source is gone"):
            await xinshi.plan(failing(), text=TEXT, signature="测试")
    assert set(seen) == {0o600}
    assert list((tmp_path / "tmp").iterdir()) == []


async def test_an_export_has_the_columns_of_rows_that_are_gone(sim: Simulator, tmp_path: Path) -> None:
    async with opened(sim, tmp_path) as xinshi:
        campaign = await xinshi.plan(people(4), text=TEXT, signature="测试", name="spring")
        await campaign.run()
    environ = {
        "XDG_STATE_HOME": str(tmp_path),
        "XINSHI_JOURNAL__URL": str(tmp_path / "xinshi.db"),
        "PYTHONPATH": str(ROOT),
    }
    words = [sys.executable, "-m", "engine", "export", "spring", "--output", "-", "--format", "jsonl"]
    end = await asyncio.to_thread(subprocess.run, words, env=environ, capture_output=True, text=True, cwd=tmp_path)
    assert end.returncode == 0, end.stderr
    assert '"姓名": "客户3"' in end.stdout or '"姓名":"客户3"' in end.stdout


# ── campaigns ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_same_rows_and_text_are_the_same_campaign(sim: Simulator, tmp_path: Path) -> None:
    async with opened(sim, tmp_path) as xinshi:
        first = await xinshi.plan(people(6), text=TEXT, signature="测试")
        await first.run()
    async with opened(sim, tmp_path) as xinshi:
        again = await xinshi.plan(streamed(people(6)), text=TEXT, signature="测试")
        assert (again.name, again.planned) == (first.name, None)
        assert (await again.run()).state is CampaignState.FINISHED
        assert sim.truth()["accepted_numbers"] == 6
        anew = await xinshi.plan(people(6), text=TEXT, signature="测试", again=True)
        assert anew.name != first.name
        assert [each.campaign for each in await xinshi.campaigns()] == [first.name, anew.name]


async def test_what_cannot_be_paid_is_refused_and_leaves_nothing(sim: Simulator, tmp_path: Path) -> None:
    sim.spend(4_995)
    async with opened(sim, tmp_path) as xinshi:
        with pytest.raises(BalanceTooLow):
            await xinshi.plan(people(6), text=TEXT, signature="测试")
        assert await xinshi.campaigns() == []
        campaign = await xinshi.plan(people(6), text=TEXT, signature="测试", allow_partial=True)
        summary = await campaign.run()
    assert summary.reasons == (PauseReason.BALANCE,)


async def test_a_run_waits_for_points_and_says_so(sim: Simulator, tmp_path: Path) -> None:
    sim.spend(4_995)
    told: list[type[engine.Event]] = []
    async with opened(sim, tmp_path, **{"wait.poll_s": 0.1}) as xinshi:
        campaign = await xinshi.plan(people(6), text=TEXT, signature="测试", wait=True)
        async for event in campaign.events(wait=True):
            if not isinstance(event, engine.BatchAccepted | engine.Reported):
                told.append(type(event))
            if isinstance(event, engine.Paused):
                assert event.waits
                sim.top_up(100)
    assert told == [engine.Planned, engine.Paused, engine.Resumed, engine.Started, engine.Ended]
    assert sim.truth()["accepted_numbers"] == 6


async def test_a_campaign_is_steered_while_it_runs(sim: Simulator, tmp_path: Path) -> None:
    sim.change({"latency_s": 0.1})
    async with opened(sim, tmp_path, **{"pace.in_flight": 1}) as xinshi:
        campaign = await xinshi.plan(people(60), text="【测试】春季")
        running = asyncio.create_task(campaign.run())
        await sim.wait_for_accepted(10)
        told: list[engine.Event] = []
        following = asyncio.create_task(_follow(campaign, told))
        assert "pauses" in await campaign.pause()
        await _told(told, engine.Paused)
        assert "goes on" in await campaign.resume()
        await _told(told, engine.Resumed)
        await campaign.cancel()
        summary = await running
        await following
    assert summary.state is CampaignState.CANCELLED
    assert sim.truth()["accepted_numbers"] == summary.recipients["accepted"] < 60


async def _follow(campaign: engine.Campaign, told: list[engine.Event]) -> None:
    async for event in campaign.events():
        told.append(event)


async def _told(told: list[engine.Event], kind: type[engine.Event]) -> None:
    async with asyncio.timeout(100):
        while not any(isinstance(event, kind) for event in told):
            await asyncio.sleep(0.005)


async def test_who_leaves_the_loop_ends_no_run_and_the_end_of_the_block_stops_it_gently(
    sim: Simulator, tmp_path: Path
) -> None:
    sim.change({"latency_s": 0.05})
    async with opened(sim, tmp_path, **{"pace.in_flight": 1}) as xinshi:
        campaign = await xinshi.plan(people(200), text="【测试】春季")
        async for event in campaign.events():
            if isinstance(event, engine.BatchAccepted):
                break
        assert (await campaign.summary()).state is CampaignState.RUNNING
        await sim.wait_for_accepted(20)
    taken = sim.truth()["accepted_numbers"]
    async with opened(sim, tmp_path) as xinshi:
        summary = await (await xinshi.campaign(campaign.name)).summary()
    assert (summary.recipients["accepted"], summary.recipients["in_doubt"]) == (taken, 0)
    assert summary.reasons == (PauseReason.STOPPED,)


async def test_a_cancelled_run_lets_the_answers_come_in(sim: Simulator, tmp_path: Path) -> None:
    sim.change({"latency_s": 0.2})
    async with opened(sim, tmp_path) as xinshi:
        campaign = await xinshi.plan(people(60), text="【测试】春季")
        running = asyncio.create_task(campaign.run())
        await sim.wait_for_accepted(20)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        summary = await campaign.summary()
    assert summary.recipients["in_doubt"] == 0
    assert summary.recipients["accepted"] == sim.truth()["accepted_numbers"]


async def test_an_engine_that_is_cancelled_while_it_closes_waits_for_every_run(sim: Simulator, tmp_path: Path) -> None:
    sim.change({"latency_s": 0.2})
    async with opened(sim, tmp_path, **{"pace.in_flight": 1}) as xinshi:
        campaigns = [await xinshi.plan(people(60, seed=seed), text="【测试】春季") for seed in (1, 2)]
        runs = [asyncio.create_task(campaign.run()) for campaign in campaigns]  # the second one waits for its turn
        await sim.wait_for_requests(1)
        closing = asyncio.create_task(xinshi.close())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert [campaign._running.done() for campaign in campaigns if campaign._running] == [True, True]
        summaries = await asyncio.gather(*runs)
    assert [summary.state for summary in summaries] == [CampaignState.PAUSED, CampaignState.PAUSED]


async def test_settings_that_are_missing_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="password"):
        async with engine.open(environ={"HOME": str(tmp_path)}):
            pass
    with pytest.raises(SettingsError, match="no such account"):
        async with engine.open(account="north", environ={"HOME": str(tmp_path)}):
            pass


def test_a_slow_follower_gets_batches_together() -> None:
    follower = _Follower()
    for _ in range(FOLLOWED_MOST + 500):
        follower.put(engine.BatchAccepted(campaign="a", at=NOW, recipients=10, points=Decimal(10)))
    follower.put(engine.BatchRefused(campaign="a", at=NOW, recipients=10, reason="no"))
    waiting = list(follower._waiting)
    assert len(waiting) == FOLLOWED_MOST + 1
    assert sum(event.recipients for event in waiting[:-1]) == 10 * (FOLLOWED_MOST + 500)  # type: ignore[attr-defined]
    assert sum(event.batches for event in waiting[:-1]) == FOLLOWED_MOST + 500  # type: ignore[attr-defined]


# ── two engines, and the example ─────────────────────────────────────────────────────────────────────────────────────


async def test_two_engines_in_one_process_work_at_the_same_time(sim: Simulator, tmp_path: Path) -> None:
    other_settings = SimulatorSettings(userid="34", account="north", password="geheim", points=900, latency_s=0.05)
    sim.change({"latency_s": 0.05})
    login = {"account.userid": "34", "account.account": "north", "account.password": "geheim"}
    async with (
        Simulator(other_settings) as other,
        opened(sim, tmp_path / "a") as left,
        opened(other, tmp_path / "b", **login) as right,
    ):
        mine = await left.plan(people(80, seed=1), text=TEXT, signature="左边", name="spring")
        theirs = await right.plan(people(80, seed=2), text=TEXT, signature="右边", name="spring")
        told: dict[str, list[engine.Event]] = {"left": [], "right": []}

        async def follow(side: str, campaign: engine.Campaign) -> None:
            async for event in campaign.events():
                told[side].append(event)

        await asyncio.gather(follow("left", mine), follow("right", theirs))
        assert sim.truth()["mobiles"] == dict.fromkeys(mobiles(80, seed=1), 1)
        assert other.truth()["mobiles"] == dict.fromkeys(mobiles(80, seed=2), 1)
        assert (await left.balance()).remaining == Decimal(4_920)
        assert (await right.balance()).remaining == Decimal(820)
    for events in told.values():
        assert sum(event.recipients for event in events if isinstance(event, engine.BatchAccepted)) == 80
        assert isinstance(events[-1], engine.Ended)
    (left_batch, *_) = [each for each in told["left"] if isinstance(each, engine.BatchAccepted)]
    (right_end,) = [each for each in told["right"] if isinstance(each, engine.Ended)]
    assert left_batch.at < right_end.at  # they did work at the same time


async def test_each_campaign_of_an_engine_goes_at_its_own_pace_on_the_lane_of_the_account(
    sim: Simulator, tmp_path: Path
) -> None:
    async with opened(sim, tmp_path, **{"batch.max_recipients": 1}) as xinshi:
        machine = xinshi._machine
        slow = await xinshi.plan(people(5, seed=1), text=TEXT, signature="测试", name="slow")
        quick = await xinshi.plan(people(40, seed=2), text=TEXT, signature="测试", name="quick")
        record = await machine.journal.find_campaign(name="slow")
        assert record is not None
        await machine.decide(record, Wish(at=NOW, requests_per_second=5, in_flight=2))
        await slow.run()
        lane = machine._outfit.steering.lane
        assert lane is not None
        assert (lane.limits.requests_per_second, lane.limits.in_flight) == (5, 2)
        await quick.run()
        assert machine._outfit.steering.lane is lane
        assert (lane.limits.requests_per_second, lane.limits.in_flight) == (0, 16)
    assert sim.truth()["accepted_numbers"] == 45


async def test_one_journal_has_one_engine(sim: Simulator, tmp_path: Path) -> None:
    async with opened(sim, tmp_path):
        with pytest.raises(JournalBusy):
            async with opened(sim, tmp_path):
                pass


def test_every_name_is_there_and_has_words() -> None:
    for name in engine.__all__:
        assert getattr(engine, name) is not None
        assert getattr(engine, name).__doc__ or name in ("Row", "Rows")
    with pytest.raises(AttributeError):
        _ = engine.nothing  # type: ignore[attr-defined]


async def test_the_example_sends(sim: Simulator, tmp_path: Path) -> None:
    numbers = mobiles(15, seed=6)
    settings = tmp_path / "xinshi.toml"
    settings.write_text(f'[account]\nurl = "{sim.url}"\n[journal]\nurl = "xinshi.db"\n')
    environ = {"PYTHONPATH": str(ROOT), "XINSHI_ACCOUNT__PASSWORD": "demo", "XDG_STATE_HOME": str(tmp_path)}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "config" / "example.py"),
        str(settings),
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output, errors = await process.communicate("".join(f"{number},王芳\n" for number in numbers).encode())
    assert (process.returncode, errors.decode()) == (0, "")
    assert output.decode().splitlines()[0] == "15 recipients, 15 points"
    assert output.decode().splitlines()[-1] == "finished: 15 points"
    assert sim.truth()["mobiles"] == dict.fromkeys(numbers, 1)
