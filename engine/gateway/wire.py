"""The wire: bytes <-> typed values, without any input or output. The only place that imports lxml.

The request side is in forms.py, the records of a poll are in polls.py; both are offered here too. Every reader takes the
body as it came and the charset of its Content-Type, and raises BadAnswer, with the raw text and why, for what cannot be
placed. XML and both JSON shapes are told apart by their first character. Source: gateway/protocol.md §5-§10, §13.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from lxml import etree

from engine.errors import BadAnswer, Refused
from engine.gateway.decoding import MAX_ANSWER_BYTES, answer_text, lenient_text, shown, without_declaration
from engine.gateway.failures import Failure, failure_of, normalised, quoted, refusal_kind
from engine.gateway.forms import (
    CHINA,
    CONTENT_TYPE,
    Credentials,
    PreparedMessage,
    SendForm,
    checkkeyword_body,
    overage_body,
    prepare,
    replies_body,
    reports_body,
)
from engine.gateway.polls import (
    COUNT,
    NO_TASK,
    Box,
    Polled,
    PollError,
    PollErrorKind,
    Reply,
    Report,
    ReportState,
    report_of,
    sorted_out,
)
from engine.gateway.profile import OverageMeaning, Profile
from engine.language import _
from engine.model import Balance, RefusalKind
from engine.records import record

__all__ = [
    "CHINA",
    "CONTENT_TYPE",
    "CallRefused",
    "Credentials",
    "KeywordAnswer",
    "KeywordVerdict",
    "PollError",
    "PollErrorKind",
    "Polled",
    "PreparedMessage",
    "Reply",
    "Report",
    "ReportState",
    "SendAnswer",
    "SendForm",
    "checkkeyword_body",
    "overage_body",
    "prepare",
    "read_balance",
    "read_keywords",
    "read_replies",
    "read_reports",
    "read_send",
    "replies_body",
    "reports_body",
]

ROOT = "returnsms"
SUCCESS_WORDS = frozenset({"success", "sucess"})  # protocol.md §6: the server really says Sucess
FAILURE_WORDS = frozenset({"faild", "failed", "fail"})  # protocol.md §5.2: it really says Faild


class CallRefused(Refused):
    """The gateway said no to a balance or keyword call. `kind` says what it is about."""

    def __init__(self, problem: str, *, kind: RefusalKind, raw: str) -> None:
        self.kind = kind
        super().__init__(problem, raw=raw)


@record
class SendAnswer:
    """A complete answer to a send. Whether it means that the batch was taken is for outcomes.py to say.

    `task_id` is None for "0" and "". `remaining` (points) is None on failure, where the gateway writes 0, and where the
    profile says that it means nothing. `notes` say what stood there and could not be used.
    """

    success: bool
    message: str
    task_id: str | None
    success_counts: int | None
    remaining: Decimal | None
    raw: str
    notes: tuple[str, ...] = ()


class KeywordVerdict(StrEnum):
    """What the keyword check says about a text."""

    CLEAN = "clean"
    FORBIDDEN = "forbidden"
    UNKNOWN = "unknown"  # the vendor does not offer the check, or answers in words nobody knows


@dataclass(frozen=True, slots=True, kw_only=True)
class KeywordAnswer:
    """The verdict and the gateway's words, which may hold the words it found."""

    verdict: KeywordVerdict
    message: str
    raw: str


# --- send, overage, checkkeyword: strict ----------------------------------------------------------------------------------


# The answer that nearly every request gets, in the layout of the samples (protocol.md §5.1), and in ASCII: the same text in
# every encoding an answer may have. lxml would say the same of it, at five times the price.
_PLAIN_SUCCESS = re.compile(
    (
        rb"""_<\?xml version=["']1\.0["'] encoding=["'](?i:utf-8|gb2312|gbk)["'] ?\?>_<returnsms>_"""
        rb"<returnstatus>(?i:success)</returnstatus>_<message>(?P<message>[A-Za-z]{0,40})</message>_"
        rb"<remainpoint>(?P<remaining>-?[0-9]{1,15})</remainpoint>_<taskID>(?P<task>[1-9][0-9]{0,39})</taskID>_"
        rb"<successCounts>(?P<count>[0-9]{1,9})</successCounts>_</returnsms>_"
    ).replace(b"_", rb"[ \t\r\n]*")  # the space that XML knows
)
_PLAIN_BYTES = 1_000  # longer than any of them


