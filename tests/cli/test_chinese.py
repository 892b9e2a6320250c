"""The same commands for people who read Chinese: by --lang, XINSHI_LANG or the locale. Machines see no difference."""

from __future__ import annotations

import os
import pty
import re
from collections.abc import Mapping, Sequence
from unicodedata import east_asian_width

import pytest

from tests.cli.desk import TEXT, Desk, Ended, ended
from tests.cli.test_output import columns_of
from tests.numbers import mobiles

ZH = ("--lang", "zh")
LOCALE = {"XINSHI_LANG": "", "LC_ALL": "", "LC_MESSAGES": ""}


def is_chinese(page: str) -> bool:
    """Whether most words of a page are."""
    signs = [sign for sign in page if sign.isalpha()]
    return 2 * sum(east_asian_width(sign) in "WF" for sign in signs) > len(signs)


async def chinese(desk: Desk, *words: str, code: int = 0) -> Ended:
    """A command in Chinese, with the exit code it has in English."""
    end = await desk.run(*words, *ZH)
    assert end.code == code, end.errors
    return end


@pytest.mark.parametrize(
    ("words", "environ", "in_chinese"),
    [
        (ZH, {}, True),
        (("--lang=zh_CN",), {}, True),
        ((), {"XINSHI_LANG": "zh"}, True),
        ((), LOCALE | {"LANG": "zh_CN.UTF-8"}, True),
        ((), LOCALE | {"LANG": "C"}, False),
        (("--lang", "en"), {"XINSHI_LANG": "zh"}, False),
    ],
)
async def test_the_flag_the_variable_and_the_locale_choose_the_language(
    desk: Desk, words: Sequence[str], environ: Mapping[str, str], in_chinese: bool
) -> None:
    end = await desk.run("status", *words, environ=environ)

    assert end.code == 0
    assert ("中还没有任务" in end.output, "No campaigns yet" in end.output) == (in_chinese, not in_chinese)


async def test_a_language_that_is_not_there_is_an_error_of_usage(desk: Desk) -> None:
    end = await desk.run("status", "--lang", "fr")

    assert (end.code, end.output) == (2, "")
    assert end.errors == "xinshi: --lang: 'fr' is none of the languages: en, zh\n"


async def test_the_flag_may_stand_before_the_command_and_behind_two_dashes_is_a_word(desk: Desk) -> None:
    before = await desk.run(*ZH, "status")
    behind = await desk.run("why", "--", "--lang=zh")

    assert "中还没有任务" in before.output
    assert behind.code == 75
    assert not is_chinese(behind.errors)


async def test_the_help_is_chinese_with_its_frame(desk: Desk) -> None:
    every, one = await chinese(desk, "--help"), await chinese(desk, "send", "--help")

    assert is_chinese(every.output)
    assert "用法：xinshi COMMAND" in every.output
    assert " 命令 " in every.output
    assert "显示本帮助并退出。" in every.output
    assert " 选项 " in one.output
    assert "所有命令通用" in one.output
    assert "计划、确认、发送。" in one.output  # the docstring
    assert "不再询问。" in one.output  # what it says of a parameter
    assert "给本次任务起的名称。" in one.output  # the words that commands share
    assert "[默认：default]" in one.output
    assert not re.search(r"Usage|Commands|Parameters|Every command|Display this", every.output + one.output)


