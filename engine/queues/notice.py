"""What a queue brings: a Notice, read from JSON and checked against message.schema.json beside this file.

The checks are written by hand: they say what is wrong in words an operator finds in the dead letters. A test holds them against
the schema.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.language import _

LONGEST_BODY = 1_000_000  # bytes
MOST_NUMBERS = 10_000
_ID = re.compile(r"[!-~]{1,200}")
_KEYS = ("id", "mobile", "mobiles", "text", "template", "vars", "campaign")


class BadNotice(ValueError):
    """A message that can never be sent. Its text is the reason, and holds neither numbers nor what was to be said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One message of a queue: to these numbers, as they were written, this text. `variables`: None where it is no template."""

    notice_id: str
    numbers: tuple[str, ...] = field(repr=False)
    text: str = field(repr=False)
    variables: Mapping[str, str] | None = field(default=None, repr=False)
    campaign: str = ""


def read_notice(body: bytes) -> Notice:
    """Read one message. Raises BadNotice."""
    if len(body) > LONGEST_BODY:
        raise BadNotice(_("longer than {most:,} bytes").format(most=LONGEST_BODY))
    try:
        value = json.loads(body.decode("utf-8-sig"), object_pairs_hook=_object, parse_constant=_no_constant)
    except BadNotice:
        raise
    except UnicodeDecodeError as error:
        raise BadNotice(
            _("not UTF-8 (byte {byte})").format(byte=error.start + 1)
        ) from None  # the cause would carry the bytes
    except RecursionError:
        raise BadNotice(_("nested too deeply")) from None
    except ValueError as error:
        if not isinstance(error, json.JSONDecodeError):
            raise BadNotice(_("not JSON")) from None
        words = _("not JSON (line {line}, column {column})").format(line=error.lineno, column=error.colno)
        raise BadNotice(words) from None
    return checked(value)


def checked(value: Any) -> Notice:
    """The notice a JSON value is. Raises BadNotice."""
    if not isinstance(value, dict):
        raise BadNotice(_("not a JSON object"))
    if unknown := [key for key in value if key not in _KEYS]:
        raise BadNotice(_("unknown key {key!r}; known are {names}").format(key=unknown[0][:40], names=", ".join(_KEYS)))
    _exactly_one(value, "mobile", "mobiles")
    _exactly_one(value, "text", "template")
    if "vars" in value and "template" not in value:
        raise BadNotice(_("vars come with a template, and there is none"))
    return Notice(
        notice_id=_id(value),
        numbers=_numbers(value),
        text=_text(value, "text" if "text" in value else "template"),
        variables=_variables(value.get("vars", {})) if "template" in value else None,
        campaign=_text(value, "campaign") if "campaign" in value else "",
    )


def _exactly_one(value: dict[str, Any], one: str, other: str) -> None:
    if (one in value) == (other in value):
        raise BadNotice(_("{one} and {other}: exactly one of them is needed").format(one=one, other=other))


def _id(value: dict[str, Any]) -> str:
    if "id" not in value:
        raise BadNotice(_("id is missing"))
    found = _written(value["id"])
    if found is None or not _ID.fullmatch(found):
        raise BadNotice(_("id: must be a whole number, or text of 1 to 200 visible ASCII characters without blanks"))
    return found


def _numbers(value: dict[str, Any]) -> tuple[str, ...]:
    cells = [value["mobile"]] if "mobile" in value else value["mobiles"]
    if not isinstance(cells, list) or not 1 <= len(cells) <= MOST_NUMBERS:
        raise BadNotice(_("mobiles: must be a list of 1 to {most:,} numbers").format(most=MOST_NUMBERS))
    written = [_written(cell) for cell in cells]
    if None in written:
        raise BadNotice(_("mobile, mobiles: a number is text, or a whole number"))
    return tuple(number for number in written if number is not None)


def _text(value: dict[str, Any], key: str) -> str:
    text = value[key]
    if not isinstance(text, str) or not text:
        raise BadNotice(_("{key}: must be text, not empty").format(key=key))
    return _sound(text)


def _variables(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise BadNotice(_("vars: must be an object of names and values"))
    found = {name: _written(each) for name, each in value.items()}
    if None in found.values():
        raise BadNotice(_("vars: a value is text, or a whole number"))
    return {name: each for name, each in found.items() if each is not None}


def _written(value: Any) -> str | None:
    """Text as it stands, a whole number in digits; None for anything else. In JSON Schema 1.0 is a whole number too."""
    if isinstance(value, str):
        return _sound(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _sound(text: str) -> str:
    """JSON can spell half a character (\\ud83d), which nothing can store or send."""
    if any("\ud800" <= sign <= "\udfff" for sign in text):
        raise BadNotice(_("a text holds half a surrogate pair"))
    return text


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of a key that stands twice JSON would take the last one: a number that somebody wrote would be gone."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadNotice(_("a key stands twice in one object"))
    return found


def _no_constant(word: str) -> Any:
    raise BadNotice(_("not JSON ({word})").format(word=word))
