"""Where a journal lies: folders are made for it, and what cannot be one is refused. Imports nothing of a database."""

from __future__ import annotations

from pathlib import Path

from engine.errors import JournalError, SettingsError
from engine.language import _
from engine.terms import system_words


def make_folder(folder: Path) -> None:
    """Make a folder that its owner alone may look into, where there is none yet. Raises JournalError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise JournalError(
            _("cannot create the folder {folder} ({problem})").format(folder=folder, problem=system_words(error))
        ) from error


def refuse_no_journal(path: Path) -> None:
    """Raises JournalError where no journal is at `path`."""
    if not path.is_file():
        raise JournalError(
            _("there is no journal at {path}; nothing was sent with it yet (see --journal)").format(path=path)
        )


def refuse_folder(journal: Path) -> None:
    """Raises SettingsError where the journal's path is a folder."""
    if journal.is_dir():
        raise SettingsError(
            _("the journal {journal} is a folder; name a file in it: {file}").format(
                journal=journal, file=journal / "xinshi.db"
            )
        )
