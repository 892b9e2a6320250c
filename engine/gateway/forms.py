"""The request side of the wire: what we know -> the bytes of a form. Pure.

Every value is percent-encoded once, in the profile's charset. Source: gateway/protocol.md §3, §4.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from engine.errors import PlanError, SettingsError
from engine.gateway.profile import AuthMode, Charset, Profile
from engine.language import _
from engine.records import record

CHINA = timezone(timedelta(hours=8), "China")
CONTENT_TYPE = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """One login. `userid` is the number of the enterprise; its account names may be Chinese."""

    userid: str
    account: str
    password: str = field(repr=False)


@record
class PreparedMessage:
    """One text, encoded and signed as far as possible, so that a batch costs one replace.

    The prefix holds the password and the text: neither is in the repr.
    """

    prefix: bytes = field(repr=False)
    signer: Signer | None = field(repr=False)

    def body(self, mobiles: str, *, now: datetime) -> bytes:
        """The form for one attempt. `mobiles` is comma-joined; `now` (aware) dates the signature of the v2 doors."""
        numbers = mobiles.replace(",", "%2C").encode("ascii")
        if self.signer is None:
            return self.prefix + numbers
        return b"%b%b&mobile=%b" % (self.prefix, self.signer.pairs(now), numbers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Signs for the v2 doors: md5(account + password + timestamp), afresh for every attempt. Source: protocol.md §3."""

    secret: bytes = field(repr=False)

    def pairs(self, now: datetime) -> bytes:
        """`timestamp=…&sign=…`. Raises ValueError when `now` has no zone: a wrong hour is a wrong signature."""
        if now.tzinfo is None:
            raise ValueError("a signature needs an aware time")
        timestamp = now.astimezone(CHINA).strftime("%Y%m%d%H%M%S").encode()
        # The protocol asks for MD5; nothing here relies on its strength.
        sign = hashlib.md5(self.secret + timestamp, usedforsecurity=False).hexdigest()
        return b"timestamp=%b&sign=%b" % (timestamp, sign.encode())


class SendForm:
    """The form of one account's sends, ready but for text and numbers. Raises SettingsError for what the charset cannot express."""

    def __init__(self, profile: Profile, credentials: Credentials) -> None:
        self._charset = profile.request_charset
        self._signer = _signer(profile, credentials)
        self._send_time_format = profile.send_time_format
        before = [("action", "send"), *_identity(profile, credentials)]
        after = []
        if profile.checkcontent:
            after.append(("checkcontent", "1"))
        if profile.extno:
            after.append(("extno", profile.extno))
        after.extend(_reply_form(profile))
        self._before = _form(before, self._charset) + b"&content="
        self._after = b"".join(b"&" + _form([pair], self._charset) for pair in after)
        self._after += b"&" if self._signer else b"&mobile="
        self._behinds: dict[datetime | None, bytes] = {}

    def prepare(self, content: str, *, scheduled_for: datetime | None = None) -> PreparedMessage:
        """One text, ready for any number of batches; the gateway is to send it at `scheduled_for` (aware), None: at once.

        Raises PlanError with the place of a character that the charset lacks, ValueError for a time without a zone.
        """
        text = _percent_encoded(_bytes("content", content, self._charset))
        return PreparedMessage(prefix=self._before + text + self._behind(scheduled_for), signer=self._signer)

    def _behind(self, scheduled_for: datetime | None) -> bytes:
        """What stands behind the text: the same for all of a campaign."""
        if scheduled_for not in self._behinds:
            send_time = _form([("sendTime", self._send_time(scheduled_for))], self._charset)
            self._behinds = {scheduled_for: b"&" + send_time + self._after}
        return self._behinds[scheduled_for]

    def _send_time(self, at: datetime | None) -> str:
        """China time, as the profile writes it. Source: gateway/protocol.md §4.3."""
        if at is None:
            return ""
        if at.tzinfo is None:
            raise ValueError("a schedule needs an aware time")
        return at.astimezone(CHINA).strftime(self._send_time_format)


