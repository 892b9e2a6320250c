"""What one cell of the number column says: a mobile, several, or a reason why not. Source: gateway/protocol.md, Numbers.

The rule: trim, fold full-width forms (but not ², ① and their kin, which mean something else), drop separators and invisible characters, undo what spreadsheets did, strip one
country code or trunk zero; what remains must be 1[3-9] and nine more ASCII digits.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from engine.errors import BadRecipient
from engine.language import N_, _
from engine.model import Exclusion

MOBILE = re.compile(r"1[3-9][0-9]{9}")

# The usual ways to write one mobile, settled in one match. Whatever does not fit takes the long way below.
_USUAL = re.compile(r"[ \t']*(?:\+?86|0086|0)?[ -]?(1[3-9][0-9])[ -]?([0-9]{4})[ -]?([0-9]{4})(?:\.0+)?[ \t]*")
# The usual ways to write a landline, and nothing that a mobile, a date or a machine's number could be.
_USUAL_LANDLINE = re.compile(r"0(?:10|2[0-9]|[3-9][0-9]{2})-?[1-9][0-9]{6,7}")

# Dashes of every length, brackets, and the marks that spreadsheets put before a text.
_SEPARATORS = "-‐‑‒–—―−_()[]'`´‘’"
# Format characters (zero width, BOM, direction), controls, blanks and line separators.
_INVISIBLE = ("Cf", "Cc", "Zs", "Zl", "Zp")


class _Dropped(dict[int, str | None]):
    """A `str.translate` table that drops separators and invisible characters, and learns each character once."""

    def __missing__(self, code: int) -> str | None:
        sign = chr(code)
        dropped = sign in _SEPARATORS or unicodedata.category(sign) in _INVISIBLE
        return self.setdefault(code, None if dropped else sign)


_DROPPED = _Dropped()

_FORMULA = re.compile(r'="?([^"]*)"?')  # ="…" keeps a spreadsheet from turning the number into a float
_WHOLE_FLOAT = re.compile(r"(\+?[0-9]+)\.0+")
_DOTTED = re.compile(r"(\+?(?:86\.?)?1[0-9]{2})\.([0-9]{4})\.([0-9]{4})")
_SCIENTIFIC = re.compile(r"[' ]*([0-9]{1,3})(?:\.([0-9]+))?[eE]\+?([0-9]{1,2})")
_BETWEEN_NUMBERS = re.compile(r"[/\\、;,|\n]+")
_COMPLETE = re.compile(r"(?:\+?86|0086|0)?1[3-9][0-9]{9}")
_LANDLINE = re.compile(r"(?:\+?86|0086)?(?:0(?:10|2[0-9]|[3-9][0-9]{2})[1-9][0-9]{6,7}|[48]00[0-9]{7})")
_LANDLINE_ABROAD = re.compile(r"(?:\+|00)86(?:10|2[0-9]|[3-9][0-9]{2})[1-9][0-9]{6,7}")
_LOCAL_LINE = re.compile(r"[2-8][0-9]{6,7}")
_IOT = re.compile(r"(?:\+?86|0086)?(?:10[0-9]{11}|14[0-4][0-9]{10})")
_DATE = re.compile(r"(?:19|20)[0-9]{2}([-/.]?)(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12][0-9]|3[01])(?:[ T][0-9]{1,2}:.*)?")
_EXTENSION = re.compile(r"(?:转|ext\.?|x|#)[0-9]{1,6}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a cell, or one number of it, is not a recipient. `detail` is a sentence for the operator."""

    reason: Exclusion
    detail: str


EMPTY_CELL = Refusal(Exclusion.EMPTY, N_("the number cell is empty"))
MASKED = Refusal(Exclusion.INVALID, N_("the number is masked with asterisks; export the list with full numbers"))
LANDLINE = Refusal(Exclusion.LANDLINE, N_("a landline or service number, which cannot receive SMS"))
FOREIGN = Refusal(Exclusion.FOREIGN, N_("a country code other than +86"))
IOT = Refusal(Exclusion.IOT, N_("a 13-digit machine (IoT) number"))
DIGITS_LOST = Refusal(
    Exclusion.DIGITS_LOST,
    N_(
        "the spreadsheet rounded the number and digits are lost; format the column as text (or number without "
        "decimals) and export again"
    ),
)

DATE = Refusal(Exclusion.INVALID, N_("a date, not a number: is this the right column?"))

Verdict = str | Refusal


def normalise(cell: str) -> str:
    """The one mobile in `cell`, as 11 ASCII digits. Raises BadRecipient with the reason, also when there are several."""
    verdicts = examine(cell)
    if len(verdicts) > 1:
        raise BadRecipient(_("more than one number"))
    verdict = verdicts[0]
    if isinstance(verdict, Refusal):
        raise BadRecipient(_(verdict.detail))
    return verdict