def read_send(body: bytes, charset: str | None, profile: Profile) -> SendAnswer:
    """The answer to a send. Raises BadAnswer: not complete, no known status word, values that contradict each other."""
    plain = _PLAIN_SUCCESS.fullmatch(body) if len(body) <= _PLAIN_BYTES else None
    return _read_any_send(body, charset, profile) if plain is None else _plain_success(plain, profile)


def _plain_success(found: re.Match[bytes], profile: Profile) -> SendAnswer:
    message, remaining, task_id, count = found.group("message", "remaining", "task", "count")
    return SendAnswer(
        success=True,
        message=message.decode("ascii"),
        task_id=task_id.decode("ascii"),
        success_counts=int(count),
        remaining=Decimal(remaining.decode("ascii")) if profile.remainpoint_meaningful else None,
        raw=found[0].strip().decode("ascii"),
    )


def _read_any_send(body: bytes, charset: str | None, profile: Profile) -> SendAnswer:
    """Any answer, in any layout, encoding and language."""
    answer = _Answer.read(body, charset)
    success = answer.success()
    task_id = answer.task_id()
    count, count_note = answer.count("successcounts", required=not success)
    remaining, remaining_note = answer.points("remainpoint") if success else (None, None)
    return SendAnswer(
        success=success,
        message=answer.fields.get("message", ""),
        task_id=task_id,
        success_counts=count,
        remaining=remaining if profile.remainpoint_meaningful else None,
        raw=shown(answer.text),
        notes=tuple(note for note in (count_note, remaining_note) if note),
    )


def read_balance(body: bytes, charset: str | None, profile: Profile, *, at: datetime) -> Balance:
    """The answer to overage, read at `at`. Raises CallRefused, BadAnswer (also when the number is missing)."""
    answer = _Answer.read(body, charset)
    if not answer.success():
        raise answer.refused(profile)
    overage, note = answer.points("overage")
    if overage is None:
        raise answer.bad(note or _("the answer has no overage"))
    send_total, __ = answer.points("sendtotal")
    payinfo = answer.fields.get("payinfo", "")
    return Balance(
        at=at,
        payinfo=payinfo,
        prepaid=True if "预付" in payinfo else False if "后付" in payinfo else None,
        remaining=_remaining(overage, send_total, profile),
        send_total=send_total,
        raw=shown(answer.text),
    )


def _remaining(overage: Decimal, send_total: Decimal | None, profile: Profile) -> Decimal | None:
    match profile.overage_means:
        case OverageMeaning.REMAINING:
            return overage
        case OverageMeaning.SENT:
            return None if send_total is None else send_total - overage


_FORBIDDEN = "包含非法字符"
_NEGATIONS = ("不", "没", "没有", "无")


def read_keywords(body: bytes, charset: str | None, profile: Profile) -> KeywordAnswer:
    """The answer to checkkeyword. Raises CallRefused for credentials, BadAnswer when there are no words at all."""
    answer = _Answer.read(body, charset)
    message = answer.fields.get("message")
    if message is None:
        raise answer.bad(_("the answer has no message"))
    if failure_of(message, profile.failure_texts) is Failure.ACCOUNT:
        raise answer.refused(profile)
    return KeywordAnswer(verdict=_verdict(normalised(message)), message=message, raw=shown(answer.text))


def _verdict(message: str) -> KeywordVerdict:
    """The trap of protocol.md §7: the words for "found" are a part of the words for "not found"."""
    before, found, _ = message.partition(_FORBIDDEN)
    if not found:
        return KeywordVerdict.UNKNOWN
    if before.endswith("未"):
        return KeywordVerdict.CLEAN
    return KeywordVerdict.UNKNOWN if before.endswith(_NEGATIONS) else KeywordVerdict.FORBIDDEN


