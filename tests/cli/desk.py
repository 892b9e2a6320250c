"""An operator's desk: a folder with a list, settings and a journal, the real command, and the simulator to check it by."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from engine.simulator import Simulator
from tests import nursery
from tests.numbers import mobiles

ROOT = Path(__file__).parents[2]
PASSWORD = "geheim-4f1c&9"  # as no other text here
TEXT = "【测试】春季新品已经到店"
SOON_S = 100.0  # for what takes a second where nothing else runs

Case = TypeVar("Case")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int
    output: str
    errors: str

    @property
    def json(self) -> Any:
        """The one JSON value that is the whole output."""
        assert self.output.count("\n") == 1, self.output
        return json.loads(self.output)


@dataclass(slots=True, kw_only=True)
class Desk:
    """Where the command is run. Everything it writes is below `folder`."""

    folder: Path
    sim: Simulator
    started: list[asyncio.subprocess.Process | nursery.Started] = field(default_factory=list)

    @property
    def journal(self) -> Path:
        return self.folder / "state" / "xinshi" / "xinshi.db"

    @property
    def environ(self) -> dict[str, str]:
        """The user's, without what this machine's user has set, and with warnings as errors."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("XINSHI_", "XDG_", "PYTHON"))}
        return kept | {
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "error",
            "XDG_STATE_HOME": str(self.folder / "state"),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "XINSHI_ACCOUNT__PASSWORD": PASSWORD,
            "XINSHI_LANG": "en",
        }

    def configure(self, more: str = "", *, url: str = "", account: str = "") -> Path:
        """Write the settings file. `account` are further lines of [account], `more` further tables."""
        path = self.folder / "config" / "xinshi" / "xinshi.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        fast = "[retry]\nattempts = 3\nwait_s = 0.01\nwait_max_s = 0.02\n[settlement]\nmin_age_s = 1\nbalance_settle_s = 0.1\n"
        path.write_text(f'[account]\nurl = "{url or self.sim.url}"\n{account}\n{fast}{more}\n', encoding="utf-8")
        return path

    def beside(self, name: str) -> Desk:
        """Another user's desk with the same gateway account, so that commands can run at the same time."""
        folder = self.folder / name
        folder.mkdir()
        desk = Desk(folder=folder, sim=self.sim, started=self.started)
        desk.configure()
        return desk

    def list(self, rows: int, *, seed: int = 1, name: str = "list.csv") -> list[str]:
        """Write a list of numbers and nothing else."""
        numbers = mobiles(rows, seed=seed)
        self.write(name, "手机号\n" + "\n".join(numbers) + "\n")
        return numbers

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    async def start(
        self,
        *words: str,
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: int = asyncio.subprocess.DEVNULL,
        stdout: int = asyncio.subprocess.PIPE,
        stderr: int = asyncio.subprocess.PIPE,
        under: Sequence[str] = (),
        flags: Sequence[str] = (),
        anew: bool = False,
    ) -> asyncio.subprocess.Process | nursery.Started:
        """Begin a command and return at once. `under` are the words of a program that starts it, `flags` Python's own.

        `anew`: load everything anew, as a user's shell does.
        """
        how = {"cwd": cwd or self.folder, "stdin": stdin, "stdout": stdout, "stderr": stderr}
        env = self.environ | dict(environ or {})
        process: asyncio.subprocess.Process | nursery.Started
        if under or flags or anew:
            started = (*under, sys.executable, *flags, "-m", "engine", *words)
            process = await asyncio.create_subprocess_exec(*started, env=env, **how)
        else:
            process = await nursery.start(*words, environ=env, **how)
        self.started.append(process)
        return process

    async def run(self, *words: str, **how: Any) -> Ended:
        """A command from its beginning to its end."""
        return await ended(await self.start(*words, **how))

    def order(self, *words: str, name: str = "list.csv", text: str = TEXT) -> tuple[str, ...]:
        """The words of a send that asks nothing."""
        return ("send", name, "--text", text, "--yes", *words)

    def campaigns(self) -> list[str]:
        """The visible ones, straight from the file."""
        return [name for (name,) in self.rows("SELECT name FROM campaign WHERE state != 'planning' ORDER BY id")]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What the journal holds; nothing where there is none."""
        if not self.journal.exists():
            return []
        with closing(sqlite3.connect(f"file:{self.journal}?mode=ro", uri=True)) as journal:
            if not journal.execute("SELECT 1 FROM sqlite_master WHERE name = 'campaign'").fetchall():
                return []
            return journal.execute(query).fetchall()

    @property
    def truth(self) -> dict[str, Any]:
        return self.sim.truth()

    def check_once(self, numbers: Sequence[str]) -> None:
        """Every one of these was accepted, nobody else, and nobody twice."""
        assert self.truth["mobiles"] == dict.fromkeys(numbers, 1)


async def ended(process: asyncio.subprocess.Process | nursery.Started) -> Ended:
    """Wait for a command to end by itself. Whatever it was, it shows no traceback and no password."""
    output, errors = await process.communicate()
    assert process.returncode is not None
    end = Ended(code=process.returncode, output=(output or b"").decode(), errors=(errors or b"").decode())
    assert "Traceback" not in end.errors, end.errors
    assert "Exception ignored" not in end.errors, end.errors
    assert "internal error" not in end.errors, end.errors
    assert PASSWORD not in end.output + end.errors
    return end


async def for_each(desk: Desk, cases: Iterable[Case], check: Callable[[Desk, Case], Awaitable[None]]) -> None:
    """Check all cases, a few at a time, each at a desk of its own. Names every one that fails."""
    at_once = asyncio.Semaphore(3)
    problems: dict[Case, BaseException] = {}

    async def one(number: int, case: Case) -> None:
        async with at_once:
            try:
                await check(desk.beside(f"desk-{number}"), case)
            except AssertionError as problem:
                problems[case] = problem

    await asyncio.gather(*(one(number, case) for number, case in enumerate(cases)))
    assert problems == {}, "\n".join(f"{case}: {problem}" for case, problem in problems.items())


async def during(process: asyncio.subprocess.Process | nursery.Started, moment: Awaitable[None]) -> None:
    """Return at a moment in the life of a process; an error when it ends before."""
    waits = [asyncio.ensure_future(moment), asyncio.ensure_future(process.wait())]
    try:
        async with asyncio.timeout(SOON_S):
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        assert waits[0].done(), await ended(process)
    finally:
        for wait in waits:
            wait.cancel()


async def until(happened: Callable[[], Any] | Callable[[], Awaitable[Any]]) -> Any:
    """What `happened` returns once that is true. For what no event tells of: other processes, files."""
    async with asyncio.timeout(SOON_S):
        while not (result := happened()):
            await asyncio.sleep(0.005)
    return result


def children(pid: int) -> list[int]:
    """The processes that a process has started, and that still run."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def command_line(pid: int) -> str:
    """What `ps` shows of a process; "" when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""
