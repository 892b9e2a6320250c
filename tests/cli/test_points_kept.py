"""Points that stay, points for other campaigns, and points that cost more than expected."""

from __future__ import annotations

import pytest

from tests.cli.desk import Desk, during, ended

DEAR = {"points": 1_000, "price": 2}
FAST = ("--requests-per-second", "0", "--batch-size", "10")


@pytest.mark.parametrize("settings", [{"points": 1_000}, DEAR], indirect=True)
async def test_the_balance_never_falls_below_the_floor(desk: Desk) -> None:
    desk.list(400)
    words = ("--keep-points", "600", "--allow-partial", "--campaign", "spring", "--json", *FAST)
    end = await desk.run(*desk.order(*words))
    assert (end.code, end.json["state"], end.json["reasons"]) == (0, "finished", []) or (
        end.code,
        end.json["reasons"],
    ) == (75, ["floor"])
    assert desk.truth["balance"] >= 600
    assert desk.truth["balance"] - 600 < 20


@pytest.mark.parametrize("settings", [DEAR], indirect=True)
async def test_a_later_run_keeps_the_floor_until_it_is_lowered(desk: Desk) -> None:
    numbers = desk.list(400)
    await desk.run(*desk.order("--keep-points", "600", "--campaign", "spring", *FAST))
    left = desk.truth["balance"]
    again = await desk.run("run", "spring", "--json")
    assert (again.code, again.json["reasons"], desk.truth["balance"]) == (75, ["floor"], left)
    rest = await desk.run("run", "spring", "--keep-points", "100", "--requests-per-second", "0", "--json")
    assert (rest.code, rest.json["state"]) == (0, "finished")
    desk.check_once(numbers)


@pytest.mark.parametrize("settings", [{"points": 1_000}], indirect=True)
async def test_too_few_points_above_the_floor_are_refused_before_anything_is_sent(desk: Desk) -> None:
    desk.list(400)
    desk.configure("[money]\nkeep_points = 700\n")
    refused = await desk.run(*desk.order())
    assert (refused.code, desk.truth["requests"], desk.campaigns()) == (5, 0, [])
    assert "700 are to stay (100 too few)" in refused.errors
    sent = await desk.run(*desk.order("--keep-points", "600", "--json"))  # the flag wins
    assert (sent.code, desk.truth["balance"]) == (0, 600)


@pytest.mark.parametrize("settings", [{"points": 1_000}], indirect=True)
async def test_a_floor_that_a_top_up_lifts_is_waited_out(desk: Desk) -> None:
    numbers = desk.list(400)
    desk.configure("[wait]\npoll_s = 0.1\npoll_max_s = 0.1\n")
    words = ("--keep-points", "700", "--wait", "--allow-partial", "--campaign", "spring", "--json", *FAST)
    process = await desk.start(*desk.order(*words))
    await during(process, desk.sim.wait_for_accepted(291))
    desk.sim.top_up(500)
    end = await ended(process)
    assert (end.code, end.json["state"]) == (0, "finished")
    desk.check_once(numbers)
    assert desk.truth["balance"] == 1_100


@pytest.mark.parametrize("settings", [DEAR], indirect=True)
async def test_a_price_that_is_not_the_expected_one_is_told_and_the_next_plan_reckons_with_it(desk: Desk) -> None:
    desk.list(100)
    desk.list(100, seed=2, name="other.csv")
    first = await desk.run(*desk.order("--json", *FAST))
    assert "charges 2 points for a segment, not 1" in first.errors
    plan = await desk.run("plan", "other.csv", "--text", "【测试】另一条", "--json")
    assert (plan.json["points"], plan.json["balance"]) == (200, 800)


@pytest.mark.parametrize("settings", [{"points": 1_000}], indirect=True)
async def test_points_for_an_unfinished_campaign_are_not_spent_by_another(desk: Desk) -> None:
    desk.list(500)
    others = desk.list(600, seed=2, name="other.csv")
    await desk.run(
        *desk.order("--campaign", "spring", "--limit", "100", *FAST)
    )  # 400 are left to send, with 900 points
    plan = (await desk.run("plan", "other.csv", "--text", "【测试】另一条", "--json")).json
    assert plan["reserved"] == {"spring": 400}

    order = ("send", "other.csv", "--text", "【测试】另一条", "--yes", "--campaign", "other", *FAST, "--json")
    refused = await desk.run(*order)
    assert (refused.code, desk.campaigns(), desk.truth["balance"]) == (5, ["spring"], 900)
    assert "400 are reserved for other campaigns (spring; --ignore-reserve spends them) (100 too few)" in refused.errors

    part = await desk.run(*order, "--allow-partial")
    assert (part.code, part.json["reasons"]) == (75, ["balance"])
    assert 400 <= desk.truth["balance"] < 410
    assert (await desk.run("run", "spring", *FAST[:2])).code == 0  # its own points are its own
    assert len(others) - part.json["recipients"]["accepted"] == part.json["recipients"]["planned"] > 0


@pytest.mark.parametrize("settings", [{"points": 1_000}], indirect=True)
async def test_the_reserve_can_be_spent_on_purpose(desk: Desk) -> None:
    desk.list(500)
    desk.list(600, seed=2, name="other.csv")
    await desk.run(*desk.order("--campaign", "spring", "--limit", "100", *FAST))
    order = ("send", "other.csv", "--text", "【测试】另一条", "--yes", *FAST, "--json", "--ignore-reserve")
    assert (await desk.run(*order)).code == 0
    assert desk.truth["balance"] == 300


@pytest.mark.parametrize(("settings", "ratio"), [(DEAR, 2), ({"points": 1_000}, None)], indirect=["settings"])
async def test_points_that_are_missing_by_another_price_name_it_and_the_setting(desk: Desk, ratio: int | None) -> None:
    desk.list(200)
    sent = await desk.run(*desk.order("--campaign", "spring", "--json", *FAST))
    points = sent.json["points"]
    assert (sent.code, points["charged"], points.get("likely_price_ratio")) == (0, 200, ratio), sent.errors
    assert points["unexplained"] == 1_000 - desk.truth["balance"] - points["charged"]
    shown = (await desk.run("status", "spring")).output
    assert ("price_per_segment there is likely wrong" in shown) == bool(ratio)
    if ratio:
        assert "would make 400 charged here and 200 of what is missing" in shown
    else:
        assert "every point is accounted for" in shown