_TASK_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.:-]{0,63}")
_POINTS = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True)
class _Answer:
    """A complete document of one level: the text, and its values by lower-case name."""

    text: str
    fields: Mapping[str, str]

    @classmethod
    def read(cls, body: bytes, charset: str | None) -> _Answer:
        text = answer_text(body, charset)
        try:
            return cls(text, _fields(text))
        except BadAnswer as bad:
            raise BadAnswer(bad.problem, raw=shown(text)) from bad

    def bad(self, problem: str) -> BadAnswer:
        return BadAnswer(problem, raw=shown(self.text))

    def refused(self, profile: Profile) -> CallRefused:
        message = self.fields.get("message", "")
        kind = refusal_kind(failure_of(message, profile.failure_texts))
        said = _("the gateway refused: {words}").format(words=quoted(message))
        if kind is RefusalKind.ACCOUNT:
            said += _("; check userid, account and the password of the settings")
        return CallRefused(said, kind=kind, raw=shown(self.text))

    def success(self) -> bool:
        word = self.fields.get("returnstatus")
        if word is None:
            raise self.bad(_("the answer has no status"))
        if word.lower() in SUCCESS_WORDS:
            return True
        if word.lower() in FAILURE_WORDS:
            return False
        raise self.bad(_("the answer's status is {words}").format(words=quoted(word)))

    def task_id(self) -> str | None:
        value = self.fields.get("taskid", "")
        if NO_TASK.fullmatch(value):
            return None
        if not _TASK_ID.fullmatch(value):
            raise self.bad(_("the answer's task id is {words}").format(words=quoted(value)))
        return value

    def count(self, name: str, *, required: bool) -> tuple[int | None, str | None]:
        """A number of recipients, and a note when it cannot be read; `required`: then it is a BadAnswer."""
        value = self.fields.get(name, "")
        if not value:
            return None, None
        if COUNT.fullmatch(value):
            return int(value), None
        if required:
            raise self.bad(_("{name} is {words}").format(name=name, words=quoted(value)))
        return None, _("{name} is {words}, no number").format(name=name, words=quoted(value))

    def points(self, name: str) -> tuple[Decimal | None, str | None]:
        """Points, which may be negative and have decimals, and a note when they cannot be read."""
        value = self.fields.get(name, "")
        if not value:
            return None, None
        return (
            (Decimal(value), None)
            if _POINTS.fullmatch(value)
            else (None, _("{name} is {words}, no number").format(name=name, words=quoted(value)))
        )


def _fields(text: str) -> Mapping[str, str]:
    if text[0] == "<":
        root = _document(text)
        if _name(root) != ROOT:
            raise BadAnswer(_("the answer is <{found}>, not <{wanted}>").format(found=_name(root)[:40], wanted=ROOT))
        return _values(root)
    if text[0] == "{":
        return _json_fields(text)
    raise BadAnswer(_("the answer is neither XML nor JSON"))


# --- XML and JSON ---------------------------------------------------------------------------------------------------------

# No entities, no network, no DTD: protocol.md §13. lxml locks a parser while it is in use, so one serves every thread.
_STRICT = etree.XMLParser(
    resolve_entities=False, no_network=True, huge_tree=False, load_dtd=False, remove_comments=True, remove_pis=True
)
_RECOVERING = etree.XMLParser(
    recover=True,
    resolve_entities=False,
    no_network=True,
    huge_tree=False,
    load_dtd=False,
    remove_comments=True,
    remove_pis=True,
)
_SCALARS = frozenset(
    {"returnstatus", "message", "remainpoint", "taskid", "successcounts", "payinfo", "overage", "sendtotal"}
)
_DTD = re.compile(r"<!(?:doctype|entity)", re.IGNORECASE)


def _document(text: str) -> etree._Element:
    """The root of a well-formed document; a cut one is none. Raises BadAnswer."""
    if "<!" in text and _DTD.search(text):
        raise BadAnswer(_("the answer declares a document type or entities"))
    try:
        return etree.fromstring(without_declaration(text), _STRICT)
    except (etree.XMLSyntaxError, ValueError) as exc:  # ValueError: a character that XML has not
        raise BadAnswer(_("the answer is no complete XML: {problem}").format(problem=getattr(exc, "msg", exc))) from exc


def _name(element: etree._Element) -> str:
    """`{namespace}TaskID` -> `taskid`: spelling differs by vendor."""
    tag = element.tag
    return tag.rpartition("}")[2].lower() if isinstance(tag, str) else ""


def _values(element: etree._Element) -> dict[str, str]:
    """The children's texts by lower-case name, in any order. Raises BadAnswer when one name has two values."""
    values: dict[str, str] = {}
    for child in element:
        value = (child.text or "").strip() if len(child) == 0 else "".join(child.itertext()).strip()
        name = _name(child)
        if values.setdefault(name, value) != value:
            raise BadAnswer(_("the answer has two values for {name}").format(name=name[:40]))
    return values