def examine(cell: str) -> tuple[Verdict, ...]:
    """Every number in `cell`, in order: a mobile of 11 ASCII digits, or why it is none. Never empty."""
    if usual := _USUAL.fullmatch(cell):
        return ("".join(usual.groups()),)
    if _USUAL_LANDLINE.fullmatch(cell):
        return (LANDLINE,)
    text = (cell if cell.isascii() else _folded(cell)).strip()
    if len(text) <= 11 or _DATE.fullmatch(text):  # too short for two; a time is no second number
        return (_verdict(text),)
    return tuple(map(_verdict, _numbers_in(text)))


def _folded(cell: str) -> str:
    """Full-width forms as ASCII. NFKC would also make a digit of a footnote mark (1381234567² is not a mobile)."""
    if any(unicodedata.category(sign) == "No" for sign in cell):
        return "".join(
            sign if unicodedata.category(sign) == "No" else unicodedata.normalize("NFKC", sign) for sign in cell
        )
    return unicodedata.normalize("NFKC", cell)


def _numbers_in(text: str) -> list[str]:
    """Split a cell that holds several numbers; one that only looks so ("name/number") stays whole."""
    pieces = [piece for piece in _BETWEEN_NUMBERS.split(text) if piece.strip()]
    if len(pieces) > 1 and all(map(_looks_like_a_number, pieces)):
        return [number for piece in pieces for number in _spaced_numbers(piece)]
    return _spaced_numbers(pieces[0] if len(pieces) == 1 else text)


def _spaced_numbers(text: str) -> list[str]:
    """Blanks separate numbers only where a part is complete and the others are long; elsewhere they group the digits of one."""
    words = text.split()
    apart = any(map(_COMPLETE.fullmatch, words)) and all(map(_looks_like_a_number, words))
    return words if apart and len(words) > 1 else [text]


def _looks_like_a_number(piece: str) -> bool:
    if _SCIENTIFIC.fullmatch(piece.strip()):
        return True
    return sum(map(str.isdecimal, piece)) >= 7 and not any(map(str.isalpha, piece))


def _verdict(text: str) -> Verdict:
    """Judge one number, already folded by NFKC."""
    if _DATE.fullmatch(text):
        return DATE
    if scientific := _SCIENTIFIC.fullmatch(text):
        return _from_scientific(*scientific.groups(""))
    unwrapped = _unwrap(text) if "." in text or "=" in text else text
    digits = unwrapped.translate(_DROPPED)
    return digits if MOBILE.fullmatch(digits) else _without_prefix(digits) or _refusal(digits)


def _unwrap(text: str) -> str:
    """Undo what spreadsheets put around a number: ="…", a trailing .0, and dots that group its digits."""
    if formula := _FORMULA.fullmatch(text):
        text = formula[1]
    bare = text.translate(_DROPPED)
    if whole := _WHOLE_FLOAT.fullmatch(bare):
        return whole[1]
    # Other dots may be a decimal point in a wrong column: 1381234567.8 must not become a number.
    return "".join(dotted.groups()) if (dotted := _DOTTED.fullmatch(bare)) else text


def _from_scientific(whole: str, decimals: str, exponent: str) -> Verdict:
    """Java writes 1.3812345678E10 with every digit kept; Excel's 1.38E+10 lost some."""
    if len(decimals) != int(exponent):
        return DIGITS_LOST
    return _verdict(whole + decimals)


def _without_prefix(digits: str) -> str | None:
    """Strip one +86, 0086, 86 or trunk 0, only where a mobile remains."""
    for prefix in ("+86", "0086", "86", "0"):
        if digits.startswith(prefix) and MOBILE.fullmatch(digits, len(prefix)):
            return digits[len(prefix) :]
    return None


def _refusal(digits: str) -> Refusal:
    """Why `digits`, separators dropped, is no mobile. The order matters: the more particular reason first."""
    if not digits:
        return EMPTY_CELL
    if "*" in digits:
        return MASKED
    if (
        _LANDLINE.fullmatch(_EXTENSION.sub("", digits))
        or _LANDLINE_ABROAD.fullmatch(digits)
        or _LOCAL_LINE.fullmatch(digits)
    ):
        return LANDLINE
    if _IOT.fullmatch(digits):
        return IOT
    if _is_foreign(digits):
        return FOREIGN
    return Refusal(Exclusion.INVALID, _what_is_wrong(digits))


def _is_foreign(digits: str) -> bool:
    country = digits.removeprefix("+") if digits.startswith("+") else digits.removeprefix("00")
    return country != digits and not country.startswith("86") and country.isdecimal() and len(country) >= 8


def _what_is_wrong(digits: str) -> str:
    number = digits.removeprefix("+")
    if not (number.isascii() and number.isdecimal()):
        return _("characters that do not belong to a mobile number")
    if len(number) < 11:
        return _("too short: {count} digits, a mobile has 11").format(count=len(number))
    if len(number) > 11:
        return _("too long: {count} digits, a mobile has 11").format(count=len(number))
    return _("no mobile number begins with {prefix}").format(prefix=number[:2])
