"""A sender as its users run it: a real process, a real journal, the simulator on a real socket."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.simulator import Simulator
from tests import nursery
from tests.numbers import mobiles

TEXT = "【测试】春季新品已经到店"
IMPATIENT = "[settlement]\nmin_age_s = 1.5\nbalance_settle_s = 0.1\n"
"""Longer than the simulator takes to accept what it hangs on, and far shorter than anybody would choose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended. `status` is the last line of its output, where it is JSON."""

    code: int
    output: str
    errors: str

    @property
    def status(self) -> dict[str, Any]:
        """The status object the command printed."""
        return dict(json.loads(self.output.splitlines()[-1]))


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """One folder with a list, settings and a journal, for one simulated gateway."""

    folder: Path
    sim: Simulator

    @property
    def journal(self) -> Path:
        """Where the journal is."""
        return self.folder / "xinshi.db"

    def settle_in(
        self, rows: int, *, seed: int, settings: str = "", patience: str = IMPATIENT, account: str = ""
    ) -> list[str]:
        """Write the list and the settings; return the numbers of the list. `account`: more keys of that table."""
        numbers = mobiles(rows, seed=seed)
        (self.folder / "list.csv").write_text("手机号\n" + "\n".join(numbers) + "\n", encoding="gb18030")
        tables = (f'[account]\nurl = "{self.sim.url}"', account, '[journal]\nurl = "xinshi.db"', patience, settings)
        (self.folder / "xinshi.toml").write_text("\n".join(tables), encoding="utf-8")
        return numbers

    async def start(self, *words: str, crash: str | None = None) -> nursery.Started:
        """Begin a command and return at once. `crash`: where it is killed, see engine/crashing.py."""
        armed = {} if crash is None else {"_XINSHI_CRASH": crash}
        environ = {**os.environ, "XINSHI_ACCOUNT__PASSWORD": "demo", "XDG_STATE_HOME": str(self.folder), **armed}
        return await nursery.start(*words, "--config", str(self.folder / "xinshi.toml"), "--json", environ=environ)

    async def begin_sending(self, *, crash: str | None = None) -> nursery.Started:
        """The send that is the same order every time."""
        words = ("send", str(self.folder / "list.csv"), "--text", TEXT, "--campaign", "spring", "--yes")
        return await self.start(*words, crash=crash)

    def states(self) -> dict[str, str]:
        """Every number of the journal, and the state of its batch. Raises AssertionError where one stands in two."""
        found: dict[str, str] = {}
        with closing(sqlite3.connect(f"file:{self.journal}?mode=ro", uri=True)) as journal:
            for state, numbers in journal.execute("SELECT state, mobiles FROM batch WHERE state != 'split'"):
                for mobile in numbers.split(","):
                    assert mobile not in found, "a number stands in two batches"
                    found[mobile] = state
        return found

    def check_laws(self, *, at_rest: bool) -> None:
        """Once, and the gateway's truth is covered; at any instant, or `at_rest`, when a command has ended by itself."""
        accepted: dict[str, int] = self.sim.truth()["mobiles"]  # type: ignore[assignment]
        states = self.states()
        covering = {"accepted", "in_doubt"} if at_rest else {"accepted", "in_doubt", "submitting"}
        assert [mobile for mobile, times in accepted.items() if times > 1] == [], "accepted twice"
        assert {states.get(mobile) for mobile in accepted} <= covering, "accepted there, and not known here"
        said = {mobile for mobile, state in states.items() if state == "accepted"}
        assert said <= accepted.keys(), "accepted here, and not there"


COMPLAINTS = (
    "internal error",
    "Traceback",
    "Exception ignored",
    "no longer ours",  # nobody else has this journal
    "doubts are not settled any more",
    "a write failed",
)


async def ended(process: nursery.Started) -> Ended:
    """Wait for a command to end by itself. Whatever the gateway did, none of its complaints is our own fault."""
    end = await told(process)
    assert complaints(end) == []
    return end


async def told(process: nursery.Started) -> Ended:
    """Wait for a command to end by itself, whatever it says."""
    output, errors = await process.communicate()
    assert process.returncode is not None
    return Ended(code=process.returncode, output=output.decode(), errors=errors.decode())


def complaints(end: Ended) -> list[str]:
    """The lines of a command that only a fault of ours explains."""
    return [line for line in end.errors.splitlines() if any(words in line for words in COMPLAINTS)]
