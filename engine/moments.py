"""The times that people read: all of them in one zone, which each page names once. Who reads the settings says which it is.

Machines get ISO 8601 with its offset instead. The choice belongs to the context, like the language (engine/language.py).
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from datetime import datetime, timedelta, timezone, tzinfo

from engine.language import _

CHINA = timezone(timedelta(hours=8), "China")

_KEPT = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(\.\d\d)?Z")
_zone: ContextVar[tzinfo] = ContextVar("zone", default=CHINA)


def tell_times_in(zone: tzinfo) -> None:
    """From now on, in this context, people read times in this zone."""
    _zone.set(zone)


def zone_told() -> tzinfo:
    """The zone in which people read times here."""
    return _zone.get()


def local(at: datetime) -> datetime:
    """The same moment in that zone."""
    return at.astimezone(_zone.get())


def when(at: datetime) -> str:
    """A moment to the second, in that zone; the page says which it is."""
    return f"{local(at):%Y-%m-%d %H:%M:%S}"


def with_local_times(words: str) -> str:
    """Words of the journal, whose times are in UTC (`2026-03-01 08:00:03.00Z`), with the same times in that zone."""
    return _KEPT.sub(lambda kept: f"{when(datetime.fromisoformat(kept[1] + '+00:00'))}{kept[2] or ''}", words)


def zone_beside(at: datetime, zone: tzinfo | None = None) -> str:
    """What a moment has behind it where no page names the zone: nothing where this machine has the same time, else its name."""
    then = local(at) if zone is None else at.astimezone(zone)
    if then.utcoffset() == at.astimezone().utcoffset():
        return ""
    return f" {_('China time') if then.tzinfo is CHINA else then.tzname()}"


def zone_words() -> str:
    """What a page calls the zone."""
    zone = _zone.get()
    return _("China time (UTC+8)") if zone is CHINA else _("the time of {zone}").format(zone=zone)