async def test_the_pages_are_chinese_and_still_one_grid(desk: Desk) -> None:
    desk.write("list.csv", f"姓名,手机号\n王,{mobiles(1)[0]}\n李,123\n")

    checked = await chinese(desk, "check")
    planned = await chinese(desk, "plan", "list.csv", "--text", TEXT)
    sent = await chinese(desk, *desk.order("--campaign", "spring"))
    shown = await chinese(desk, "status", "spring")
    audited = await chinese(desk, "audit", "spring")

    for page, words in (
        (checked.output, ["设置", "台账", "登录", "剩余点数"]),
        (planned.output, ["任务", "剔除", "不是手机号码", "接收人", "计费条数", "余额", "计划指纹"]),
        (sent.output, ["状态", "已完成", "已受理", "本任务已扣", "每一点都有账可查"]),
        (shown.output, ["状态", "已完成", "已受理"]),
        (audited.output, ["结论", "每条规则都成立", "守恒", "期初", "期末"]),
    ):
        assert [word for word in words if word not in page] == []
    labels = [line for line in shown.output.splitlines() if line.startswith(("任务", "状态"))]
    assert len(labels) == 2
    assert len(columns_of("\n".join(labels))) == 1


async def test_what_machines_read_is_the_same(desk: Desk) -> None:
    desk.list(3)

    sent = await chinese(desk, *desk.order("--campaign", "spring", "--json"))
    english = await desk.run("status", "spring", "--json")

    assert sent.output == english.output
    assert sent.json["state"] == "finished"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("run", "nobody"), 2, "没有名为 'nobody' 的任务；`xinshi status` 可列出全部任务"),
        (("send", "list.csv", "--text", TEXT), 2, "这里无人可问；请加 --yes"),
        (("status", "--nonsense"), 2, "没有选项：--nonsense。"),
        (("statu",), 2, "没有命令“statu”。 您是否想用"),
        (("run",), 2, "需要给出值"),
        (("demo", "--rows", "many"), 2, "--rows 的值无效：无法把“many”转换为"),
        (("demo", "--rows", "0"), 2, "须 >= 1。"),
    ],
)
async def test_errors_are_chinese_and_exit_as_ever(desk: Desk, words: Sequence[str], code: int, said: str) -> None:
    desk.list(1)

    end = await chinese(desk, *words, code=code)

    assert said in end.errors
    assert (await desk.run(*words)).code == code


async def test_what_the_gateway_says_stays_as_it_came(desk: Desk) -> None:
    desk.list(1)
    desk.sim.set_faults({"faild_credentials": 1})

    end = await chinese(desk, *desk.order("--campaign", "spring"), code=75)

    assert "用户名或密码错误" in end.output
    assert "继续请运行：xinshi run spring" in end.output


async def test_the_process_that_reads_the_list_speaks_the_same_language(desk: Desk) -> None:
    desk.write("list.csv", b"\x00\x01\x02")

    end = await chinese(desk, "plan", "list.csv", "--text", TEXT, code=2)

    assert is_chinese(end.errors.replace("xinshi", "").replace("list.csv", "")), end.errors


async def test_a_question_is_asked_in_chinese_and_yes_may_be_chinese(desk: Desk) -> None:
    desk.list(1)
    ours, theirs = pty.openpty()
    try:
        process = await desk.start(
            "send", "list.csv", "--text", TEXT, "--kind", "notice", "--campaign", "spring", *ZH, stdin=theirs
        )
        os.write(ours, "是\n".encode())
        end = await ended(process)
    finally:
        os.close(ours)
        os.close(theirs)

    assert "现在发送给 1 人吗？" in end.errors
    assert end.code == 0
    assert len(desk.truth["mobiles"]) == 1


async def test_chinese_sentences_have_chinese_signs_between_their_words(desk: Desk) -> None:
    (number,) = desk.list(1)
    await desk.run(*desk.order("--campaign", "spring"))
    await desk.run("optouts", "add", number, "--reason", "来电")
    told = [
        await chinese(desk, "export", "spring", "--output", "out.csv"),
        await chinese(desk, "why", number),
        await chinese(desk, "status", "spring"),
    ]
    await desk.run("optouts", "remove", number, "--reason", "来电")
    told.append(await chinese(desk, "why", number))
    told.append(await chinese(desk, "plan", "list.csv", "--text", "【测试】{手机号}您好"))
    for end in told:
        assert not re.findall(r".*[一-鿿）」][,:;] .*|.*[一-鿿）」] \(.*", end.output), end.output
