"""What a poll's answer means for the journal. Pure: records in, lines out."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from engine.gateway.polls import Polled, PollError, PollErrorKind
from engine.journal.port import ReplyLine, ReportLine
from engine.language import _
from engine.tracking.optouts import OPT_OUT_WORDS, is_opt_out

_COUNTRY = re.compile(r"(?:\+|00)?86(?=1[0-9]{10}$)")

_STOPS = (PollErrorKind.ACCOUNT, PollErrorKind.FORBIDDEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An answer, ready for the journal. `said`: the gateway's errors; `problem`: what could not be read.

    `stop`: why this poller must not ask again.
    """

    reports: list[ReportLine]
    replies: list[ReplyLine]
    said: str = ""
    problem: str = ""
    stop: str = ""

    @property
    def records(self) -> int:
        """How many records it held."""
        return len(self.reports) + len(self.replies)

    @property
    def opted_out(self) -> list[str]:
        """Who asks for no more messages."""
        return [reply.mobile for reply in self.replies if reply.opts_out]


def tell(polled: Polled, *, complete: bool, opt_out_words: Collection[str] = OPT_OUT_WORDS) -> Told:
    """Turn records into lines; `complete` False: the answer was cut off."""
    serious = [error for error in polled.errors if error.kind is not PollErrorKind.NO_DATA]
    stops = [_words(error) for error in serious if error.kind in _STOPS]
    problems = [*polled.problems, *([] if complete else [_("the answer was cut off")])]
    return Told(
        reports=[
            ReportLine(r.task_id or "", plain_mobile(r.mobile), r.state, r.at, r.status, r.error_code)
            for r in polled.reports
        ],
        replies=[
            ReplyLine(
                mobile=plain_mobile(r.mobile),
                content=r.content,
                task_id=r.task_id,
                received_at=r.at,
                at_text=r.at_text,
                extno=r.extno,
                opts_out=is_opt_out(r.content, opt_out_words),
            )
            for r in polled.replies
        ],
        said="; ".join(map(_words, serious)),
        problem="; ".join(problems),
        stop="; ".join(stops),
    )


def plain_mobile(mobile: str) -> str:
    """A number as we write it in a request: without the country code that some gateways put before it."""
    return mobile if len(mobile) == 11 else _COUNTRY.sub("", mobile)


def _words(error: PollError) -> str:
    said = error.text or _("no reason given")
    return _("error {code}: {said}").format(code=error.code, said=said) if error.code is not None else said
