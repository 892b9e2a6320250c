"""A campaign's whole life in Chinese: whatever its commands print, no English sentence is among it."""

from __future__ import annotations

import re

import pytest

from tests.cli.desk import TEXT, Desk, Ended, during, until
from tests.numbers import mobiles

# What may stay: what somebody types, and the names of files, addresses, keys, profiles and programs.
TYPED = re.compile(
    r"`[^`]*`"  # a command in quotes
    r"|\bxinshi(?: [\w./|'…-]+)+"  # a command
    r"|--[a-z-]+(?: [A-Za-z.|-]+)?"  # a flag with its value
    r"|\S*[/\\]\S*"  # a path, an address
    r"|\[[A-Za-z_.]+\]"  # a table of the settings
    r"|\bkill -INT \d+"
    r"|（file is not a database）"  # SQLite's own words, behind ours
)
SENTENCE = re.compile(r"[A-Za-z][A-Za-z'’-]*(?:[;:]? [A-Za-z][A-Za-z'’-]*){2,}")


def english(printed: str) -> list[str]:
    """The sentences of a page that are English: three words in a row, but for what somebody types."""
    return SENTENCE.findall(TYPED.sub(" · ", printed))


class Operator:
    """Somebody who reads Chinese and types commands; what was printed is looked at in the end, all of it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.found: dict[str, list[str]] = {}

    async def types(self, *words: str) -> Ended:
        """A command. How it should end is what other tests are about; none of these may fail inside, or find a broken law."""
        end = await self._desk.run(*words, environ={"XINSHI_LANG": "zh_CN.UTF-8"})
        assert end.code != 1, end.output + end.errors
        if said := english(end.output + "\n" + end.errors):
            self.found[" ".join(words)] = said
        return end


@pytest.fixture
def operator(desk: Desk) -> Operator:
    return Operator(desk)


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        ("已暂停：the points do not reach", ["the points do not reach"]),
        ("批次 3 is not", []),
        ("继续请运行：xinshi run spring --allow-partial", []),
        ("请运行 `xinshi settle spring --batch N`", []),
        ("台账 /tmp/a b/xinshi.db", []),
        ("not taken", []),
        ("a b c", ["a b c"]),
    ],
)
def test_a_sentence_would_be_found_and_a_command_is_none(printed: str, said: list[str]) -> None:
    assert english(printed) == said


@pytest.mark.parametrize("settings", [{"report_delay_s": 0, "undelivered": 0.3, "unreported": 0.1}], indirect=True)
async def test_a_campaign_that_goes_well_is_chinese_to_the_end(desk: Desk, operator: Operator) -> None:
    numbers = mobiles(60)
    rows = "\n".join(f"王,{number},北京" for number in numbers)
    dirt = f"李,12345,上海\n李,{numbers[0]},上海\n赵,021-55512345,上海\n钱,,上海\n孙,+1 202 555 0100,上海\n"
    desk.write("list.csv", f"姓名,手机号,城市\n{rows}\n{dirt}")
    order = ("list.csv", "--text", "【测试】{姓名}您好，春季新品已经到店，回T退订", "--kind", "marketing")

    await operator.types("check")
    await operator.types("plan", *order)
    await operator.types("optouts", "add", numbers[1], "--reason", "电话要求")
    await operator.types("send", *order, "--campaign", "spring", "--yes")
    await operator.types("track", "--once")
    await operator.types("status")
    await operator.types("status", "spring")
    await operator.types("pace", "spring")
    await operator.types("audit", "spring", "--truth", desk.sim.url)
    for number in (numbers[0], numbers[1], numbers[2], "12345"):
        await operator.types("why", number)
    await operator.types("report", "spring", "--by", "城市")
    await operator.types("report", "spring", "--html", "spring.html")
    await operator.types("export", "spring", "--output", "-")
    await operator.types("export", "spring", "--output", "out.csv")
    await operator.types("optouts", "list")
    await operator.types("optouts", "remove", numbers[1], "--reason", "本人要求恢复")
    await operator.types("balance")
    await operator.types("balance", "--all")
    await operator.types("keywords", "春季新品")
    await operator.types("backup", "copy.db")
    await operator.types("forget", "--older-than", "1d", "--dry-run")

    assert operator.found == {}


async def in_doubt(desk: Desk, operator: Operator) -> Ended:
    """Three batches are sent, and their answers get lost."""
    desk.list(30)
    desk.sim.set_faults({"drop_answer": 1})
    end = await operator.types(*desk.order("--campaign", "lost", "--batch-size", "10"))
    desk.sim.set_faults({})
    return end


@pytest.mark.parametrize("settings", [{"unreported": 1}], indirect=True)
async def test_a_doubt_that_a_person_ends_is_chinese(desk: Desk, operator: Operator) -> None:
    desk.configure(account="exclusive = false")
    sent = await in_doubt(desk, operator)
    assert sent.code in (4, 75), sent.errors
    await operator.types("status", "lost")
    waits = await operator.types("settle", "lost")
    assert "账号是共用的" in waits.output + waits.errors
    await operator.types("audit", "lost")
    await operator.types("why", mobiles(30)[0])
    assert (
        await operator.types("settle", "lost", "--batch", "1", "--assume", "taken", "--reason", "客服已核实")
    ).code == 0
    await operator.types("audit", "lost")
    assert "判断为已接收" in (await operator.types("why", mobiles(30)[0])).output

    assert operator.found == {}


@pytest.mark.parametrize("settings", [{"unreported": 1, "hang_s": 60}], indirect=True)
async def test_a_doubt_that_a_killed_process_left_is_chinese(desk: Desk, operator: Operator) -> None:
    desk.configure(account="exclusive = false")
    desk.list(3)
    desk.sim.set_faults({"hang_accept": 1})
    process = await desk.start(*desk.order("--campaign", "cut"))
    await during(process, until(lambda: desk.truth["mobiles"]))
    process.kill()
    await process.wait()
    desk.sim.set_faults({})

    await operator.types("run", "cut")
    assert "存下应答之前进程已结束" in (await operator.types("status", "cut")).output
    assert "存下应答之前进程已结束" in (await operator.types("why", mobiles(3)[0])).output

    assert operator.found == {}


async def test_a_doubt_that_the_balance_ends_is_chinese(desk: Desk, operator: Operator) -> None:
    await in_doubt(desk, operator)
    await operator.types("settle", "lost")
    audited = await operator.types("audit", "lost")
    assert "次存疑" in audited.output
    told = [await operator.types("why", number) for number in mobiles(30)[::10]]
    assert any("结清" in each.output for each in told)

    assert operator.found == {}


@pytest.mark.parametrize(
    "fault",
    ["faild_credentials", "faild_balance", "faild_content", "faild_unknown", "http_500", "http_503", "login_page"],
)
async def test_what_the_gateway_refuses_is_chinese(desk: Desk, operator: Operator, fault: str) -> None:
    desk.list(3)
    desk.sim.set_faults({fault: 1})

    assert (await operator.types(*desk.order("--campaign", "spring"))).code != 0
    await operator.types("status", "spring")

    assert operator.found == {}


WRONG = (
    ("send", "none.csv", "--text", TEXT, "--yes"),
    ("send", "empty.csv", "--text", TEXT, "--yes"),
    ("send", "blank.csv", "--text", TEXT, "--yes"),
    ("send", "list.csv", "--text", "{城市}", "--yes"),
    ("send", "list.csv", "--text", TEXT, "--yes", "--plan", "123456789abc"),
    ("send", "list.csv", "--text", TEXT, "--at", "nine"),
    ("send", "list.csv", "--text", TEXT, "--window", "nine"),
    ("run", "nobody"),
    ("audit", "nobody"),
    ("why", "12345"),
    ("export", "nobody", "--output", "x.csv"),
    ("export", "nobody", "--output", "x.xlsx"),
    ("backup", "list.csv"),
    ("forget", "--older-than", "soon"),
    ("optouts", "import", "none.csv"),
    ("consume", "nowhere", "--once"),
    ("consume", "nats://127.0.0.1:1/x", "--once"),
    ("consume", "redis://:word@127.0.0.1:1/x", "--once"),
    ("settle", "nobody", "--assume", "taken"),
    ("status", "--account", "nobody"),
    ("status", "--config", "none.toml"),
    ("status", "--journal", "list.csv"),
)


async def test_errors_of_every_kind_are_chinese(desk: Desk, operator: Operator) -> None:
    desk.list(3)
    desk.write("empty.csv", "")
    desk.write("blank.csv", "手机号\n\n")

    assert {words: end.code for words in WRONG if not (end := await operator.types(*words)).code} == {}
    assert operator.found == {}