def prepare(
    profile: Profile, credentials: Credentials, content: str, *, scheduled_for: datetime | None = None
) -> PreparedMessage:
    """One text, ready for any number of batches; see `SendForm.prepare`.

    Raises PlanError with the place of a character that the profile's charset lacks, SettingsError when a credential holds one.
    """
    return SendForm(profile, credentials).prepare(content, scheduled_for=scheduled_for)


def overage_body(profile: Profile, credentials: Credentials, *, now: datetime) -> bytes:
    """Ask for the balance. Source: gateway/protocol.md §6."""
    return _call(profile, credentials, [("action", "overage")], profile.request_charset, now)


def checkkeyword_body(profile: Profile, credentials: Credentials, content: str, *, now: datetime) -> bytes:
    """Ask whether a text has forbidden words. Raises PlanError like `prepare`. Source: gateway/protocol.md §7."""
    return _call(profile, credentials, [("action", "checkkeyword"), ("content", content)], profile.request_charset, now)


def reports_body(profile: Profile, credentials: Credentials, count: int, *, now: datetime) -> bytes:
    """Take up to `count` reports, which the gateway then forgets. Source: gateway/protocol.md §8."""
    return _call(profile, credentials, [("action", "query"), ("statusNum", str(count))], profile.poll_charset, now)


def replies_body(profile: Profile, credentials: Credentials, *, now: datetime) -> bytes:
    """Take the uplinks, which the gateway then forgets. Source: gateway/protocol.md §9."""
    return _call(profile, credentials, [("action", "query")], profile.poll_charset, now)


def _call(
    profile: Profile, credentials: Credentials, pairs: list[tuple[str, str]], charset: Charset, now: datetime
) -> bytes:
    action, *rest = pairs
    form = _form([action, *_identity(profile, credentials), *rest, *_reply_form(profile)], charset)
    signer = _signer(profile, credentials)
    return form if signer is None else form + b"&" + signer.pairs(now)


def _identity(profile: Profile, credentials: Credentials) -> list[tuple[str, str]]:
    match profile.auth:
        case AuthMode.V2:
            return [("userid", credentials.userid)]
        case AuthMode.PLAIN:
            password = credentials.password
        case AuthMode.MD5_UPPER:
            digest = hashlib.md5(credentials.password.encode(), usedforsecurity=False)
            password = digest.hexdigest().upper()
    return [("userid", credentials.userid), ("account", credentials.account), ("password", password)]


def _signer(profile: Profile, credentials: Credentials) -> Signer | None:
    if profile.auth is not AuthMode.V2:
        return None
    return Signer(secret=(credentials.account + credentials.password).encode())


def _reply_form(profile: Profile) -> list[tuple[str, str]]:
    return [("rt", "json")] if profile.rt_json else []


def _form(pairs: Sequence[tuple[str, str]], charset: Charset) -> bytes:
    return b"&".join(
        b"%b=%b" % (name.encode(), _percent_encoded(_bytes(name, value, charset))) for name, value in pairs
    )


# What RFC 3986 leaves as it is. Runs of the rest are encoded at once: urllib's quote walks byte by byte, and a personal campaign
# has a text for every request.
_ENCODED = re.compile(rb"[^A-Za-z0-9_.~-]+")


def _percent_encoded(value: bytes) -> bytes:
    return _ENCODED.sub(lambda run: b"%" + run[0].hex("%").upper().encode(), value)


def _bytes(name: str, value: str, charset: Charset) -> bytes:
    """One value in the charset. Strictly: gb18030's four-byte forms would be rubbish to the gateway (protocol.md §13)."""
    try:
        return value.encode(charset.value)
    except UnicodeEncodeError as exc:
        if name == "content":
            character = value[exc.start]
            raise PlanError(
                _("the text cannot be sent in {value}: character {position} is {shown} (U+{code:04X})").format(
                    value=charset.value, position=exc.start + 1, shown=_shown(character), code=ord(character)
                )
            ) from None
        # Neither the value nor the character: it may be the password.
        raise SettingsError(
            _("account: {name}: holds a character that {value} cannot express").format(name=name, value=charset.value)
        ) from None


def _shown(character: str) -> str:
    return f"「{character}」" if character.isprintable() else _("not printable")
