"""A copy of the journal, also while it is being written to."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from engine.errors import JournalError
from engine.results.backup import back_up
from tests.cli.desk import Desk, during, ended, until
from tests.numbers import mobiles
from tests.results.desk import customers, sent


@pytest.mark.parametrize("settings", [{"latency_s": 0.01}], indirect=True)
async def test_a_copy_taken_while_a_campaign_is_sent_can_be_audited(desk: Desk) -> None:
    desk.configure(
        "[pace]\nrequests_per_second = 0\nin_flight = 2\n[batch]\nmax_recipients = 5\ndistinct_sizes = false\n"
    )
    desk.write("list.csv", customers(mobiles(2_000)))
    sending = await desk.start(*desk.order("--campaign", "spring"))
    await during(sending, until(lambda: len(desk.truth["mobiles"]) > 200))
    end = await desk.run("backup", "copy.db", "--json")
    assert sending.returncode is None
    assert end.code == 0, end.errors
    copy = desk.folder / "copy.db"
    assert end.json == {"backup": "copy.db", "bytes": copy.stat().st_size}
    assert copy.stat().st_mode & 0o777 == 0o600
    counts = (await desk.run("status", "spring", "--json", "--journal", "copy.db")).json
    assert 0 < counts["recipients"]["accepted"] < 2_000
    audit = await desk.run("audit", "spring", "--json", "--journal", "copy.db")
    assert [law["law"] for law in audit.json["laws"] if not law["holds"]] == []
    assert sorted(path.name for path in desk.folder.glob("*copy*")) == ["copy.db"]
    assert (await ended(sending)).code == 0


async def test_nothing_is_overwritten_and_nothing_half_is_left(desk: Desk) -> None:
    end = await desk.run("backup", "copy.db")
    assert (end.code, "no journal" in end.errors) == (75, True)
    desk.write("list.csv", customers(mobiles(5)))
    await sent(desk)
    (desk.folder / "copy.db").write_text("mine")
    end = await desk.run("backup", "copy.db")
    assert (end.code, (desk.folder / "copy.db").read_text()) == (2, "mine")
    assert (await desk.run("backup", "nowhere/copy.db")).code == 2
    assert not [path for path in desk.folder.iterdir() if path.name.startswith(".")]


async def test_a_killed_backup_leaves_no_copy_and_the_next_one_removes_what_it_had(desk: Desk) -> None:
    desk.write("list.csv", customers(mobiles(5)))
    await sent(desk)
    before = set(desk.folder.iterdir())
    killed = await desk.run("backup", "copy.db", environ={"_XINSHI_CRASH": "kill:part of a backup copied:1"})
    assert killed.code == -9
    left = set(desk.folder.iterdir()) - before
    assert [path.name for path in left if not path.name.startswith(".copy.db.backup-")] == []
    assert sum(path.stat().st_size for path in left) > 0
    assert {path.stat().st_mode & 0o777 for path in left} == {0o600}
    assert (await desk.run("backup", "other.db")).code == 0
    assert left < set(desk.folder.iterdir())  # they are not of that name
    assert (await desk.run("backup", "copy.db")).code == 0
    assert set(desk.folder.iterdir()) - before == {desk.folder / "copy.db", desk.folder / "other.db"}


async def test_a_backup_leaves_another_one_alone_that_is_still_at_work(desk: Desk) -> None:
    desk.write("list.csv", customers(mobiles(5)))
    await sent(desk)
    stopped = await desk.start("backup", "copy.db", environ={"_XINSHI_CRASH": "stop:part of a backup copied:1"})
    state = Path(f"/proc/{stopped.pid}/stat")
    await until(lambda: state.read_text().rpartition(")")[2].split()[0] == "T")
    assert (await desk.run("backup", "copy.db")).code == 0
    os.kill(stopped.pid, signal.SIGCONT)
    second = await ended(stopped)
    assert (second.code, "is there already" in second.errors) == (2, True)
    assert sorted(path.name for path in desk.folder.glob("*copy*")) == ["copy.db"]


def test_a_damaged_journal_gives_no_backup(tmp_path: Path) -> None:
    journal = tmp_path / "xinshi.db"
    with closing(sqlite3.connect(journal)) as raw, raw:
        raw.execute("CREATE TABLE batch (id INTEGER PRIMARY KEY, mobiles TEXT)")
        raw.execute("CREATE INDEX i ON batch (mobiles)")
        raw.executemany("INSERT INTO batch (mobiles) VALUES (?)", [(f"{at:0500d}",) for at in range(200)])
    content = bytearray(journal.read_bytes())
    content[4_096:4_196] = b"\x55" * 100  # where the table begins
    journal.write_bytes(content)
    with pytest.raises(JournalError, match=r"damaged|copied"):
        back_up(journal, tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()
