"""What the database says when it cannot, in our words."""

from __future__ import annotations

from sqlalchemy.exc import IntegrityError

from engine.errors import EngineError, JournalBusy, JournalError
from engine.language import N_, _

_MEANINGS = (
    ("database is locked", JournalBusy, N_("another program is writing to the journal; try again when it has ended")),
    ("disk is full", JournalError, N_("no space is left on the disk of the journal; free some and run again")),
    (
        "readonly database",
        JournalError,
        N_("the journal is read-only; make the file and its folder writable and run again"),
    ),
    ("disk i/o error", JournalError, N_("the disk of the journal reports an error; check the disk and its free space")),
    ("unable to open", JournalError, N_("the journal cannot be opened; check that its folder exists and is yours")),
    ("not a database", JournalError, N_("the file is not a journal; name another with --journal")),
    ("malformed", JournalError, N_("the journal is damaged; restore the newest backup beside it")),
)


def journal_error(error: Exception) -> JournalError:
    """Translate an error of the driver. The first line of the original stays in the text; statements do not."""
    original = next(iter(str(getattr(error, "orig", None) or error).splitlines()), _("no reason given"))
    if isinstance(error, IntegrityError) or type(error).__name__ == "IntegrityError":  # SQLAlchemy's, the driver's
        return JournalError(_("the journal refused an impossible change ({original})").format(original=original))
    for sign, kind, meaning in _MEANINGS:
        if sign in original.lower():
            return kind(_("{meaning} ({original})").format(meaning=_(meaning), original=original))
    return JournalError(_("the journal could not be read or written ({original})").format(original=original))


def told(error: Exception) -> EngineError:
    """What whoever asked for a write hears. A driver refuses what it cannot store (half a surrogate pair) in its own words."""
    return error if isinstance(error, EngineError) else journal_error(error)
