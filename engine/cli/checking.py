"""`check`: whether everything is there that a campaign needs."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.cli import out, pages
from engine.cli.beginning import read_settings
from engine.cli.exits import OK, code_of_error
from engine.cli.words import Common
from engine.errors import EngineError, JournalError, NotTold
from engine.gate import Gate
from engine.language import _
from engine.loop import run_in_loop
from engine.model import Balance
from engine.notify import Delivery
from engine.runs.looking import status as look
from engine.runs.telling import tell_trial
from engine.settings import AccountSettings, Settings

_ROOM = 20_000_000  # bytes; a million recipients need more, some thousand need less


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    """What was found. `told` None: nobody was to be told."""

    settings: Settings
    account: AccountSettings
    free_bytes: int
    balance: Balance | None
    told: list[Delivery] | None
    problems: list[EngineError]

    @property
    def notified(self) -> list[str]:
        """The ways on which people were told."""
        return [each.channel for each in self.told or () if not each.problem]


def check(common: Common, *, notify: bool = False) -> int:
    """Settings, journal, disk, SQLite, login and balance; a line each. `notify`: people are told, to see that it works."""
    settings = read_settings(common, warns=True)
    found: list[_Checked] = []

    async def main() -> int:
        found.append(await _checked(settings, common.account, notify=notify))
        return OK

    run_in_loop(main)
    (checked,) = found
    if common.json:
        out.data(_as_json(checked))
    else:
        out.page(_page(checked))
    return code_of_error(checked.problems[0]) if checked.problems else OK


async def _checked(settings: Settings, account_name: str, *, notify: bool) -> _Checked:
    account = settings.for_account(account_name)
    problems: list[EngineError] = []
    balance, told = None, None
    async with Gate.open(settings, account_name) as gate:
        try:
            await look(settings, None)
        except EngineError as error:
            problems.append(error)
        try:
            balance = await gate.balance()
        except EngineError as error:
            problems.append(error)
    free = _free_bytes(settings.journal_path)
    if too_full := no_room(free):
        problems.append(too_full)
    if notify:
        told = await tell_trial(settings, account.name)
        problems.extend(NotTold(f"notify.{each.channel}: {each.problem}") for each in told if each.problem)
    return _Checked(settings=settings, account=account, free_bytes=free, balance=balance, told=told, problems=problems)


def _as_json(found: _Checked) -> dict[str, Any]:
    settings, account = found.settings, found.account
    return {
        "ok": not found.problems,
        "settings": None if settings.file is None else str(settings.file),
        "journal": str(settings.journal_path),
        "disk_free_bytes": found.free_bytes,
        "sqlite": sqlite3.sqlite_version,
        "account": account.account,
        "url": account.url,
        "profile": account.profile,
        "balance": None if found.balance is None else pages.balance_json(found.balance),
        **({} if found.told is None else {"notified": found.notified}),
        "problems": [str(problem) for problem in found.problems],
    }


def _page(found: _Checked) -> str:
    settings, account = found.settings, found.account
    there = "" if settings.journal_path.exists() else _(" (not there yet)")
    lines: list[pages.Line] = [
        (_("settings"), str(settings.file or _("no file: the defaults")), ""),
        (_("journal"), f"{settings.journal_path}{there}", ""),
        (_("disk"), free_words(found.free_bytes), ""),
        (
            "SQLite",
            _("{sqlite_version}, fine for the journal: only one process writes to it at a time").format(
                sqlite_version=sqlite3.sqlite_version
            ),
            "",
        ),
        (
            _("account"),
            _("{account} at {url}, profile {profile}").format(
                account=account.account, url=account.url, profile=account.profile
            ),
            "",
        ),
        *pages.route_lines(account),
    ]
    if found.balance is not None:
        lines += [(_("login"), _("works"), ""), *pages.balance_lines(found.balance)]
    lines += [(_("notified"), channel, "") for channel in found.notified]
    lines += [(_("PROBLEM"), str(problem), "") for problem in found.problems]
    return pages.grid(lines)


def free_words(free: int) -> str:
    """The room on a disk: in gigabytes, or in megabytes where it is little."""
    if free < 1e9:
        return _("{megabytes:,.0f} MB free").format(megabytes=free / 1e6)
    return _("{gigabytes:,.1f} GB free").format(gigabytes=free / 1e9)


def no_room(free: int) -> JournalError | None:
    """That a campaign would come to a stop for want of room: so many bytes are free."""
    if free >= _ROOM:
        return None
    return JournalError(
        _("{free} where the journal is: too little for a campaign; make room").format(free=free_words(free))
    )


def _free_bytes(path: Path) -> int:
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
