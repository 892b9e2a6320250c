"""The words of states, laws and kinds, as people see them. What machines read has the values themselves: `in_doubt`."""

from __future__ import annotations

import os

from engine.language import N_, _

# English shows the values; this marks them for the catalogue. A test compares them with the enumerations.
TERMS = (
    N_("accepted"),
    N_("balance"),
    N_("cancelled"),
    N_("claimed"),
    N_("conservation"),
    N_("covered"),
    N_("delivered"),
    N_("evidence"),
    N_("excluded"),
    N_("expired"),
    N_("finished"),
    N_("import"),
    N_("in doubt"),
    N_("in flight"),
    N_("intent first"),
    N_("interim"),
    N_("not sent"),
    N_("not taken"),
    N_("once"),
    N_("operator"),
    N_("opt outs"),
    N_("paused"),
    N_("planned"),
    N_("points"),
    N_("refused"),
    N_("reply"),
    N_("report"),
    N_("running"),
    N_("split"),
    N_("submitting"),
    N_("undelivered"),
    N_("unknown"),
    N_("unreported"),
)

# What the operating system says, where operators often meet it; anything else it says stays in English.
SYSTEM = (
    N_("Address already in use"),
    N_("Broken pipe"),
    N_("Connection refused"),
    N_("Connection reset by peer"),
    N_("Connection timed out"),
    N_("File exists"),
    N_("Is a directory"),
    N_("Network is unreachable"),
    N_("No route to host"),
    N_("No space left on device"),
    N_("No such file or directory"),
    N_("Not a directory"),
    N_("Operation not permitted"),
    N_("Permission denied"),
    N_("Read-only file system"),
    N_("Too many open files"),
)

_KINDS = {"report": N_("reports"), "reply": N_("replies")}


def kind_of(value: str) -> str:
    """A kind of polls in the plural."""
    return _(_KINDS[value])


def word_of(value: str) -> str:
    """A value of the contract in a word: in_doubt is "in doubt"."""
    return _(value.replace("_", " "))


def system_words(error: Exception) -> str:
    """What the operating system calls an error, by its number: asyncio writes addresses into the words. Else the error's own."""
    number = getattr(error, "errno", None)
    return _(os.strerror(number) if number and number > 0 else getattr(error, "strerror", None) or str(error))
