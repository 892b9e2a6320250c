"""Reports that are late, lost, early, out of order, old, or written in another way. Laid over real polls."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import datetime, timedelta, timezone
from itertools import pairwise

import pytest

from engine.simulator import Simulator
from tests.numbers import mobile, mobiles
from tests.simulator.client import Client, Got

CHINA = timezone(timedelta(hours=8))
NUMBERS = mobiles(1000)

Record = tuple[str, str, str]


def records(got: Got) -> list[Record]:
    """Mobile, status and errorcode of each record."""
    return list(zip(got.values("mobile"), got.values("status"), got.values("errorcode"), strict=True))


async def all_polls(client: Client, **more: object) -> list[list[Record]]:
    """Poll until nothing is left that could ever come. Without the empty polls."""
    polls = []
    async with asyncio.timeout(100):
        while client.sim.truth(detail=False)["reports"]["unread"]:
            polls.append(records(await client.reports(**more)))
    return [poll for poll in polls if poll]


def received(got: Got) -> list[datetime]:
    return [datetime.fromisoformat(text).replace(tzinfo=CHINA) for text in got.values("receivetime")]


@pytest.mark.parametrize("settings", [{"unreported": 0.2}], indirect=True)
async def test_some_numbers_are_never_heard_of_again(sim: Simulator, client: Client) -> None:
    await client.send(NUMBERS)

    polls = await all_polls(client, statusNum=300)

    told = [number for poll in polls for number, _, _ in poll]
    assert 150 < 1000 - len(told) < 250
    assert len(told) == len(set(told))
    assert [len(poll) for poll in polls[:-1]] == [300] * (len(polls) - 1)  # they take no place in a poll
    assert sim.truth()["reports"] == {
        "unread": 0, "read": len(told), "lost": 0, "unreported": 1000 - len(told), "planted": 0,
    }  # fmt: skip


@pytest.mark.parametrize("settings", [{"interim": 0.3, "undelivered": 0.5}], indirect=True)
async def test_an_interim_report_comes_a_poll_before_the_final_one(client: Client) -> None:
    await client.send(NUMBERS)

    first, second = await all_polls(client)

    waiting = [number for number, status, code in first if (status, code) == ("20", "ACCEPTD")]
    assert 250 < len(waiting) < 350
    assert [number for number, _, _ in second] == waiting
    assert {(status, code) for _, status, code in second} == {("10", "DELIVRD"), ("20", "UNDELIV")}


@pytest.mark.parametrize("settings", [{"late": 0.5, "late_s": 86_400.0}], indirect=True)
async def test_late_reports_come_in_their_time_of_a_clock_that_can_be_sped_up(sim: Simulator, client: Client) -> None:
    await client.send(NUMBERS)
    first = await client.reports()
    assert 400 < len(records(first)) < 600

    assert 0 <= (datetime.now(CHINA) - received(first)[0]).total_seconds() < 60

    sim.change({"clock_speed": 1e8})
    second = received(await client.reports())
    rest = await all_polls(client)

    assert len(records(first)) + len(second) + sum(map(len, rest)) == 1000
    late_s = [(at - received(first)[0]).total_seconds() for at in second]
    assert late_s == sorted(late_s)
    assert late_s[0] < 100
    assert max(late_s) < 86_402
    assert 0.2 < sum(late < 300 for late in late_s) / 500 < 0.8  # half of them in half of the magnitudes


@pytest.mark.parametrize("settings", [{"report_delay_s": 864_000.0, "clock_speed": 1e8}], indirect=True)
async def test_receivetimes_are_those_of_the_own_clock(sim: Simulator, client: Client) -> None:
    start = datetime.now(CHINA)
    await client.send(NUMBERS[:1])
    (((first, _, _),),) = await all_polls(client)
    sim.plant_reports(NUMBERS[1:2], age_s=0.0)

    got = await client.reports()

    assert first == NUMBERS[0]
    assert received(got)[0] - start > timedelta(days=10)


@pytest.mark.parametrize("settings", [{"reordered": 0.3}], indirect=True)
async def test_reports_may_be_overtaken_by_younger_ones(client: Client) -> None:
    for start in range(0, 1000, 100):
        await client.send(NUMBERS[start : start + 100])

    polls = await all_polls(client, statusNum=200)

    told = [number for poll in polls for number, _, _ in poll]
    assert sorted(told) == sorted(NUMBERS)
    behind = sum(told.index(one) > told.index(two) for one, two in pairwise(NUMBERS))
    assert 100 < behind < 300
    assert [len(poll) for poll in polls[:4]] == [200] * 4


@pytest.mark.parametrize("settings", [{"status_words": 0.5, "undelivered": 0.3}], indirect=True)
async def test_the_status_may_be_a_word(client: Client) -> None:
    await client.send(NUMBERS)

    (told,) = await all_polls(client)

    kinds = [(status, code) for _, status, code in told]
    for kind in (("10", "DELIVRD"), ("DELIVRD", "DELIVRD"), ("20", "UNDELIV"), ("UNDELIV", "UNDELIV")):
        assert kinds.count(kind) > 100
    assert len(set(kinds)) == 4


@pytest.mark.parametrize("settings", [{"time_format": "mixed", "report_delay_s": 0.0}], indirect=True)
async def test_times_may_be_in_all_forms_at_once(client: Client) -> None:
    await client.send(NUMBERS)

    times = (await client.reports()).values("receivetime")

    slashes = sum("/" in at for at in times)
    padded = sum(bool(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", at)) for at in times)
    assert 250 < slashes < 420
    assert padded > 250  # on some days of the year the unpadded form is the same
    assert all(re.fullmatch(r"\d{4}([-/])\d{1,2}\1\d{1,2} \d\d:\d\d:\d\d", at) for at in times)


@pytest.mark.parametrize("settings", [{"report_delay_s": 3600.0}], indirect=True)
async def test_old_reports_of_the_same_numbers_wait_at_the_start(sim: Simulator, client: Client) -> None:
    numbers = NUMBERS[:5]
    order = {"mobiles": numbers[:3], "task_id": "1504080852350206", "age_s": 7200}
    assert (await client.post("/_simulator/reports", json.dumps(order).encode())).status == 200
    sim.plant_reports(numbers[3:4])
    ours = (await client.send(numbers)).value("taskID")

    got = await client.reports()

    assert got.values("mobile") == [numbers[3], *numbers[:3]]  # the oldest first
    assert got.values("taskid") == [str(int(ours) - 1), *["1504080852350206"] * 3]
    ages = [datetime.now(CHINA) - at for at in received(got)]
    assert [round(age / timedelta(hours=1)) for age in ages] == [24, 2, 2, 2]
    assert sim.truth()["reports"] == {"unread": 5, "read": 4, "lost": 0, "unreported": 0, "planted": 4}
    assert (await client.reports()).values("mobile") == []


@pytest.mark.parametrize(
    "order",
    [
        {}, {"mobiles": mobile()}, {"mobiles": [1]}, {"mobiles": [], "task_id": [1]},
        {"mobiles": [], "age_s": "1"}, {"mobiles": [], "age_s": float("nan")}, {"mobiles": [], "age_s": 1e12},
    ],
)  # fmt: skip
async def test_an_order_for_old_reports_that_makes_no_sense_is_refused(
    sim: Simulator, client: Client, order: dict[str, object]
) -> None:
    assert (await client.post("/_simulator/reports", json.dumps(order).encode())).status == 400
    assert sim.truth()["reports"]["planted"] == 0


ALL = {
    "interim": 0.2, "late": 0.2, "late_s": 1e5, "reordered": 0.2, "unreported": 0.1, "repeated": 0.2,
    "status_words": 0.2, "undelivered": 0.2, "time_format": "mixed", "clock_speed": 1e9, "layout": "one_line",
}  # fmt: skip


@pytest.mark.parametrize("settings", [ALL], indirect=True)
@pytest.mark.parametrize("most", [7, 100, 4000])
async def test_everything_at_once_loses_nothing_and_invents_nothing(sim: Simulator, client: Client, most: int) -> None:
    for start in range(0, 1000, 100):
        await client.send(NUMBERS[start : start + 100])

    polls = await all_polls(client, statusNum=most)

    truth = sim.truth()["reports"]
    told = [record for poll in polls for record in poll]
    finals = [(number, code) for number, _, code in told if code != "ACCEPTD"]
    assert (truth["unread"], truth["read"]) == (0, len(told))
    assert len({number for number, _ in finals}) == 1000 - truth["unreported"]
    assert len(set(finals)) == len({number for number, _ in finals})  # a repeated report says the same again
    assert 0.1 < (len(finals) - len(set(finals))) / 1000 < 0.3
    assert max(finals.count(final) for final in set(finals)) == 2
    assert max(len(poll) for poll in polls) <= most
    assert records(await client.reports()) == []
