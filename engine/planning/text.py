"""The final text of a campaign: signature, opt-out, and whether the gateway can take it at all.

Source: gateway/protocol.md, Content and Length and billing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from engine.errors import PlanError
from engine.language import _
from engine.model import Message
from engine.planning.segments import segments, units

SignaturePosition = Literal["front", "end", "none"]

# Control characters (but the line feed) vanish or damage the request on their way; lone surrogates have no encoding at all.
_UNSENDABLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_APART = frozenset(" \u3000\n，。！？；：、…—～·,.!?;:|/~-(（[［")


class TooLong(PlanError):
    """A text is longer than the gateway takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What goes around a text, and what the gateway can take; see `compose`."""

    signature: str | None
    signature_position: SignaturePosition
    signature_required: bool
    opt_out: str | None
    max_units: int
    extra_units: int = 0
    charset: str = "utf-8"

    def around(self, text: str) -> Message:
        """The text as it goes on the wire. Raises PlanError as `compose`."""
        return compose(
            text,
            signature=self.signature,
            signature_position=self.signature_position,
            signature_required=self.signature_required,
            opt_out=self.opt_out,
            max_units=self.max_units,
            extra_units=self.extra_units,
            charset=self.charset,
        )

    def marked(self, text: str) -> str:
        """Signature, text and opt-out in their order; marks (U+0000) in the text stay where they are. Raises PlanError."""
        return _assembled(
            text,
            signature=self.signature,
            signature_position=self.signature_position,
            signature_required=self.signature_required,
            opt_out=self.opt_out,
            marks="\0",
        )


def compose(
    text: str,
    *,
    signature: str | None,
    signature_position: SignaturePosition,
    signature_required: bool,
    opt_out: str | None,
    max_units: int,
    extra_units: int = 0,
    charset: str = "utf-8",
) -> Message:
    """Put signature, text and opt-out in the profile's order, each exactly once, and count what they cost.

    `signature` with or without its 【】; "none": the channel adds it, so the text must not. `opt_out` is left away where the
    text ends with it, and has a comma before it where no other sign keeps it apart. `extra_units`: what the channel adds itself, counted in segments and limit. `max_units` in UTF-16 code
    units. Raises PlanError: empty, too long, a second or misplaced 【】, no signature, characters the gateway cannot take.
    """
    content = _assembled(
        text,
        signature=signature,
        signature_position=signature_position,
        signature_required=signature_required,
        opt_out=opt_out,
    )
    refuse_unencodable(content, charset)
    length = units(content)
    if length + extra_units > max_units:
        raise TooLong(_("the message is {too_long}").format(too_long=too_long(length, extra_units, max_units)))
    return Message(content=content, units=length, segments=segments(length + extra_units))


def too_long(length: int, extra_units: int, max_units: int) -> str:
    """How far a text is beyond the limit, in words."""
    added = _(" and {count} that the channel adds").format(count=extra_units) if extra_units else ""
    return _("too long: {length} units{added}, the limit is {max_units}").format(
        length=length, added=added, max_units=max_units
    )


def _assembled(
    text: str,
    *,
    signature: str | None,
    signature_position: SignaturePosition,
    signature_required: bool,
    opt_out: str | None,
    marks: str = "",
) -> str:
    """Signature, text and opt-out, each once and in its place. `marks`: characters that stand for something else."""
    body = text.replace("\r\n", "\n").strip()
    if not body:
        raise PlanError(_("the message has no text"))
    _refuse_unsendable(body + (signature or "") + (opt_out or ""), marks)
    sign, body = _parted(body, signature, signature_position)
    if not body:
        raise PlanError(_("the message has no text besides its signature {sign}").format(sign=sign))
    if not sign and signature_required and signature_position != "none":
        raise PlanError(
            _("the gateway wants a signature: give one with --signature, or begin the text with 【your brand】")
        )
    if opt_out and not body.endswith(opt_out):
        body += _between(body, opt_out) + opt_out
    return body + sign if signature_position == "end" else sign + body


def _between(body: str, opt_out: str) -> str:
    """What keeps the opt-out apart from the text: as marketing texts have it, "…到店，回T退订"; nothing where a sign does already."""
    if body[-1] in _APART or opt_out[0] in _APART:
        return ""
    return " " if body[-1].isascii() and body[-1] != "\0" and opt_out[0].isascii() else "，"


def _parted(body: str, signature: str | None, position: SignaturePosition) -> tuple[str, str]:
    """The signature in its brackets ("" for none) and the text without it."""
    given = _bracketed(signature) if signature else ""
    opening, closing = body.count("【"), body.count("】")
    if position == "none":
        if given or opening or closing:
            raise PlanError(
                _("this channel adds the signature itself: leave --signature and 【】 away, or it stands there twice")
            )
        return "", body
    if not opening and not closing:
        return given, body
    if opening != 1 or closing != 1 or body.index("】") < body.index("【"):
        raise PlanError(
            _(
                "the text has {opening} 【 and {closing} 】; one pair marks the signature, write other brackets as () or []"
            ).format(opening=opening, closing=closing)
        )
    own, rest = _split_off(body, position)
    if given and own != given:
        raise PlanError(
            _("the text carries the signature {own}, asked for was {given}: leave one of them away").format(
                own=own, given=given
            )
        )
    return _bracketed(own), rest


def _split_off(body: str, position: SignaturePosition) -> tuple[str, str]:
    begin, end = body.index("【"), body.index("】") + 1
    if position == "front" and begin == 0:
        return body[:end], body[end:].lstrip()
    if position == "end" and end == len(body):
        return body[begin:], body[:begin].rstrip()
    where = _("beginning") if position == "front" else _("end")
    raise PlanError(
        _("{sign} does not stand at the {where} of the text, where this gateway expects the signature").format(
            sign=body[begin:end], where=where
        )
    )


def _bracketed(signature: str) -> str:
    name = signature.strip().removeprefix("【").removesuffix("】").strip()
    if not name or "【" in name or "】" in name:
        raise PlanError(
            _("{signature!r} is no signature: give the brand, with or without one pair of 【】").format(
                signature=signature
            )
        )
    return f"【{name}】"


def _refuse_unsendable(text: str, marks: str) -> None:
    if (found := _UNSENDABLE.search(text if not marks else text.translate({ord(mark): " " for mark in marks}))) is None:
        return
    raise PlanError(
        _("the character U+{code:04X} at position {position} cannot be sent; remove it").format(
            code=ord(found[0]), position=found.start() + 1
        )
    )


def refuse_unencodable(content: str, charset: str) -> None:
    """Strictly: a replaced character would be a question mark on a million phones. Raises PlanError."""
    try:
        content.encode(charset)
    except UnicodeEncodeError as exc:
        sign = content[exc.start]
        raise PlanError(
            _(
                "{sign!r} (U+{code:04X}, position {position}) does not exist in {charset}, the charset of this gateway"
            ).format(sign=sign, code=ord(sign), position=exc.start + 1, charset=charset)
        ) from exc