def _json_object(text: str) -> dict[str, object]:
    """A JSON object by lower-case names, its numbers as they are written, null as "". Raises BadAnswer."""
    try:
        value: object = json.loads(text, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=_pairs)
    except (ValueError, RecursionError) as exc:
        raise BadAnswer(_("the answer is no complete JSON")) from exc
    assert isinstance(value, dict)  # it begins with {
    return value


def _json_fields(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in _json_object(text).items():
        if isinstance(value, str):
            fields[name] = value
        elif name in _SCALARS:
            raise BadAnswer(_("{name} is neither a text nor a number").format(name=name))
    return fields


def _pairs(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    values: dict[str, object] = {}
    for name, value in pairs:
        plain = _without_surrogates(value).strip() if isinstance(value, str) else "" if value is None else value
        if values.setdefault(name.lower(), plain) != plain:
            raise BadAnswer(_("the answer has two values for {name}").format(name=name[:40]))
    return values


def _without_surrogates(text: str) -> str:
    r"""JSON may write half a character ("\ud83d"), which no database takes."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


# --- reports and replies: whatever can be saved -----------------------------------------------------------------------------

_BOX_NAMES = ("statusbox", "callbox", "errorstatus")
_FIELD_NAMES = ("mobile", "taskid", "status", "receivetime", "errorcode", "extno", "content", "error", "remark")
_OPENING = re.compile(rf"<({'|'.join(_BOX_NAMES)})\b[^>]*>", re.IGNORECASE)
_CLOSING = {name: re.compile(rf"</{name}\s*>", re.IGNORECASE) for name in (*_BOX_NAMES, *_FIELD_NAMES)}
_FIELD = {name: re.compile(rf"<{name}(?:\s[^>]*)?>", re.IGNORECASE) for name in _FIELD_NAMES}
_CDATA = re.compile(r"\s*<!\[CDATA\[(.*)\]\]>\s*", re.DOTALL)


def read_reports(body: bytes, charset: str | None, profile: Profile) -> Polled:
    """The answer of the reports' door. Raises BadAnswer only when there is no record in it and no sign of "nothing new"."""
    return _plain_reports(body) or _polled(body, charset, profile)


# Nearly every answer of that door: whole, in ASCII, nothing but reports, each in the layout of the samples (protocol.md §8).
# lxml would say the same of it, at twenty times the price.
_S = r"[ \t\r\n]*+"  # the space that XML knows
_PLAIN_REPORT = re.compile(
    r"<statusbox>_<mobile>(\+?[0-9]{1,20})</mobile>_<taskid>([0-9A-Za-z_.:-]{0,64})</taskid>_"
    r"<status>([0-9A-Za-z_:-]{1,40})</status>_<receivetime>((?:[0-9][0-9/:.-]*+(?: [0-9:.]++)?)?)</receivetime>_"
    r"<errorcode>([0-9A-Za-z_:.-]{0,40})</errorcode>_<extno>([0-9]{0,30})</extno>_</statusbox>".replace("_<", f"{_S}<")
    + _S
)
_PLAIN_HEAD = re.compile(
    rf"""{_S}<\?xml version=["']1\.0["'] encoding=["'](?i:utf-8|gb2312|gbk)["'] ?\?>{_S}<returnsms>{_S}"""
)
_PLAIN_TAIL = re.compile(rf"</returnsms>{_S}")
_VALUES = 6  # of a report


def _plain_reports(body: bytes) -> Polled | None:
    """None where anything is not as usual."""
    if not body.isascii() or len(body) > MAX_ANSWER_BYTES:
        return None
    head, *parts = _PLAIN_REPORT.split(body.decode("ascii"))
    if not parts or not _PLAIN_HEAD.fullmatch(head) or not _PLAIN_TAIL.fullmatch(parts.pop()):
        return None
    step = _VALUES + 1
    if any(parts[_VALUES::step]):  # something else stands between two reports
        return None
    return Polled(reports=tuple(map(report_of, *(parts[at::step] for at in range(_VALUES)))))


def read_replies(body: bytes, charset: str | None, profile: Profile) -> Polled:
    """The answer of the replies' door, read like that of the reports' door: each may hold what belongs to the other."""
    return _polled(body, charset, profile)


def _polled(body: bytes, charset: str | None, profile: Profile) -> Polled:
    text = lenient_text(body, charset)
    if not text:
        return Polled()  # protocol.md §8: an empty body says "nothing new"
    if text[0] == "{":
        return sorted_out(_json_boxes(text), profile)
    try:
        root = _document(text)
    except BadAnswer as bad:
        boxes = _broken_boxes(text)
        if not boxes:
            raise BadAnswer(bad.problem, raw=shown(text)) from bad
        return sorted_out(boxes, profile, damage=bad.problem)
    return sorted_out(_whole_boxes(root, text), profile)


def _whole_boxes(root: etree._Element, text: str) -> list[Box]:
    boxes = list(_boxes_below(root))
    if boxes:
        return boxes
    if _name(root) != ROOT:
        raise BadAnswer(
            _("the answer is <{found}>, not <{wanted}>").format(found=_name(root)[:40], wanted=ROOT), raw=shown(text)
        )
    return _general_error(_first_values(root))


def _boxes_below(root: etree._Element) -> Iterator[Box]:
    """The outermost records: one within another was written by a person into a reply, and is a part of its text."""
    for element in root:
        name = _name(element)
        if name in _BOX_NAMES:
            yield name, _first_values(element)
        else:
            yield from _boxes_below(element)


def _first_values(element: etree._Element) -> dict[str, str]:
    """The children's texts; the first of a name counts, because a person may have written the second."""
    values: dict[str, str] = {}
    for child in element:
        values.setdefault(_name(child), "".join(child.itertext()).strip())
    return values


def _json_boxes(text: str) -> list[Box]:
    """Records in JSON: their shape was never seen, so one object and a list of objects are both taken."""
    try:
        top = _json_object(text)
    except BadAnswer as bad:
        raise BadAnswer(bad.problem, raw=shown(text)) from bad
    boxes: list[Box] = []
    for name in _BOX_NAMES:
        value = top.get(name, [])
        records = value if isinstance(value, list) else [value]
        boxes += [
            (name, {key: text for key, text in record.items() if isinstance(text, str)})
            for record in records
            if isinstance(record, dict)
        ]
    if boxes:
        return boxes
    if top and not top.keys() & {*_BOX_NAMES, "returnstatus", "message"}:
        raise BadAnswer(_("the JSON answer holds nothing known"), raw=shown(text))
    return _general_error({key: value for key, value in top.items() if isinstance(value, str)})


def _general_error(fields: Mapping[str, str]) -> list[Box]:
    """An answer without records: nothing new, or an error in the form of the other calls."""
    word, message = fields.get("returnstatus", "").lower(), fields.get("message", "")
    if word in SUCCESS_WORDS or not (word or message):
        return []
    return [("errorstatus", {"remark": message or word})]


def _broken_boxes(text: str) -> list[Box]:
    """The records of a document that is cut or not well-formed, each read by itself. Linear in the text's length."""
    openings = list(_OPENING.finditer(text))
    ends = [*(opening.start() for opening in openings[1:]), len(text)]
    boxes: list[Box] = []
    for opening, end in zip(openings, ends, strict=False):  # no openings, no boxes
        name = opening[1].lower()
        inner = text[opening.end() : end]
        closing = _CLOSING[name].search(inner)
        boxes.append((name, _broken_values(name, inner[: closing.start()] if closing else inner)))
    return boxes


def _broken_values(name: str, inner: str) -> Mapping[str, str]:
    """One record: as XML if it is, else field by field (which keeps a raw & or <), else what lxml can recover."""
    source = f"<{name}>{inner}</{name}>"
    try:
        return _first_values(_document(source))
    except BadAnswer:
        found = {field: value for field in _FIELD_NAMES if (value := _cut_out(field, inner)) is not None}
    if "mobile" in found or "error" in found or _DTD.search(source):
        return found
    try:
        element = etree.fromstring(source, _RECOVERING)
    except (etree.XMLSyntaxError, ValueError):
        return found
    return found if element is None else _first_values(element) | found


def _cut_out(field: str, inner: str) -> str | None:
    """The text between a field's tags, None unless both are there: a cut number is no number."""
    opening = _FIELD[field].search(inner)
    closing = _CLOSING[field].search(inner, opening.end()) if opening else None
    if opening is None or closing is None:
        return None
    value = inner[opening.end() : closing.start()]
    cdata = _CDATA.fullmatch(value)
    return (cdata[1] if cdata else html.unescape(value)).replace("\x00", "\ufffd").strip()
