"""What the gateway's failure texts mean. Pure. Source: gateway/protocol.md §5.4."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from enum import StrEnum

from engine.gateway.profile import FailureTexts
from engine.language import _, spoken
from engine.model import RefusalKind

QUOTED_CHARACTERS = 300  # a failure text is a sentence; a page would bury the reason


class Failure(StrEnum):
    """What a failure text is about."""

    IN_DOUBT = "in_doubt"  # the gateway failed, perhaps after it had taken the numbers
    ACCOUNT = "account"  # credentials or permission
    BALANCE = "balance"  # the points do not reach
    CONTENT = "content"  # this text
    REQUEST = "request"  # this request: numbers, parameters
    TOO_FREQUENT = "too_frequent"  # nothing was taken; come back later
    UNKNOWN = "unknown"  # a text nobody knows


# Copies of the product differ in punctuation and width, so a characteristic part is enough.
KNOWN: tuple[tuple[Failure, str, str], ...] = (
    (Failure.IN_DOUBT, "其他错误", "an error in the gateway's database, perhaps after the numbers were taken"),
    (Failure.ACCOUNT, "用户名或密码不能为空", "user name or password is empty"),
    (Failure.ACCOUNT, "用户名或密码错误", "user name or password is wrong"),
    (Failure.ACCOUNT, "用户名错误", "user name is wrong"),
    (Failure.BALANCE, "大于您当前余额", "more than the balance allows"),
    (Failure.BALANCE, "余额不足", "the balance does not reach"),
    (Failure.CONTENT, "包含非法字符", "forbidden words"),
    (Failure.CONTENT, "包含sql注入字符", "characters that look like an SQL injection"),
    (Failure.CONTENT, "短信必须带【】格式签名", "the signature in 【】 is missing"),
    (Failure.REQUEST, "短信号码不能为空", "no numbers"),
    (Failure.REQUEST, "短信内容不能为空", "no text"),
    (Failure.REQUEST, "扩展子号只能是数字", "extno takes digits only"),
    (Failure.REQUEST, "参数错误", "wrong parameters"),
    (Failure.REQUEST, "参数不正确", "wrong parameters"),
    (Failure.REQUEST, "content解析错误", "the text could not be decoded"),
)


def normalised(text: str) -> str:
    """One spelling for comparing: full and half width, case and outer space do not matter."""
    return unicodedata.normalize("NFKC", text).strip().casefold()


_NORMALISED = tuple((failure, normalised(part), english) for failure, part, english in KNOWN)


def failure_of(message: str, own: FailureTexts) -> Failure:
    """What a failure text means: doubt first, then the vendor's own texts, then the known ones.

    Doubt goes first because everything else lets the engine act; an own text cannot make a doubtful one harmless.
    """
    text = normalised(message)
    if _holds(text, own.in_doubt) or any(part in text for kind, part, _ in _NORMALISED if kind is Failure.IN_DOUBT):
        return Failure.IN_DOUBT
    for failure, parts in (
        (Failure.ACCOUNT, own.account),
        (Failure.BALANCE, own.balance),
        (Failure.CONTENT, own.content),
        (Failure.REQUEST, own.request),
        (Failure.TOO_FREQUENT, own.too_frequent),
    ):
        if _holds(text, parts):
            return failure
    return next((kind for kind, part, _ in _NORMALISED if part in text), Failure.UNKNOWN)


def quoted(message: str) -> str:
    """The gateway's words for people: verbatim in 「」, and for who reads English in English where they are known."""
    words = message.strip()[:QUOTED_CHARACTERS]
    if not words:
        return _("no text")
    text = normalised(words)
    english = next((english for __, part, english in _NORMALISED if part in text), None)
    return f"「{words}」 ({english})" if english and spoken() == "en" else f"「{words}」"


def refusal_kind(failure: Failure) -> RefusalKind:
    """The same for who has to stop. What is no refusal by itself counts as an unknown one."""
    match failure:
        case Failure.ACCOUNT:
            return RefusalKind.ACCOUNT
        case Failure.BALANCE:
            return RefusalKind.BALANCE
        case Failure.CONTENT:
            return RefusalKind.CONTENT
        case Failure.REQUEST:
            return RefusalKind.REQUEST
        case Failure.UNKNOWN | Failure.TOO_FREQUENT | Failure.IN_DOUBT:
            return RefusalKind.UNKNOWN


def _holds(text: str, parts: Iterable[str]) -> bool:
    return any(normalised(part) in text for part in parts)
