"""Marketing or notice: what the law asks of a text depends on it. Source: gateway/protocol.md §17."""

from __future__ import annotations

import re

from engine.errors import PlanError
from engine.language import _
from engine.planning.wording import FilledText, OwnText, SameText, Wording

MARKETING, NOTICE = "marketing", "notice"

_WAY_OUT = re.compile(r"退订|拒收|回复?\s*(?:TD?|R|N)(?![A-Za-z])|(?:TD?|R|N)\s*退", re.IGNORECASE)


def has_way_out(text: str) -> bool:
    """Whether a text says how to get no more of them: 回T退订, 拒收请回复R, and the like."""
    return _WAY_OUT.search(text) is not None


def refuse_no_way_out(wording: Wording, kind: str, *, by_channel: bool) -> None:
    """Raises PlanError for a marketing text that does not say how to get no more, unless the channel adds that."""
    if kind != MARKETING or by_channel or has_way_out(_surely_said(wording)):
        return
    raise PlanError(
        _(
            "a marketing text must say how to get no more of them: add --opt-out 回T退订 (or [account] opt_out), or say "
            "--kind notice where it is none"
        )
    )


def _surely_said(wording: Wording) -> str:
    """What every row is told, whatever its cells hold."""
    match wording:
        case SameText():
            return wording.message.content
        case FilledText():
            return "\0".join(wording.literals)
        case OwnText():
            return wording.frame.opt_out or ""
