"""What scripts rely on: the JSON, its keys in their order, and the exit codes, each produced for real."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.cli.desk import TEXT, Desk
from tests.numbers import mobiles

CONTRACT = {
    "schema": 1,
    "campaign": "spring",
    "state": "finished",
    "reasons": [],
    "rows": 15,
    "extra": 1,
    "excluded": {"invalid": 1, "duplicate": 1, "opted_out": 0, "empty": 1, "landline": 1, "malformed": 2},
    "recipients": {
        "planned": 0, "in_flight": 0, "accepted": 10, "refused": 0, "in_doubt": 0, "cancelled": 0, "expired": 0,
    },
    "batches": {
        "planned": 0, "in_flight": 0, "accepted": 3, "refused": 0, "in_doubt": 0, "cancelled": 0, "expired": 0, "split": 0,
    },
    "delivery": {"delivered": 0, "undelivered": 0, "unreported": 10},
    "points": {"opening": 5000, "estimated": 10, "charged": 10, "remaining": 4990, "unexplained": 0},
    "account": "default",
}  # fmt: skip


def dirty_list() -> str:
    """15 rows: 10 mobiles in 9 rows, and one row of each kind that is left out; columns shifted twice."""
    numbers = mobiles(10)
    good = [f"客户,{number},北京" for number in numbers[:8]] + [f"客户,{numbers[8]} / {numbers[9]},北京"]
    bad = [
        f"客户,{numbers[0]},北京",
        "客户,123,北京",
        "客户,,北京",
        "客户,010-62345678,北京",
        "客户",
        f"客户,{numbers[1]},a,b,c",
    ]
    return "\n".join(["姓名,手机号,城市", *good, *bad]) + "\n"


async def test_send_run_and_status_print_the_same_object_and_it_is_the_contract(desk: Desk) -> None:
    desk.write("list.csv", dirty_list())

    sent = await desk.run(*desk.order("--campaign", "spring", "--batch-size", "4", "--json"))
    shown, listed = await asyncio.gather(desk.run("status", "spring", "--json"), desk.run("status", "--json"))
    again = await desk.run("run", "spring", "--json")

    assert (sent.code, shown.code, listed.code, again.code) == (0, 0, 0, 0)
    assert listed.json == [sent.json]
    assert sent.output == json.dumps(CONTRACT, ensure_ascii=False) + "\n"  # in this order
    assert shown.output == again.output == sent.output
    desk.check_once(mobiles(10))


async def test_balance_prints_what_the_gateway_says(desk: Desk) -> None:
    end = await desk.run("balance", "--json")

    assert (end.code, end.output) == (0, '{"payinfo": "预付费", "remaining": 5000, "send_total": 5000}\n')


async def test_a_plan_counts_every_row_and_touches_nothing(desk: Desk) -> None:
    desk.write("list.csv", dirty_list())

    plan = (await desk.run("plan", "list.csv", "--text", TEXT, "--json")).json

    assert list(plan) == [
        "schema", "campaign", "plan_hash", "order_key", "rows", "extra", "recipients", "excluded", "batches", "segments",
        "points", "balance", "keep_points", "reserved", "begins", "ends", "expires", "windows", "canary", "seconds", "text", "encoding", "column", "lists", "rejects", "texts", "parts", "longest", "samples", "added_to",
        "kind", "risks", "reached", "keywords",
        "account", "yuan",
    ]  # fmt: skip
    assert plan["rows"] + plan["extra"] == plan["recipients"] + sum(plan["excluded"].values()) == 16
    assert plan["excluded"]["malformed"] == 2
    assert (desk.campaigns(), desk.truth["requests"]) == ([], 0)


async def test_status_is_an_empty_list_before_the_first_campaign(desk: Desk) -> None:
    assert (await desk.run("status", "--json")).output == "[]\n"


async def test_check_says_that_all_is_well(desk: Desk) -> None:
    end = await desk.run("check", "--json")

    assert end.code == 0
    assert end.json["ok"]
    assert (end.json["balance"]["remaining"], end.json["problems"]) == (5000, [])
    assert not desk.journal.exists()


@pytest.mark.parametrize(
    ("settings", "verdict", "code"),
    [({}, "clean", 0), ({"forbidden": ("新品",)}, "forbidden", 3)],
    indirect=["settings"],
)
async def test_keywords_gives_the_verdict(desk: Desk, verdict: str, code: int) -> None:
    end = await desk.run("keywords", TEXT, "--json")

    assert (end.code, end.json["verdict"]) == (code, verdict)
    assert desk.truth["requests"] == 0


def counts(status: dict[str, Any], *states: str) -> tuple[int, ...]:
    return tuple(status["recipients"][state] for state in states)


async def test_3_when_some_were_refused(desk: Desk) -> None:
    desk.list(40)
    desk.sim.set_faults({"faild_parameter": 0.5})

    end = await desk.run(*desk.order("--batch-size", "4", "--json"))

    accepted, refused = counts(end.json, "accepted", "refused")
    assert (end.code, end.json["state"], accepted + refused) == (3, "finished", 40)
    assert refused > 0


async def test_4_when_nothing_is_left_but_doubts(desk: Desk) -> None:
    desk.list(5)
    desk.sim.set_faults({"drop_answer": 1})

    end = await desk.run(*desk.order("--json"))

    assert (end.code, end.json["state"], end.json["reasons"]) == (4, "paused", ["in_doubt"])
    assert counts(end.json, "in_doubt") == (5,)
    assert end.json["points"]["unexplained"] == 5  # the gateway took them, and that shows


@pytest.mark.parametrize(
    "environ", [{"XINSHI_ACCOUNT__PASSWORD": "wrong"}, {"XINSHI_ACCOUNT__URL": "http://127.0.0.1:1"}]
)
async def test_5_before_sending_leaves_nothing(desk: Desk, environ: dict[str, str]) -> None:
    desk.list(5)

    end = await desk.run(*desk.order("--json"), environ=environ)

    assert (end.code, end.output) == (5, "")
    assert "nothing was sent" in end.errors
    assert (desk.rows("SELECT * FROM campaign"), desk.truth["requests"]) == ([], 0)


@pytest.mark.parametrize("settings", [{"points": 7}], indirect=True)
async def test_5_when_the_points_do_not_reach_leaves_nothing(desk: Desk) -> None:
    desk.list(10)

    end = await desk.run(*desk.order())

    assert (end.code, end.output) == (5, "")
    assert "10 points and 7 are left (3 too few)" in end.errors
    assert (desk.rows("SELECT * FROM campaign"), desk.truth["requests"]) == ([], 0)


@pytest.mark.parametrize("settings", [{"points": 7}], indirect=True)
async def test_allow_partial_sends_whole_batches_and_run_the_rest_after_a_top_up(desk: Desk) -> None:
    numbers = desk.list(10)
    plan = ("plan", "list.csv", "--text", TEXT)
    previews = [(await desk.run(*plan, *flag)).output for flag in ((), ("--allow-partial",))]
    assert "3 TOO FEW: top up, or send a part with --allow-partial" in previews[0], previews
    assert "3 TOO FEW: what they reach for is sent, as --allow-partial says" in previews[1], previews

    part = await desk.run(*desk.order("--campaign", "spring", "--batch-size", "2", "--allow-partial", "--json"))
    assert (part.code, part.json["reasons"], counts(part.json, "accepted", "planned")) == (75, ["balance"], (6, 4))
    waits = await desk.run("run", "spring", "--json")
    assert (waits.code, counts(waits.json, "accepted", "planned")) == (75, (6, 4))
    desk.sim.top_up(100)
    rest = await desk.run("run", "spring", "--json")

    assert (rest.code, rest.json["state"]) == (0, "finished")
    desk.check_once(numbers)


async def test_75_when_only_a_part_was_released(desk: Desk) -> None:
    numbers = desk.list(10)

    part = await desk.run(*desk.order("--campaign", "spring", "--batch-size", "2", "--limit", "5", "--json"))
    assert (part.code, part.json["reasons"], counts(part.json, "accepted", "planned")) == (75, ["limit"], (4, 6))
    more = await desk.run("run", "spring", "--limit", "2", "--json")
    assert (more.code, counts(more.json, "accepted", "planned")) == (75, (6, 4))
    rest = await desk.run("run", "spring", "--json")

    assert rest.code == 0
    desk.check_once(numbers)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("faild_credentials", "credentials"),
        ("faild_content", "content"),
        ("faild_unknown", "refusals"),
        ("http_500", "doubts"),
    ],
)
async def test_75_when_the_gateway_gives_a_reason_to_stop(desk: Desk, fault: str, reason: str) -> None:
    desk.list(60)
    desk.sim.set_faults({fault: 1})

    end = await desk.run(*desk.order("--batch-size", "4", "--json"))

    assert (end.code, end.json["state"], end.json["reasons"]) == (75, "paused", [reason])
    assert desk.truth["accepted_numbers"] == 0
    assert sum(end.json["recipients"].values()) == 60
