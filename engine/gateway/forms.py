"""The request side of the wire: what we know -> the bytes of a form. Pure.

Every value is percent-encoded once, in the profile's charset. Source: gateway/protocol.md §3, §4.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from urllib.parse import quote

from engine.errors import PlanError, SettingsError
from engine.gateway.profile import AuthMode, Charset, Profile

CHINA = timezone(timedelta(hours=8), "China")
CONTENT_TYPE = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """One login. `userid` is the number of the enterprise; its account names may be Chinese."""

    userid: str
    account: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
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


def prepare(profile: Profile, credentials: Credentials, content: str) -> PreparedMessage:
    """One text, ready for any number of batches.

    Raises PlanError with the place of a character that the profile's charset lacks, SettingsError when a credential holds one.
    """
    pairs = [("action", "send"), *_identity(profile, credentials), ("content", content), ("sendTime", "")]
    if profile.checkcontent:
        pairs.append(("checkcontent", "1"))
    if profile.extno:
        pairs.append(("extno", profile.extno))
    pairs.extend(_reply_form(profile))
    signer = _signer(profile, credentials)
    last = b"&" if signer else b"&mobile="
    return PreparedMessage(prefix=_form(pairs, profile.request_charset) + last, signer=signer)


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
    return "&".join(f"{name}={_encoded(name, value, charset)}" for name, value in pairs).encode("ascii")


def _encoded(name: str, value: str, charset: Charset) -> str:
    """One value, percent-encoded. Strictly: gb18030's four-byte forms would be rubbish to the gateway (protocol.md §13)."""
    try:
        return quote(value, safe="", encoding=charset.value, errors="strict")
    except UnicodeEncodeError as exc:
        if name == "content":
            character = value[exc.start]
            raise PlanError(
                f"the text cannot be sent in {charset.value}: character {exc.start + 1} is"
                f" {_shown(character)} (U+{ord(character):04X})"
            ) from None
        # Neither the value nor the character: it may be the password.
        raise SettingsError(f"account: {name}: holds a character that {charset.value} cannot express") from None


def _shown(character: str) -> str:
    return f"「{character}」" if character.isprintable() else "not printable"
