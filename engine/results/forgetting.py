"""Forgets campaigns that ended long ago: their numbers and texts, the copies of their lists and their rejects. Counts stay."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from glob import escape
from pathlib import Path

from engine.errors import JournalError, PlanError
from engine.intake.kept import FOLDER_END, kept_folder
from engine.journal.forgetting import Ended, Waiting, copies_beside
from engine.journal.opening import open_journal, read_journal
from engine.journal.places import refuse_no_journal
from engine.journal.port import Delivery
from engine.journal.store import Reader, SqlJournal
from engine.language import _
from engine.terms import system_words

_AGE = re.compile(r"([0-9]{1,5})\s*([dwmy]?)", re.IGNORECASE)
_DAYS = {"d": 1, "": 1, "w": 7, "m": 30, "y": 365}


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What is forgotten, or would be. `waiting` are as old and not over; `copies` hold what older journals held, and stay."""

    campaigns: list[Ended]
    waiting: list[Waiting]
    files: list[Path]
    copies: list[Path]


def age_of(words: str) -> timedelta:
    """An age such as 180d, 26w, 6m (of 30 days) or 2y. Raises PlanError."""
    if (found := _AGE.fullmatch(words.strip())) is None or int(found[1]) == 0:
        raise PlanError(
            _("--older-than {words!r} is no age; write for example 180d (days), 26w, 6m or 2y").format(words=words)
        )
    return timedelta(days=int(found[1]) * _DAYS[found[2].lower()])


async def what_to_forget(journal: Path, before: datetime) -> Forgotten:
    """What `forget` would remove. Raises JournalError, SchemaMismatch."""
    reader = await read_journal(journal)
    try:
        return await _found(reader, journal, before)
    finally:
        await reader.close()


async def _found(reader: Reader, journal: Path, before: datetime) -> Forgotten:
    ended, waiting = await reader.campaigns_before(before)
    return Forgotten(
        campaigns=[each for each in ended if each.forgotten_at is None],
        waiting=waiting,
        files=[*_rejects(journal, ended), *_halves(journal, before)],
        copies=copies_beside(journal),
    )


async def forget(journal: Path, before: datetime, *, at: datetime) -> Forgotten:
    """Remove the numbers and texts of campaigns that ended before that time, so that no byte of them is left in the journal.

    Raises JournalBusy while another process owns the journal, JournalError, SchemaMismatch.
    """
    refuse_no_journal(journal)
    owned = await open_journal(journal)
    try:
        found, cut_off = await _found(owned, journal, before), _begin(journal)
        await owned.overwrite_as_deleted()
        for each in found.campaigns:
            await owned.forget_campaign(each.campaign_id, await owned.delivery(each.campaign_id), at=at)
        gone = await _again(owned, before, at)
        files = [*found.files, *await _idle_lists(owned, journal)]
        for file in files:
            _remove(file)
        if found.campaigns or gone or cut_off:
            await owned.rewrite()
        _remove(_mark(journal))
    finally:
        await owned.close()
    return Forgotten(campaigns=found.campaigns, waiting=found.waiting, files=files, copies=found.copies)


def _mark(journal: Path) -> Path:
    """The file that is there while something is deleted that the journal's free pages may still hold."""
    return journal.with_name(journal.name + ".forgetting")


def _begin(journal: Path) -> bool:
    """Put the mark on the disk. Returns whether an earlier forgetting was killed before its end."""
    try:
        os.close(os.open(_mark(journal), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        folder = os.open(journal.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except FileExistsError:
        return True
    except OSError as error:
        raise JournalError(
            _("cannot write the journal {path} ({problem})").format(path=journal, problem=system_words(error))
        ) from error
    return False


async def _again(owned: SqlJournal, before: datetime, at: datetime) -> int:
    """What came late for campaigns that were forgotten earlier, and what the gateway told before. Returns how much."""
    ended, _waiting = await owned.campaigns_before(before)
    for each in ended:
        await owned.forget_campaign(each.campaign_id, Delivery(), at=at)
    accounts = {record.account for record in await owned.campaigns()}
    return sum([await owned.forget_told(account, before=before) for account in sorted(accounts)])


def _rejects(journal: Path, ended: Sequence[Ended]) -> list[Path]:
    """The files with the rows that were left out of these campaigns."""
    names = [f"{escape(each.name)}_xinshi_rejects{more}.csv" for each in ended for more in ("", "-[0-9]*")]
    return [path for name in names for path in sorted(journal.parent.glob(name))]


def _halves(journal: Path, before: datetime) -> list[Path]:
    """The halves of rejects that plannings that were killed before that time have left."""
    halves = sorted(journal.parent.glob(".*_xinshi_rejects*.csv.*.partial"))
    return [path for path in halves if path.stat().st_mtime < before.timestamp()]


async def _idle_lists(owned: SqlJournal, journal: Path) -> list[Path]:
    """The copies of lists that no campaign needs any more, and the halves of copies that somebody killed has left."""
    folder, used = kept_folder(journal), await owned.lists_in_use()
    copies = [copy for copy in folder.glob("*.gz") if copy.stem not in used]
    return sorted([*copies, *folder.glob(".*.partial")])


def _remove(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise JournalError(
            _("{file} cannot be removed: {problem}").format(file=file, problem=system_words(error))
        ) from error
    if file.parent.name.endswith(FOLDER_END):
        with suppress(OSError):  # it is removed once it is empty
            file.parent.rmdir()
