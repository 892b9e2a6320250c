"""What the same order is: one campaign, whatever pace, folder or name; a second one only on purpose."""

from __future__ import annotations

from pathlib import Path

from tests.cli.desk import TEXT, Desk


async def test_the_same_order_from_another_folder_at_another_pace_is_the_same_campaign(desk: Desk) -> None:
    numbers = desk.list(30)
    elsewhere = desk.folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "other.csv").write_bytes((desk.folder / "list.csv").read_bytes())

    first = await desk.run(*desk.order("--limit", "20", "--batch-size", "10", "--json"))
    words = desk.order(
        "--requests-per-second", "50", "--batch-size", "7", "--campaign", "other", "--json", name="other.csv"
    )
    second = await desk.run(*words, cwd=elsewhere)
    third = await desk.run(*desk.order("--json"))

    assert (first.code, second.code, third.code) == (75, 0, 0)
    assert second.json["campaign"] == first.json["campaign"]
    assert desk.campaigns() == [first.json["campaign"]]
    assert "'other' is not used" in second.errors
    desk.check_once(numbers)


async def test_a_known_name_with_another_list_is_refused(desk: Desk) -> None:
    numbers = desk.list(5)
    desk.list(5, seed=2, name="second.csv")
    await desk.run(*desk.order("--campaign", "spring"))

    end = await desk.run(*desk.order("--campaign", "spring", name="second.csv"))

    assert (end.code, end.output) == (2, "")
    assert "'spring' exists already" in end.errors
    assert "--campaign" in end.errors
    desk.check_once(numbers)


async def test_again_sends_once_more_under_a_name_of_its_own(desk: Desk) -> None:
    numbers = desk.list(5)
    await desk.run(*desk.order("--campaign", "spring"))

    clash = await desk.run(*desk.order("--campaign", "spring", "--again"))
    once_more = await desk.run(*desk.order("--again", "--json"))

    assert (clash.code, once_more.code) == (2, 0)
    assert desk.campaigns() == ["spring", once_more.json["campaign"]]
    assert desk.truth["mobiles"] == dict.fromkeys(numbers, 2)


async def test_a_list_to_leave_out_that_leaves_its_column_open_is_read_by_the_one_given(desk: Desk) -> None:
    numbers = desk.list(5)
    stays, other = numbers[0], numbers[1]
    desk.write("list.csv", "手机号\n" + "\n".join(numbers) + "\n")
    desk.write("out.csv", f"电话,手机号\n{other},{stays}\n{other},{stays}\n")

    open_still = await desk.run(*desk.order("--exclude", "out.csv"))
    by_name = await desk.run(*desk.order("--exclude", "out.csv", "--column", "手机号"))

    assert (open_still.code, "2 columns could hold the numbers" in open_still.errors) == (2, True), open_still.errors
    assert by_name.code == 0, by_name.errors
    desk.check_once(numbers[1:])


async def test_only_the_plan_that_was_signed_off_is_sent(desk: Desk) -> None:
    numbers = desk.list(30)
    hashed = (await desk.run("plan", "list.csv", "--text", TEXT, "--json")).json["plan_hash"]
    words = ("send", "list.csv", "--text", TEXT)

    wrong = await desk.run(*words, "--plan", "0" * 12)
    faster = await desk.run(*words, "--plan", hashed, "--requests-per-second", "999")
    assert (wrong.code, faster.code) == (5, 5)
    assert hashed in wrong.errors
    assert (desk.rows("SELECT * FROM campaign"), desk.truth["requests"]) == ([], 0)

    right = await desk.run(*words, "--plan", hashed, "--json")
    assert (right.code, right.json["state"]) == (0, "finished")
    desk.check_once(numbers)
    assert (await desk.run(*words, "--plan", "0" * 12)).code == 5  # also where the campaign is known


async def test_nobody_to_ask_is_an_error_and_not_a_yes(desk: Desk) -> None:
    desk.list(5)

    end = await desk.run("send", "list.csv", "--text", TEXT)

    assert (end.code, desk.truth["requests"], desk.campaigns()) == (2, 0, [])
    assert "--yes" in end.errors


async def test_any_name_of_a_list_gives_a_campaign(desk: Desk) -> None:
    long = "客户名单" * 15 + ".csv"
    desk.list(5, name=long)

    end = await desk.run(*desk.order("--json", name=long))

    assert end.code == 0
    assert end.json["campaign"].startswith("客户名单")


async def test_several_lists_are_one_order_and_every_number_knows_its_list(desk: Desk) -> None:
    first = desk.list(5, seed=1, name="first.csv")
    second = desk.list(5, seed=2, name="second.csv")
    desk.write("out.csv", "手机号\n" + second[0] + "\n")

    words = ("--text", TEXT, "--campaign", "both", "--yes", "--json", "--exclude", "out.csv")
    end = await desk.run("send", "first.csv", "second.csv", *words)
    places = [(await desk.run("why", number, "--json")).json for number in (first[2], second[3], second[0])]

    assert (end.code, end.json["recipients"]["accepted"], end.json["excluded"]["excluded_list"]) == (0, 9, 1)
    assert [(Path(each["file"]).name, each["line"]) for (each,) in places] == [
        ("first.csv", 4),
        ("second.csv", 5),
        ("second.csv", 2),
    ]
    assert desk.truth["accepted_numbers"] == 9
