"""The bytes of an answer -> its text, by one rule. Pure. Source: gateway/protocol.md §13."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from engine.errors import BadAnswer
from engine.language import _

MAX_ANSWER_BYTES = 8 * 1024 * 1024  # 4,000 reports are about 1 MB
RAW_CHARACTERS = 4000  # how much of an answer is kept for people

# gb2312 and gbk are read as gb18030, which holds both: what is declared gb2312 is often GBK.
# Neither utf-16 (.NET declares it over UTF-8 bytes) nor iso-8859-1 (a web server's default) is believed without a BOM.
_CODECS = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "utf-8",
    "ascii": "utf-8",
    "gb2312": "gb18030",
    "gb_2312-80": "gb18030",
    "x-gbk": "gb18030",
    "gbk": "gb18030",
    "cp936": "gb18030",
    "gb18030": "gb18030",
    "big5": "big5",
}
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_DECLARED = re.compile(rb"""\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_DECLARATION = re.compile(r"<\?xml[^>]*\?>\s*")
_STRAY = " \t\r\n\ufeff"
_HTML = ("<!doctype html", "<html", "<head", "<body")


def answer_text(body: bytes, charset: str | None) -> str:
    """The text of an answer, without the space around it. Raises BadAnswer: empty, too long, no text, an HTML page."""
    text = decoded(_percent_decoded(_bounded(body)), charset)
    if text is None:
        raise BadAnswer(_("the answer is in no known encoding"), raw=shown(body.decode("utf-8", "replace")))
    text = text.strip(_STRAY)
    if not text:
        raise BadAnswer(_("the answer is empty"))
    if text[:20].lower().startswith(_HTML):
        raise BadAnswer(_("the answer is an HTML page"), raw=shown(text))
    return text


def lenient_text(body: bytes, charset: str | None) -> str:
    """The same for what can be read only once: bytes that no encoding explains are replaced, an empty answer is "".

    Raises BadAnswer: too long, an HTML page.
    """
    body = _percent_decoded(_bounded(body))
    if not body.strip():
        return ""
    text = _cut_short(body, charset) or decoded(body, charset)
    if text is None:
        text = body.decode(next(_candidates(body, charset))[1], "replace")
    text = text.strip(_STRAY)
    if text[:20].lower().startswith(_HTML):
        raise BadAnswer(_("the answer is an HTML page"), raw=shown(text))
    return text


def decoded(body: bytes, charset: str | None) -> str | None:
    """BOM, then declaration, then the HTTP charset, then strict UTF-8, then GB18030; None when none of them fits."""
    for skip, codec in _candidates(body, charset):
        try:
            return body[skip:].decode(codec)
        except UnicodeDecodeError:
            continue
    return None


def _cut_short(body: bytes, charset: str | None) -> str | None:
    """The text of UTF-8 that ends within a character: read as GB18030, all of it might become rubbish."""
    if next(_candidates(body, charset))[1] != "utf-8":
        return None
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as exc:
        return body[: exc.start].decode("utf-8") if exc.reason == "unexpected end of data" else None


def without_declaration(text: str) -> str:
    """The document alone: a decoded text must not state an encoding."""
    declaration = _DECLARATION.match(text)
    return text[declaration.end() :] if declaration else text


def shown(text: str) -> str:
    """As much of an answer as an error or an outcome keeps; NUL, which not every database holds, is replaced."""
    return text[:RAW_CHARACTERS].replace("\x00", "\ufffd")


def _candidates(body: bytes, charset: str | None) -> Iterator[tuple[int, str]]:
    """What the body may be encoded in, best first, with the length of its BOM. Never empty."""
    for bom, codec in _BOMS:
        if body.startswith(bom):
            yield len(bom), codec
    declared = _DECLARED.match(body)
    if declared and (codec := _CODECS.get(declared[1].decode().lower(), "")):
        yield 0, codec
    if charset and (codec := _CODECS.get(charset.strip(" \"'").lower(), "")):
        yield 0, codec
    yield 0, "utf-8"
    yield 0, "gb18030"


def _bounded(body: bytes) -> bytes:
    if len(body) > MAX_ANSWER_BYTES:
        raise BadAnswer(_("the answer is longer than {most} MB").format(most=MAX_ANSWER_BYTES // 1024 // 1024))
    return body


def _percent_decoded(body: bytes) -> bytes:
    """Decode a body that is percent-encoded as a whole, and only that: anything else would lose its + and %."""
    return unquote_to_bytes(body.replace(b"+", b" ")) if body[:16].lstrip()[:3].upper() == b"%3C" else body
