"""Everything wrong that an operator can give: what it is, where it is, what to do. Nothing is sent and nothing stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cli.desk import TEXT, Desk, Ended, for_each
from tests.numbers import mobile, mobiles

Write = Callable[[Path], object]


async def refused(desk: Desk, *words: str, code: int = 2, **how: Any) -> Ended:
    """A send that must come to nothing."""
    end = await desk.run(*words, **how)
    assert (end.code, end.output) == (code, ""), end
    assert (desk.rows("SELECT * FROM campaign"), desk.truth["requests"]) == ([], 0)
    return end


def missing(end: Ended, *words: str) -> list[str]:
    """What the command did not say."""
    return [word for word in words if word not in end.errors]


def _nothing(_: Path) -> None: ...


LISTS: dict[str, tuple[Write, tuple[str, ...], list[str]]] = {
    "missing": (_nothing, (), ["there is no such file"]),
    "empty": (lambda path: path.write_bytes(b""), (), ["the file is empty"]),
    "a folder": (lambda path: path.mkdir(), (), ["this is a folder"]),
    "binary": (lambda path: path.write_bytes(bytes(range(1, 256)) * 8), (), ["line 3", "byte 80", "--encoding"]),
    "a NUL": (lambda path: path.write_text(f"手机号\n{mobile()}\n{mobile(2)}\0\n"), (), ["line 3", "NUL"]),
    "no column of numbers": (lambda path: path.write_text("姓名,城市\n王,北京\n"), (), ["--column", "姓名", "城市"]),
    "two columns that could be it": (
        lambda path: path.write_text("手机号,联系电话\n" + "".join(f"{a},{b}\n" for a, b in zip(*[iter(mobiles(8))] * 2, strict=True))),
        (),
        ["2 columns", "--column", "手机号", "联系电话"],
    ),
    "a column that is not there": (
        lambda path: path.write_text(f"手机号\n{mobile()}\n"),
        ("--column", "电话"),
        ["'电话'", "手机号"],
    ),
    "the wrong encoding": (
        lambda path: path.write_bytes(f"姓名,手机号\n王,{mobile()}\n".encode("gb18030")),
        ("--encoding", "utf-8"),
        ["line 1", "not utf-8", "leave --encoding away"],
    ),
    "no encoding": (lambda path: path.write_text(f"手机号\n{mobile()}\n"), ("--encoding", "klingon"), ["'klingon'"]),
    "50 MB on one line": (lambda path: path.write_bytes(b"1" * 50_000_000), (), ["line 1", "longer than 1024 KiB"]),
    "nobody to send to": (lambda path: path.write_text("手机号\n123\n456\n"), (), ["none of its 2 rows"]),
    "a header alone": (lambda path: path.write_text("手机号\n"), (), ["no row to send to"]),
    "an open quote": (lambda path: path.write_text(f'手机号,名\n{mobile()},"王\n{mobile(2)},李\n'), (), ["line 2", "quote"]),
}  # fmt: skip


async def test_a_list_that_cannot_be_one(desk: Desk) -> None:
    async def check(desk: Desk, case: str) -> None:
        write, words, said = LISTS[case]
        write(desk.folder / "list.csv")
        end = await refused(desk, *desk.order(*words))
        assert missing(end, "list.csv", *said) == [], end.errors

    await for_each(desk, LISTS, check)


async def test_rows_with_too_few_or_too_many_cells_are_left_out_counted_and_listed(desk: Desk) -> None:
    numbers = mobiles(4)
    rows = [
        "名,手机号,城市",
        f"王,{numbers[0]},北京",
        "李",
        f"张,{numbers[1]},上海,x,y",
        f"陈,{numbers[2]},广州",
        f"赵,{numbers[3]},成都",
    ]
    desk.write("list.csv", "\n".join(rows) + "\n")

    end = await desk.run(*desk.order("--campaign", "spring", "--json"))

    assert (end.code, end.json["excluded"]["malformed"], end.json["recipients"]["accepted"]) == (0, 2, 3)
    rejects = (desk.journal.parent / "spring_xinshi_rejects.csv").read_text(encoding="utf-8-sig").splitlines()
    assert [row.split(",")[1] for row in rejects[1:]] == ["3", "4"]
    desk.check_once([numbers[0], numbers[2], numbers[3]])


TEXTS: dict[str, tuple[tuple[str, ...], list[str]]] = {
    "two": (("--text", TEXT, "--text-file", "text"), ["give the message once"]),
    "an empty one": (("--text", " \n"), ["no text"]),
    "too long": (("--text", TEXT * 60), ["【"]),
    "too long by its words": (("--text", TEXT + "长" * 500), ["too long", "500"]),
    "no signature": (("--text", "春季新品"), ["signature", "--signature"]),
    "two signatures": (("--text", TEXT, "--signature", "别家"), ["【测试】", "【别家】"]),
    "a character that cannot be sent": (("--text", TEXT + "\a"), ["U+0007", "position"]),
    "a file that is not there": (("--text-file", "text"), ["--text-file text", "No such file"]),
    "a file in GBK": (("--text-file", "gbk"), ["--text-file gbk", "UTF-8"]),
}


async def test_a_text_that_cannot_be_sent(desk: Desk) -> None:
    async def check(desk: Desk, case: str) -> None:
        words, said = TEXTS[case]
        desk.list(5)
        desk.write("gbk", TEXT.encode("gbk"))
        end = await refused(desk, "send", "list.csv", "--yes", *words)
        assert missing(end, *said) == [], end.errors

    await for_each(desk, TEXTS, check)


async def test_what_is_on_standard_input_is_the_list_or_the_text_and_not_a_piece_of_each(desk: Desk) -> None:
    desk.list(5)
    words = ("--text-file", "-", "--yes")

    async def check(desk: Desk, lists: tuple[str, ...]) -> None:
        with desk.write("both", TEXT).open("rb") as both:
            end = await refused(desk, "send", *lists, *words, stdin=both.fileno())
        assert missing(end, "standard input", "named twice") == [], end.errors

    await for_each(desk, [("-",), ("list.csv", "--exclude", "-"), ("list.csv", "--only", "-")], check)


async def test_a_text_on_standard_input_is_utf_8_with_or_without_its_mark(desk: Desk) -> None:
    numbers = desk.list(5)
    words = ("--text-file", "-", "--yes")

    with desk.write("gbk", TEXT.encode("gbk")).open("rb") as text:
        refusal = await refused(desk, "send", "list.csv", *words, stdin=text.fileno())
    with desk.write("text", TEXT.encode("utf-8-sig")).open("rb") as text:
        end = await desk.run("send", "list.csv", *words, stdin=text.fileno())

    assert missing(refusal, "standard input", "not UTF-8") == [], refusal.errors
    assert end.code == 0, end.errors
    assert desk.rows("SELECT content FROM message") == [(TEXT,)]
    desk.check_once(numbers)


async def test_a_character_that_the_gateway_s_charset_lacks(desk: Desk) -> None:
    desk.list(5)
    desk.configure(account='profile = "gbk"')

    end = await refused(desk, *desk.order(text=TEXT + "😀"))

    assert "U+1F600" in end.errors
    assert "gbk" in end.errors


SETTINGS: dict[str, tuple[str, list[str]]] = {
    "an unknown key": (
        "[pace]\nrequest_per_second = 3",
        ["pace.request_per_second", "did you mean requests_per_second?"],
    ),
    "an impossible value": ("[pace]\nin_flight = 0", ["pace.in_flight = 0", "from 1 to 1000"]),
    "no TOML": ("[pace", ["not valid TOML"]),
    "a password in it": ("[accounts.north]\npassword = 'x'", ["accounts.north.password", "password_file"]),
}


async def test_settings_that_cannot_be(desk: Desk) -> None:
    async def check(desk: Desk, case: str) -> None:
        more, said = SETTINGS[case]
        path = desk.configure(more)
        end = await refused(desk, *desk.order())
        assert missing(end, str(path), *said) == [], end.errors

    await for_each(desk, SETTINGS, check)


FLAGS: dict[tuple[str, ...], list[str]] = {
    ("--config", "nowhere.toml"): ["nowhere.toml", "No such file"],
    ("--account", "north", "--in-flight", "3"): ["--account north", "no such account"],
    ("--batch-size", "0"): ["--batch-size", "from 1 to 1000"],
    ("--batch-size", "101"): ["at most 100", "max_recipients"],
    ("--limit", "0"): ["--limit", "send --help"],
    ("--colour",): ["--colour", "send --help"],
    ("--campaign=a/b",): ["cannot name a campaign"],
    ("--campaign=two\nlines",): ["cannot name a campaign"],
    (f"--campaign={'长' * 70}",): ["cannot name a campaign", "66 Chinese characters"],
}


async def test_flags_that_cannot_be(desk: Desk) -> None:
    async def check(desk: Desk, words: tuple[str, ...]) -> None:
        desk.list(5)
        end = await refused(desk, *desk.order(*words))
        assert missing(end, *FLAGS[words]) == [], end.errors

    await for_each(desk, FLAGS, check)


async def test_an_unknown_command_names_the_known_ones(desk: Desk) -> None:
    end = await desk.run("sned")

    assert (end.code, end.output) == (2, "")
    assert "xinshi --help" in end.errors


async def test_a_password_file_that_others_may_read(desk: Desk) -> None:
    desk.list(5)
    path = desk.write("secret", "x")
    path.chmod(0o644)
    desk.configure(account=f'password_file = "{path}"')

    end = await desk.run(*desk.order(), under=("env", "-u", "XINSHI_ACCOUNT__PASSWORD"))

    assert (end.code, desk.truth["requests"]) == (2, 0)
    assert f"chmod 600 '{path}'" in end.errors


async def test_no_password_at_all(desk: Desk) -> None:
    desk.list(5)

    end = await desk.run(*desk.order(), under=("env", "-u", "XINSHI_ACCOUNT__PASSWORD"))

    assert (end.code, desk.truth["requests"]) == (2, 0)
    assert "XINSHI_ACCOUNT__PASSWORD" in end.errors


# ── the gateway ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_gateway_that_is_not_there(desk: Desk) -> None:
    async def check(desk: Desk, case: tuple[str, str, int]) -> None:
        url, verb, code = case
        desk.list(5)
        desk.configure(url=url.format(sim=desk.sim.url))
        words = {"send": desk.order(), "keywords": ("keywords", TEXT)}.get(verb, (verb,))
        end = await refused(desk, *words, code=code)
        assert missing(end, "HTTP 404" if "sim" in url else "Connection refused", "account.url") == [], end.errors
        assert "not sent" not in end.errors

    nobody, nothing = "http://127.0.0.1:1", "{sim}/elsewhere"
    codes = (("balance", 75), ("keywords", 75), ("send", 5))
    await for_each(desk, [(url, verb, code) for url in (nobody, nothing) for verb, code in codes], check)


async def test_a_login_page_in_place_of_the_gateway(desk: Desk) -> None:
    numbers = desk.list(10)
    desk.list(5, seed=2, name="second.csv")
    await desk.run(*desk.order("--campaign", "spring", "--batch-size", "5", "--limit", "5"))
    desk.sim.set_faults({"login_page": 1})

    new = await desk.run(*desk.order(name="second.csv"))
    known = await desk.run("run", "spring")

    assert (new.code, new.output) == (5, "")
    assert "HTML page" in new.errors
    assert known.code == 75
    assert "HTML page" in known.output
    assert desk.campaigns() == ["spring"]
    desk.check_once(numbers[:5])


async def test_a_plan_is_possible_without_the_gateway(desk: Desk) -> None:
    desk.list(5)
    desk.configure(url="http://127.0.0.1:1")

    end = await desk.run("plan", "list.csv", "--text", TEXT)

    assert end.code == 0
    assert "not known: the gateway cannot be reached" in end.output


async def test_check_tells_what_is_wrong_and_its_code(desk: Desk) -> None:
    desk.configure(url="http://127.0.0.1:1")

    end = await desk.run("check", "--json")

    assert (end.code, end.json["ok"], end.json["balance"]) == (75, False, None)
    assert "cannot be reached" in end.json["problems"][0]


async def test_a_port_in_use_is_said_by_the_simulator(desk: Desk) -> None:
    end = await desk.run("simulator", "--port", str(desk.sim.port))

    assert (end.code, end.output) == (2, "")
    assert "in use" in end.errors


async def test_a_file_of_the_working_directory_is_never_run(desk: Desk) -> None:
    numbers = desk.list(5)
    for name in ("csv", "signal", "random"):
        desk.write(f"{name}.py", "raise SystemExit('not meant')")

    end = await desk.run(*desk.order(), flags=("-P",))

    assert end.code == 0
    desk.check_once(numbers)
