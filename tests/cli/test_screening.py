"""What is looked at before anything is sent: words, kinds, repeats, the cap, the sign-off, the rehearsal and the test."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import replace

import pytest

from engine.journal.opening import open_journal
from engine.orders.radar import hours_of
from tests.cli.desk import TEXT, Desk
from tests.numbers import mobiles

TEMPLATE = "【测试】{姓名}您好，您在{城市}的订单到了"
FORBIDDEN = {"forbidden": ("坏词", "赌场")}


def a_list(desk: Desk, names: list[str], *, name: str = "list.csv") -> list[str]:
    numbers = mobiles(len(names))
    out = io.StringIO()
    csv.writer(out).writerows(
        [("姓名", "手机号", "城市"), *((who, to, "北京") for who, to in zip(names, numbers, strict=True))]
    )
    desk.write(name, out.getvalue())
    return numbers


def names(count: int, **bad: str) -> list[str]:
    return [bad.get(f"at{at}", f"客户{at}") for at in range(count)]


@pytest.mark.parametrize("settings", [FORBIDDEN], indirect=True)
async def test_rows_whose_cells_are_forbidden_are_left_out_and_the_clean_rest_is_sent(desk: Desk) -> None:
    desk.configure("[pace]\nrequests_per_second = 500")
    numbers = a_list(desk, names(60, at7="坏词先生", at41="赌场王"))
    end = await desk.run("send", "list.csv", "--text", TEMPLATE, "--yes", "--json", "--campaign", "spring")
    assert end.code == 0, end.errors
    assert end.json["excluded"]["forbidden_value"] == 2
    desk.check_once([number for at, number in enumerate(numbers) if at not in (7, 41)])
    assert desk.rows("SELECT COUNT(*) FROM campaign") == [(1,)]  # nothing stays of what was planned before it was asked
    (rejects,) = desk.folder.rglob("spring_xinshi_rejects.csv")
    assert [
        (row[2], "姓名 holds 「坏词先生」" in row[3] or "姓名 holds 「赌场王」" in row[3])
        for row in list(csv.reader(io.StringIO(rejects.read_text("utf-8-sig"))))[1:]
    ] == [("forbidden_value", True)] * 2
    assert desk.truth["calls"]["checkkeyword"] < 30


@pytest.mark.parametrize("settings", [FORBIDDEN], indirect=True)
async def test_few_texts_are_each_checked_as_they_are(desk: Desk) -> None:
    """A word that only the text and the cell make together is found, and only its rows go."""
    numbers = a_list(desk, names(5, at2="词"))
    end = await desk.run("send", "list.csv", "--text", "【测试】坏{姓名}您好", "--yes", "--json")
    assert (end.code, end.json["excluded"]["forbidden_value"]) == (0, 1), end.errors
    desk.check_once([*numbers[:2], *numbers[3:]])


@pytest.mark.parametrize("settings", [FORBIDDEN], indirect=True)
async def test_a_text_that_is_forbidden_itself_is_refused_in_the_gateways_words(desk: Desk) -> None:
    a_list(desk, names(3))
    for text in ("【测试】坏词", "【测试】{姓名}赌场"):
        end = await desk.run("send", "list.csv", "--text", text, "--yes")
        assert (end.code, desk.campaigns()) == (5, [])
        assert "包含非法字符" in end.errors
    assert desk.truth["requests"] == 0


@pytest.mark.parametrize("settings", [{"faults": {"drop_read": 0.0}, **FORBIDDEN}], indirect=True)
async def test_what_was_refused_while_sending_is_explained_by_its_cells(desk: Desk) -> None:
    desk.configure("[message]\ncheck_keywords = false\ncheckcontent = true")
    a_list(desk, names(6, at3="坏词"))
    end = await desk.run("send", "list.csv", "--text", TEMPLATE, "--yes", "--json", "--campaign", "spring")
    assert (end.code, end.json["recipients"]["refused"], end.json["recipients"]["accepted"]) == (3, 1, 5)
    told = await desk.run("keywords", "--campaign", "spring", "--json")
    assert (told.code, told.json["values"], told.json["text"]) == (3, {"姓名": {"坏词": "包含非法字符"}}, None)


async def test_marketing_needs_a_way_out_and_a_notice_does_not(desk: Desk) -> None:
    desk.list(3)
    refused = await desk.run("send", "list.csv", "--text", TEXT, "--kind", "marketing", "--yes")
    assert (refused.code, desk.campaigns()) == (2, [])
    assert "--opt-out" in refused.errors
    assert (await desk.run("send", "list.csv", "--text", TEXT, "--kind", "other", "--yes")).code == 2
    unsaid = await desk.run("plan", "list.csv", "--text", TEXT)
    assert "not said" in unsaid.output
    marketing = ("send", "list.csv", "--text", TEXT, "--kind", "marketing", "--opt-out", "回T退订", "--yes", "--json")
    assert (await desk.run(*marketing)).code == 0
    final = TEXT + "，回T退订"
    assert desk.sim.told(mobiles(1)[0]) == [final]
    preview = (await desk.run("plan", "list.csv", "--text", TEXT, "--opt-out", "回T退订", "--campaign", "two")).output
    assert f"  {final}\n" in preview
    assert f"the text has {len(final)} characters" in preview


async def test_risky_signs_are_pointed_at_and_not_refused(desk: Desk) -> None:
    desk.list(2)
    end = await desk.run("plan", "list.csv", "--text", "【测试】it's <b>; select", "--json")
    assert end.code == 0
    assert [(risk["position"], risk["sign"]) for risk in end.json["risks"]] == [
        (7, "'"),
        (10, "<b"),
        (13, ";"),
        (15, "select"),
    ]


async def test_nearly_the_same_text_to_the_same_people_is_refused_where_nobody_is_asked(desk: Desk) -> None:
    numbers = desk.list(20)
    assert (await desk.run(*desk.order("--campaign", "spring"))).code == 0
    desk.write("second.csv", "手机号\n" + "\n".join([*numbers[:12], *mobiles(8, seed=5)]) + "\n")
    near = TEXT + "！"
    end = await desk.run(*desk.order(name="second.csv", text=near))
    assert (end.code, desk.campaigns()) == (5, ["spring"])
    assert (
        "60 % of these people got a message in the last 7 days (60 % nearly this text: campaign spring)" in end.errors
    )
    other = await desk.run(
        *desk.order("--json", "--dry-run", name="second.csv", text="【测试】系统今晚维护，请提前保存")
    )
    assert (other.code, other.json["reached"]["any"], other.json["reached"]["nearly_this_text"]) == (0, 12, 0)
    assert (await desk.run(*desk.order("--again", name="second.csv", text=near))).code == 0


async def test_nearly_the_same_template_to_the_same_people_is_refused_too(desk: Desk) -> None:
    names = ["王芳", "李娜", "张伟", "欧阳修文", "刘洋"]
    rows = [f"{names[at % 5]}{at},{number}" for at, number in enumerate(mobiles(20))]
    desk.write("list.csv", "姓名,手机号\n" + "\n".join(rows) + "\n")
    desk.write("second.csv", "姓名,手机号\n" + "\n".join(reversed(rows)) + "\n")
    assert (
        await desk.run(
            *desk.order("--campaign", "spring", text="【测试】{姓名}您好，春季新品已经到店，全场立减50元，欢迎光临")
        )
    ).code == 0
    end = await desk.run(
        *desk.order(name="second.csv", text="【测试】{姓名}您好，春季新品已经到店，全场立减60元，欢迎光临")
    )
    assert (end.code, "100 % nearly this text: campaign spring" in end.errors) == (5, True), end.errors
    other = await desk.run(*desk.order("--dry-run", name="second.csv", text="【测试】{姓名}，您的快递已到门口"))
    assert (other.code, "nearly this text" in other.errors) == (0, False), other.errors


@pytest.mark.parametrize("settings", [{"report_delay_s": 0, "undelivered": 0.3, "unreported": 0.05}], indirect=True)
async def test_a_follow_up_list_goes_without_again_and_the_same_people_do_not(desk: Desk) -> None:
    numbers = desk.list(60)
    assert (await desk.run(*desk.order("--campaign", "spring"))).code in (0, 3)
    assert (await desk.run("track", "--once", "-q")).code == 0
    delivery = (await desk.run("status", "spring", "--json")).json["delivery"]
    assert delivery["undelivered"] > 10
    exported = await desk.run("export", "spring", "--output", "again.csv", "--state", "undelivered,refused")
    assert exported.code == 0, exported.errors
    capped = await desk.run(*desk.order("--max-per-number", "1/7d", "--dry-run", "--json", name="again.csv"))
    assert (capped.code, capped.json["recipients"], capped.json["reached"]["any"]) == (0, delivery["undelivered"], 0)
    end = await desk.run(*desk.order("--campaign", "later", "--json", name="again.csv"))
    assert (end.code, end.json["recipients"]["accepted"]) == (0, delivery["undelivered"]), end.errors
    desk.write("all.csv", "手机号\n\n" + "\n".join(numbers) + "\n")
    end = await desk.run(*desk.order(name="all.csv"))
    assert (end.code, "nearly this text" in end.errors) == (5, True)


async def test_who_got_enough_messages_is_left_out(desk: Desk) -> None:
    numbers = desk.list(6)
    desk.write("half.csv", "手机号\n" + "\n".join(numbers[:3]) + "\n")
    assert (await desk.run(*desk.order("--campaign", "one"))).code == 0
    assert (await desk.run(*desk.order("--campaign", "two", name="half.csv", text="【测试】系统今晚维护"))).code == 0
    last = await desk.run(*desk.order("--max-per-number", "2/7d", "--json", text="【测试】会员积分即将到期请查收"))
    assert (last.code, last.json["excluded"]["too_often"], last.json["recipients"]["accepted"]) == (0, 3, 3)
    assert [desk.truth["mobiles"][number] for number in numbers] == [2] * 6
    assert (await desk.run(*desk.order("--max-per-number", "2 a week"))).code == 2


async def test_whom_a_send_reached_is_kept_as_the_journal_tells_it(desk: Desk) -> None:
    numbers = desk.list(30)
    assert (await desk.run("optouts", "add", numbers[4], numbers[9])).code == 0
    assert (await desk.run(*desk.order("--campaign", "spring"))).code == 0
    kept = "SELECT hour, recipients, numbers FROM reached ORDER BY hour"
    told = desk.rows(kept)
    assert {row[1] for row in told} == {28}
    journal = await open_journal(desk.journal)
    try:
        ((campaign_id,),) = desk.rows("SELECT id FROM campaign")
        (each,) = await journal.reaching(since_us=0, campaign_id=campaign_id)
        assert await hours_of(journal, replace(each, is_kept=False), writes=journal)
    finally:
        await journal.close()
    assert desk.rows(kept) == told


async def test_a_refused_sign_off_names_what_differs(desk: Desk) -> None:
    desk.list(5)
    words = ("list.csv", "--text", TEXT)
    hashed = (await desk.run("plan", *words, "--json")).json["plan_hash"]
    desk.list(6)
    end = await desk.run("send", "list.csv", "--text", TEXT + "。", "--plan", hashed, "--limit", "3")
    assert (end.code, desk.campaigns()) == (5, [])
    for what in ("the text", "the list list.csv", "limit (none signed off, 3 now)"):
        assert what in end.errors
    assert "in flight" not in end.errors
    (kept,) = desk.folder.rglob("*.plans/*.json")
    assert kept.stat().st_mode & 0o777 == 0o600
    assert TEXT not in kept.read_text()


async def test_a_dry_run_does_everything_but_send(desk: Desk) -> None:
    desk.list(5)
    end = await desk.run("send", "list.csv", "--text", TEXT, "--dry-run", "--json")
    assert (end.code, end.json["recipients"]) == (0, 5)
    assert (desk.rows("SELECT * FROM campaign"), desk.truth["requests"]) == ([], 0)
    assert "nothing was sent" in end.errors
    poor = await desk.run(*desk.order("--dry-run", "--keep-points", "4999"))
    assert (poor.code, desk.campaigns()) == (5, [])


async def test_on_a_terminal_it_asks_for_the_kind_the_repetition_the_test_and_the_send(desk: Desk) -> None:
    numbers = desk.list(10)
    assert (await desk.run(*desk.order("--campaign", "spring"))).code == 0
    desk.write("second.csv", "手机号\n" + "\n".join(numbers) + "\n\n")
    words = ("send", "second.csv", "--text", TEXT, "--campaign", "again", "--test", mobiles(1, seed=7)[0])
    code, shown = await at_a_terminal(desk, *words, typed="n\ny\ny\nn\n")  # all typed ahead
    questions = ("marketing, or a notice?", "Is that meant?", "own numbers first?", "Send to 10 people now?")
    assert [question in shown for question in questions] == [True] * 4, shown
    assert (code, sorted(desk.campaigns())) == (5, ["again-test", "spring"])
    assert "100 % nearly this text: campaign spring" in shown
    for typed in ("m\n", "9\n营销\n"):  # what is neither is asked for again
        code, shown = await at_a_terminal(desk, *words[:-2], typed=typed)
        assert (code, "--opt-out" in shown) == (2, True), shown


async def at_a_terminal(desk: Desk, *words: str, typed: str) -> tuple[int, str]:
    """A command with a terminal of its own, everything typed ahead: how it ended, and what the terminal showed."""
    ours, theirs = os.openpty()
    try:
        os.write(ours, typed.encode())
        process = await desk.start(*words, stdin=theirs)
        output, errors = await process.communicate()
    finally:
        os.close(ours)
        os.close(theirs)
    assert process.returncode is not None
    return process.returncode, (output + errors).decode()


async def test_the_operators_own_numbers_get_the_text_first(desk: Desk) -> None:
    numbers = desk.list(5)
    mine, another = mobiles(2, seed=7)
    words = desk.order("--campaign", "spring", "--test", mine, "--test", another, "--json")
    end = await desk.run(*words)
    assert end.code == 0, end.errors
    assert sorted(desk.campaigns()) == ["spring", "spring-test"]
    desk.check_once([*numbers, mine, another])
    audited = await desk.run("audit", "spring-test")
    assert audited.code == 0, audited.output


async def test_a_test_that_is_not_accepted_stops_the_send(desk: Desk) -> None:
    desk.list(5)
    desk.sim.set_faults({"faild_signature": 1})
    end = await desk.run(*desk.order("--campaign", "spring", "--test", mobiles(1, seed=7)[0]))
    assert (end.code, desk.campaigns(), desk.truth["accepted_numbers"]) == (5, ["spring-test"], 0)
    assert "nothing was sent to the list" in end.errors
    assert "短信必须带【】格式签名" in end.errors
