"""The list again, with what became of every row."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import os
import re
import signal
import sqlite3
import sys
from collections import Counter
from contextlib import closing, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.interrupts import ended_by_signals
from engine.results.export import export
from engine.results.landing import landing
from engine.results.writers import Form
from tests.cli.desk import TEXT, Desk, ended, until
from tests.numbers import mobiles
from tests.results.desk import QUICK, counted, customers, exported, lines, sent, told
from tests.results.planning import planned

HALF = {"report_delay_s": 0, "undelivered": 0.3, "unreported": 0.2}
RESULTS = ["state", "delivery", "task_id", "submitted", "answered", "reported", "reason", "replied", "reply"]


TIMES = ("submitted", "answered", "reported", "replied")


def in_csv(row: dict[str, str]) -> dict[str, str]:
    """A line of another form as CSV has it: times without their offset."""
    return row | {name: row[name].replace("T", " ").removesuffix("+08:00") for name in TIMES}


@pytest.mark.parametrize("settings", [HALF], indirect=True)
async def test_every_row_comes_back_with_its_columns_and_its_result_and_the_sums_are_those_of_status(
    desk: Desk,
) -> None:
    numbers = mobiles(200)
    left_out = ["王,12345,北京,门店,", "李,,上海,门店,", f"赵,{numbers[3]},广州,门店,2025-01-01"]
    content = customers(numbers) + "\r\n".join(left_out) + "\r\n"
    desk.write("list.csv", content.encode("gb18030"))
    await sent(desk)
    rows = await exported(desk)
    original = list(csv.reader(content.splitlines()))
    assert list(rows[0]) == [*original[0], *RESULTS]
    assert [list(row.values())[:5] for row in rows] == original[1:]
    status = (await desk.run("status", "spring", "--json")).json
    assert counted(rows, "state") == Counter(
        {word: count for word, count in status["recipients"].items() if count} | {"excluded": 3}
    )
    assert counted(rows, "delivery") == Counter(status["delivery"])
    assert min(status["delivery"].values()) > 10
    accepted = desk.truth["mobiles"]
    assert {row["手机号"] for row in rows if row["state"] == "accepted"} == set(accepted)
    assert [row["reason"].partition(":")[0] for row in rows[-3:]] == ["invalid", "empty", "duplicate"]


@pytest.mark.parametrize("settings", [HALF], indirect=True)
async def test_times_are_of_china_and_reasons_have_the_gateway_s_code(desk: Desk) -> None:
    desk.write("list.csv", customers(mobiles(60)))
    await sent(desk)
    rows = await exported(desk)
    stamp = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")  # with an offset Excel takes it for a text
    assert all(stamp.fullmatch(row["submitted"]) and stamp.fullmatch(row["answered"]) for row in rows)
    assert all(bool(stamp.fullmatch(row["reported"])) == (row["delivery"] != "unreported") for row in rows)
    said = {row["reason"] for row in rows if row["delivery"] == "undelivered"}
    assert said == {"the gateway says 20 UNDELIV: not reachable or suspended"}
    in_journal = {task_id for (task_id,) in desk.rows("SELECT task_id FROM attempt")}
    assert {row["task_id"] for row in rows} == in_journal


@pytest.mark.parametrize("settings", [HALF], indirect=True)
async def test_consent_source_and_time_are_kept_in_the_list_of_those_to_follow_up(desk: Desk) -> None:
    desk.write("list.csv", customers(mobiles(60)))
    await sent(desk)
    rows = await exported(desk, "--state", "undelivered")
    assert rows
    assert {row["同意来源"] for row in rows} == {"官网注册"}
    assert all(row["同意时间"].startswith("2025-03-01 10:0") for row in rows)


@pytest.mark.parametrize("settings", [HALF], indirect=True)
async def test_a_follow_up_list_is_sent_to_as_it_is_and_reaches_nobody_else(desk: Desk) -> None:
    numbers = mobiles(90)
    rows = [f"客户{at},{numbers[at]}/{numbers[at + 1]}" for at in range(0, 90, 2)]  # two people in each cell
    desk.write("list.csv", "姓名,手机号\n" + "\n".join(rows) + "\n")
    await sent(desk)
    again = await exported(desk, "--state", "undelivered,unreported", name="again.csv")
    assert 10 < len(again) < 80
    before = dict(desk.truth["mobiles"])
    await sent(desk, "--again", name="again.csv", campaign="follow-up")
    twice = {mobile for mobile, times in desk.truth["mobiles"].items() if times - before.get(mobile, 0)}
    assert twice == {row["手机号"] for row in again}
    assert await exported(desk, campaign="follow-up", name="third.csv")  # its own columns are not overwritten
    assert list(lines(desk.folder / "third.csv")[0])[-9:] == [f"xinshi_{name}" for name in RESULTS]


async def test_a_cell_with_two_numbers_gives_a_line_for_each_and_names_each_once(desk: Desk) -> None:
    one, two, three = mobiles(3)
    desk.write("list.csv", f"姓名,手机号\n甲,{one}/{two}\n乙,{three}、0755-12345678\n")
    await sent(desk)
    rows = await exported(desk)
    assert [(row["姓名"], row["手机号"], row["state"]) for row in rows] == [
        ("甲", one, "accepted"),
        ("甲", two, "accepted"),
        ("乙", three, "accepted"),
        ("乙", "", "excluded"),
    ]
    assert rows[3]["reason"].startswith("landline: ")


async def test_a_number_is_as_it_was_written_unless_a_spreadsheet_would_compute_it(desk: Desk) -> None:
    one, two, three, four = mobiles(4)
    desk.write("list.csv", f'姓名,手机号\n=1+1,+86 {one}\n-5,"=""{two}"""\n@甲,86{three}\n+乙,{four}.0\n')
    await sent(desk)
    rows = await exported(desk)
    assert [row["手机号"] for row in rows] == [f"+86 {one}", two, f"86{three}", f"{four}.0"]
    assert [row["姓名"] for row in rows] == ["'=1+1", "-5", "'@甲", "'+乙"]
    assert (await desk.run("export", "spring", "--output", "out.jsonl")).code == 0
    assert [row["姓名"] for row in told(desk.folder / "out.jsonl")] == ["=1+1", "-5", "@甲", "+乙"]
    await sent(desk, "--again", name="out.csv", campaign="again")  # and every one of them is read again
    assert set(desk.truth["mobiles"].values()) == {2}


async def test_csv_is_for_excel_and_only_its_owner_reads_it(desk: Desk) -> None:
    number, *_ = mobiles(1)
    desk.write("list.csv", f'姓名,手机号,备注\n"甲,乙",{number},"两行\n""引号"""\n'.encode())
    await sent(desk)
    await exported(desk)
    raw = (desk.folder / "out.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    assert raw.endswith(b"\r\n")
    head, _, row = raw.decode("utf-8-sig").partition("\r\n")
    assert head.startswith("姓名,手机号,备注,state")
    assert row.startswith(f'"甲,乙",{number},"两行\n""引号""",accepted,')
    assert (desk.folder / "out.csv").stat().st_mode & 0o777 == 0o600


async def test_columns_are_chosen_by_name_and_unknown_words_come_with_the_nearest(desk: Desk) -> None:
    numbers = mobiles(3)
    desk.write("list.csv", customers(numbers))
    await sent(desk)
    rows = await exported(desk, "--columns", "state, 城市,手机号,line,list,number,batch")
    assert list(rows[0]) == ["state", "城市", "手机号", "line", "list", "number", "batch"]
    assert [(row["line"], row["number"], row["batch"]) for row in rows] == [
        (str(at + 2), number, "1") for at, number in enumerate(numbers)
    ]
    for words, hint in (
        (("--columns", "姓名,sate"), "'state'"),
        (("--state", "undeliverd"), "'undelivered'"),
        (("--format", "xml"), "parquet"),
    ):
        end = await desk.run("export", "spring", "--output", "no.csv", *words)
        assert (end.code, hint in end.errors) == (2, True), end.errors
    assert not (desk.folder / "no.csv").exists()


async def test_several_lists_share_their_columns_and_their_numbers_are_in_one(desk: Desk) -> None:
    one, two, three = mobiles(3)
    desk.write("a.csv", f"姓名,手机号\n甲,{one}\n")
    desk.write("b.csv", f"phone,city\n{two},上海\nbad,广州\n")
    desk.write("c.txt", f"{three}\n")
    desk.configure(QUICK)
    end = await desk.run("send", "a.csv", "b.csv", "c.txt", "--text", TEXT, "--yes", "--campaign", "spring")
    assert end.code == 0, end.errors
    rows = await exported(desk)
    assert list(rows[0])[:3] == ["姓名", "手机号", "city"]
    assert [list(row.values())[:4] for row in rows] == [
        ["甲", one, "", "accepted"],
        ["", two, "上海", "accepted"],
        ["", "bad", "广州", "excluded"],
        ["", three, "", "accepted"],
    ]


@pytest.mark.parametrize("settings", [{"report_delay_s": 0}], indirect=True)
async def test_a_reply_stands_beside_the_person_who_wrote_it(desk: Desk) -> None:
    numbers = mobiles(12)
    desk.write("list.csv", customers(numbers))
    desk.configure(QUICK)
    assert (await desk.run(*desk.order("--campaign", "spring"))).code == 0
    desk.sim.plant_uplink(numbers[4], "=多少钱")
    desk.sim.plant_uplink(numbers[4], "在哪里")
    assert (await desk.run("track", "--once", "-q")).code == 0
    rows = await exported(desk)
    assert {at: row["reply"] for at, row in enumerate(rows) if row["reply"]} == {4: "'=多少钱 | 在哪里"}
    assert datetime.fromisoformat(rows[4]["replied"]).tzinfo is None


async def test_who_opted_out_after_planning_is_excluded_as_status_says(desk: Desk) -> None:
    numbers = mobiles(30)
    desk.write("list.csv", customers(numbers))
    desk.configure(QUICK)
    assert (await desk.run(*desk.order("--campaign", "spring", "--limit", "10"))).code in (0, 75)
    assert (await desk.run("optouts", "add", numbers[15], *numbers[20:])).code == 0
    assert (await desk.run("run", "spring")).code == 0
    rows = await exported(desk)
    out = [at for at, row in enumerate(rows) if row["state"] == "excluded"]
    assert out == [15, *range(20, 30)]
    assert {rows[at]["reason"].partition(":")[0] for at in out} == {"opted_out"}
    status = (await desk.run("status", "spring", "--json")).json
    assert status["excluded"]["opted_out"] == 11
    assert counted(rows, "state")["accepted"] == status["recipients"]["accepted"]


async def test_what_was_refused_has_the_gateway_s_words(desk: Desk) -> None:
    desk.write("list.csv", customers(mobiles(60)))
    desk.sim.set_faults({"faild_parameter": 0.5})
    end = await sent(desk)
    assert end.code == 3, end.errors
    rows = await exported(desk, "--state", "refused")
    assert 0 < len(rows) < 60
    (why,) = desk.rows("SELECT DISTINCT reason FROM batch WHERE state = 'refused'")[0]
    assert {row["reason"] for row in rows} == {why} != {""}


async def test_many_texts_and_an_added_list_come_out_in_the_order_of_the_rows(desk: Desk) -> None:
    numbers = mobiles(150)
    desk.write("list.csv", customers(numbers[:120]))
    desk.configure(QUICK)
    end = await desk.run(*desk.order("--campaign", "spring", text="【测试】{城市}的店上新"))
    assert end.code == 0, end.errors
    desk.write("more.csv", "手机号,城市,等级\n" + "".join(f"{number},上海,A\n" for number in numbers[110:]))
    end = await desk.run("send", "more.csv", "--add-to", "spring", "--yes")
    assert end.code == 0, end.errors
    rows = await exported(desk)
    assert [row["手机号"] for row in rows] == [*numbers[:120], *numbers[110:]]
    assert [row["state"] for row in rows] == [*["accepted"] * 120, *["excluded"] * 10, *["accepted"] * 30]
    assert [row["等级"] for row in rows] == [*[""] * 120, *["A"] * 40]
    (desk.folder / "more.csv").unlink()
    assert await exported(desk) == rows


# ── where the columns come from ──────────────────────────────────────────────────────────────────────────────────────


async def test_a_list_that_is_gone_or_changed_is_read_from_its_copy(desk: Desk) -> None:
    numbers = mobiles(20)
    path = desk.write("list.csv", customers(numbers))
    await sent(desk)
    whole = await exported(desk)
    path.unlink()
    assert await exported(desk) == whole
    path.write_text(customers(mobiles(20, seed=9)))
    assert await exported(desk) == whole


async def test_standard_input_is_kept_and_none_is_none(desk: Desk) -> None:
    numbers = mobiles(20)
    path = desk.write("list.csv", customers(numbers))
    desk.configure(QUICK)
    with path.open() as piped:
        end = await desk.run("send", "-", "--text", TEXT, "--yes", "--campaign", "piped", stdin=piped)
    assert end.code == 0, end.errors
    (copy,) = (desk.journal.parent / "xinshi.db.lists").iterdir()
    assert gzip.decompress(copy.read_bytes()) == path.read_bytes()
    assert (copy.stat().st_mode & 0o777, copy.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    rows = await exported(desk, campaign="piped")
    assert [row["姓名"] for row in rows] == [f"客户{at}" for at in range(20)]


@pytest.mark.parametrize(("keeps", "names"), [("none", []), ("stdin", []), ("all", ["list"])])
async def test_settings_say_which_lists_are_kept(desk: Desk, keeps: str, names: list[str]) -> None:
    desk.write("list.csv", customers(mobiles(5)))
    desk.configure(QUICK + f'[results]\nkeep_lists = "{keeps}"\n')
    assert (await desk.run(*desk.order("--campaign", "spring"))).code == 0
    assert len(list(desk.journal.parent.glob("*.lists/*"))) == len(names)


async def test_without_list_and_copy_the_number_and_the_result_stay_and_it_is_said(desk: Desk) -> None:
    numbers = mobiles(25)
    path = desk.write("list.csv", customers(numbers) + "王,12345,北京,门店,\r\n")
    await sent(desk)
    for copy in (desk.journal.parent / "xinshi.db.lists").iterdir():
        copy.unlink()
    path.unlink()
    end = await desk.run("export", "spring", "--output", "out.csv")
    assert end.code == 0
    assert "list.csv is gone, and no copy of it was kept" in end.errors
    rows = lines(desk.folder / "out.csv")
    assert [row["mobile"] for row in rows] == [*numbers, "12345"]
    assert [row["state"] for row in rows] == [*["accepted"] * 25, "excluded"]


async def test_a_damaged_copy_is_found_and_not_believed(desk: Desk) -> None:
    path = desk.write("list.csv", customers(mobiles(5)))
    await sent(desk)
    (copy,) = (desk.journal.parent / "xinshi.db.lists").iterdir()
    copy.write_bytes(gzip.compress(customers(mobiles(5, seed=2)).encode()))
    path.unlink()
    end = await desk.run("export", "spring", "--output", "out.csv")
    assert (end.code, "damaged" in end.errors) == (0, True), end.errors
    assert "姓名" not in lines(desk.folder / "out.csv")[0]


# ── how it is written ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_jsonl_and_parquet_hold_what_csv_does(desk: Desk) -> None:
    pyarrow = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    desk.write("list.csv", customers(mobiles(30)))
    await sent(desk)
    rows = await exported(desk)
    for name in ("out.jsonl", "out.parquet"):
        assert (await desk.run("export", "spring", "--output", name)).code == 0
    found = told(desk.folder / "out.jsonl")
    assert [in_csv({name: value or "" for name, value in row.items()}) for row in found] == rows
    assert {row["reply"] for row in found} == {None}
    assert pyarrow.read_table(desk.folder / "out.parquet").to_pylist() == [
        {name: value or "" for name, value in row.items()} for row in found
    ]


@pytest.mark.parametrize("settings", [{"report_delay_s": 0}], indirect=True)
@pytest.mark.parametrize(("name", "hours"), [("Asia/Shanghai", 8), ("Asia/Tokyo", 9)])
async def test_times_are_in_the_zone_of_the_settings(desk: Desk, name: str, hours: int) -> None:
    desk.write("list.csv", customers(mobiles(3)))
    await sent(desk)
    desk.configure(QUICK + f'[hours]\ntimezone = "{name}"\n')
    rows = await exported(desk)
    assert (await desk.run("export", "spring", "--output", "out.jsonl")).code == 0
    exact = told(desk.folder / "out.jsonl")
    ((started_us,),) = desk.rows("SELECT started_at FROM attempt")
    for column in ("submitted", "answered", "reported"):
        moments = [datetime.fromisoformat(row[column]) for row in exact]
        assert {moment.utcoffset() for moment in moments} == {timedelta(hours=hours)}
        assert [row[column] for row in rows] == [f"{moment:%Y-%m-%d %H:%M:%S}" for moment in moments]
    assert datetime.fromisoformat(exact[0]["submitted"]).timestamp() == started_us // 1_000_000


async def test_an_export_can_be_sent_and_exported_again(desk: Desk) -> None:
    numbers = mobiles(3)
    desk.write("list.csv", customers(numbers))
    await sent(desk)
    await exported(desk, name="again.csv")
    await sent(desk, "--again", name="again.csv", campaign="again")
    rows = await exported(desk, campaign="again", name="last.csv")
    assert [row["手机号"] for row in rows] == numbers
    assert [row["submitted"] for row in rows] == [row["submitted"] for row in lines(desk.folder / "again.csv")]
    assert all(row["xinshi_submitted"] >= row["submitted"] for row in rows)


async def test_standard_output_has_the_lines_alone_and_a_reader_may_leave(desk: Desk) -> None:
    numbers = mobiles(3)
    desk.write("list.csv", customers(numbers))
    await sent(desk)
    end = await desk.run("export", "spring", "--output", "-", "--format", "jsonl", "--columns", "手机号,state")
    assert end.output == "".join(f'{{"手机号": "{number}", "state": "accepted"}}\n' for number in numbers)
    assert "3 lines written" in end.errors


async def test_the_list_itself_and_a_folder_are_not_overwritten(desk: Desk) -> None:
    path = desk.write("list.csv", customers(mobiles(3)))
    before = path.read_bytes()
    await sent(desk)
    for target in ("list.csv", ".", str(desk.journal), "nowhere/out.csv"):
        assert (await desk.run("export", "spring", "--output", target)).code == 2
    assert path.read_bytes() == before
    assert (await desk.run("export", "summer", "--output", "out.csv")).code == 2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
async def test_an_export_that_is_ended_leaves_no_half_file(desk: Desk, number: int) -> None:
    many = mobiles(60_000)
    desk.configure("[pace]\nrequests_per_second = 0\n[batch]\nmax_recipients = 1000\n")
    desk.write("list.csv", customers(many[:20]))
    await sent(desk)
    _grow(desk, many)
    (desk.folder / "out.csv").write_text("the last export")
    there = sorted(path.name for path in desk.folder.iterdir())
    process = await _held_export(desk)
    while process.returncode is not None:  # the tests had no core while it wrote
        (desk.folder / "out.csv").write_text("the last export")
        process = await _held_export(desk)
    process.send_signal(number)
    process.send_signal(signal.SIGCONT)
    await ended(process)
    assert process.returncode in (-number, 128 + number)
    assert (desk.folder / "out.csv").read_text() == "the last export"
    assert sorted(path.name for path in desk.folder.iterdir()) == there


@pytest.mark.parametrize(("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_file_that_is_opened_as_the_signal_comes_is_no_complaint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[BaseException]
) -> None:
    opened = os.fdopen

    def just_opened(*how: Any, **more: Any) -> Any:
        file = opened(*how, **more)
        signal.raise_signal(number)
        return file

    complaints: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    monkeypatch.setattr(os, "fdopen", just_opened)
    with pytest.raises(kind), ended_by_signals(), landing(tmp_path / "out.csv"):
        pytest.fail("the block was reached")
    assert not complaints
    assert not list(tmp_path.iterdir())


def _grow(desk: Desk, numbers: list[str]) -> None:
    """Make the campaign so large that its export takes a while: batches of the same attempts on later lines."""
    with closing(sqlite3.connect(desk.journal)) as journal, journal:
        for seq, begin in enumerate(range(20, len(numbers), 500), 1_000):
            some = numbers[begin : begin + 500]
            journal.execute(
                "INSERT INTO batch (campaign_id, seq, message_seq, size, state, attempts, mobiles, lines, omitted) "
                "VALUES (1, ?, 1, ?, 'cancelled', 0, ?, ?, 0)",
                (seq, len(some), ",".join(some), f"{begin + 2}-{begin + 1 + len(some)}"),
            )


async def _held_export(desk: Desk) -> Any:
    """An export that is held while it writes, or that has ended before anybody looked."""
    process = await desk.start("export", "spring", "--output", "out.csv")
    await until(lambda: process.returncode is not None or _is_held_while_it_writes(process.pid, desk.folder))
    return process


def _is_held_while_it_writes(pid: int, folder: Path) -> bool:
    """Hold a process and look; it goes on unless it was writing, so that it cannot end between the look and what follows."""
    with suppress(ProcessLookupError):  # it has ended, which is told in a moment
        os.kill(pid, signal.SIGSTOP)
        if _writes(pid, folder):
            return True
        os.kill(pid, signal.SIGCONT)
    return False


def _writes(pid: int, folder: Path) -> bool:
    """Whether a process has a file open in the folder that has no name yet."""
    try:
        targets = [link.readlink() for link in Path(f"/proc/{pid}/fd").iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return any(str(target).startswith(f"{folder}/#") for target in targets)


# ── every row once, whatever the list looks like ─────────────────────────────────────────────────────────────────────

_PEOPLE = mobiles(40)
_NUMBER_CELL = st.one_of(
    st.sampled_from(_PEOPLE),
    st.sampled_from(["", "12345", "0755-12345678", "1.38E+10", "***"]),
    st.tuples(st.sampled_from(_PEOPLE), st.sampled_from(_PEOPLE)).map("/".join),
)
_WORD = st.text(st.sampled_from('甲乙a ,"\n=+-@;'), max_size=6)
_ROW = st.tuples(_WORD, _NUMBER_CELL, _WORD)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(_ROW, min_size=1, max_size=60), encoding=st.sampled_from(["utf-8", "gb18030", "utf-16"]))
def test_the_lines_of_an_export_are_the_rows_of_the_list_each_once(
    tmp_path_factory: Any, rows: list[tuple[str, str, str]], encoding: str
) -> None:
    """Planned in this process and not sent: which line a row gives does not depend on what became of it."""
    folder = tmp_path_factory.mktemp("house")
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([("姓名", "手机号", "备注"), *rows, ("末", _PEOPLE[0], "")])
    (folder / "list.csv").write_bytes(text.getvalue().encode(encoding))
    counts = asyncio.run(planned(folder, folder / "list.csv"))
    found = export(folder / "xinshi.db", "spring", folder / "out.jsonl", form=Form.JSONL)
    given_rows = [*rows, ("末", _PEOPLE[0], "")]
    assert found.lines == counts["rows"] + counts["extra"] == sum(found.states.values())
    written = told(folder / "out.jsonl")
    seen = [row for at, row in enumerate(written) if at == 0 or _key(row) != _key(written[at - 1])]
    assert set(map(_key, seen)) == {(one, last) for one, _, last in given_rows}
    recipients = [row["手机号"] for row in written if row["state"] == "planned"]
    assert sorted(recipients) == sorted({*recipients})


def _key(row: dict[str, Any]) -> tuple[str, str]:
    return row["姓名"], row["备注"]


async def test_a_campaign_of_a_queue_has_the_message_each_number_came_in(tmp_path: Path) -> None:
    numbers = mobiles(20)
    (tmp_path / "list.csv").write_text("\n".join([*numbers, "12345"]) + "\n")
    await planned(tmp_path, tmp_path / "list.csv")
    with closing(sqlite3.connect(tmp_path / "xinshi.db")) as journal, journal:
        journal.execute("INSERT INTO queue (id, name) VALUES (1, 'redis://127.0.0.1/orders')")
        journal.execute("UPDATE campaign SET queue_id = 1")
        journal.execute("DELETE FROM source")
        journal.executemany(
            "INSERT INTO notice (queue_id, notice_id, number, campaign_id, line) VALUES (1, ?, ?, 1, ?)",
            [(f"m-{at // 3}", number, at + 1) for at, number in enumerate([*numbers, "12345"])],
        )
    found = export(tmp_path / "xinshi.db", "spring", tmp_path / "out.csv")
    assert (found.lines, found.states) == (21, {"planned": 20, "excluded": 1})
    rows = lines(tmp_path / "out.csv")
    assert list(rows[0])[:3] == ["mobile", "message", "state"]
    assert [(row["mobile"], row["message"]) for row in rows] == [
        (number, f"m-{at // 3}") for at, number in enumerate([*numbers, "12345"])
    ]


async def test_a_workbook_is_not_promised_where_none_is_written(desk: Desk) -> None:
    desk.list(3)
    assert (await desk.run(*desk.order("--campaign", "spring"))).code == 0
    end = await desk.run("export", "spring", "--output", "results.xlsx")
    assert (end.code, (desk.folder / "results.xlsx").exists()) == (2, False)
    assert "call it .csv, which Excel opens" in end.errors
