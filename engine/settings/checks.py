"""What a single value must be. Each raises ValueError with what to write in its place."""

from __future__ import annotations

import ipaddress
import re
import shlex
from typing import Annotated
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, SecretStr, StringConstraints

_HOURS = re.compile(
    r"(?:[^0-9]+ )?(?:[01]?[0-9]|2[0-4])[:：][0-5][0-9]\s*[-–~至]\s*(?:[01]?[0-9]|2[0-4])[:：][0-5][0-9](?:[,，].+)?"
)


def no_boolean(value: object) -> object:
    """Refuse true and false where a number is meant; pydantic would read them as 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("a boolean")  # noqa: TRY004  pydantic turns only ValueError into a problem
    return value


def checked_base_url(text: str) -> str:
    """Check the gateway's address and bring it to one spelling, because the account's key is made from it."""
    parts = urlsplit(text.strip())
    port = parts.port  # raises ValueError above 65535
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("no http or https address")
    if "@" in parts.netloc or parts.query or parts.fragment or parts.path.lower().endswith(".aspx"):
        raise ValueError("more than an address")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return SplitResult(
        parts.scheme, host if port is None else f"{host}:{port}", parts.path.rstrip("/"), "", ""
    ).geturl()


def checked_queue_url(text: str) -> str:
    """Check that a queue's address is one and holds no password; what it means is the broker's business."""
    parts = urlsplit(text.strip())
    login = parts.netloc.rpartition("@")[0]
    if not parts.scheme or not parts.netloc or not parts.path.strip("/") or ":" in login:
        raise ValueError("no address, or one with a password")
    return text.strip()


def checked_proxy_url(text: str) -> str:
    """Check that a proxy's address is http://host:port and holds no password."""
    parts = urlsplit(text.strip())
    if text and (
        parts.scheme != "http" or not parts.port or "@" in parts.netloc or parts.path.strip("/") or parts.query
    ):
        raise ValueError("no proxy")
    return text.strip().rstrip("/")


def checked_web_url(secret: SecretStr) -> SecretStr:
    """Check that somebody can be told there."""
    parts = urlsplit(secret.get_secret_value())
    if secret.get_secret_value() and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise ValueError("no http or https address")
    return secret


def as_windows(value: object) -> object:
    """A variable holds several windows with semicolons between them, since a window may hold commas."""
    return [window.strip() for window in value.split(";") if window.strip()] if isinstance(value, str) else value


def known_window(text: str) -> str:
    """Check that it looks like hours of the day; what it means is the business of hours."""
    if not _HOURS.fullmatch(text.strip()):
        raise ValueError("no hours")
    return text.strip()


def known_timezone(name: str) -> str:
    """Check that there is such a zone."""
    if name != "Asia/Shanghai":
        try:
            ZoneInfo(name)
        except (KeyError, OSError) as exc:
            raise ValueError("no time zone") from exc
    return name


def checked_ip_address(text: str) -> str:
    return str(ipaddress.ip_address(text)) if text else ""


def as_words(value: object) -> object:
    """A variable holds a command as a shell line."""
    return shlex.split(value) if isinstance(value, str) else value


def as_list(value: object) -> object:
    """A variable holds several words with commas between them."""
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


Number = Annotated[float, BeforeValidator(no_boolean), Field(ge=0, allow_inf_nan=False)]

Count = Annotated[int, BeforeValidator(no_boolean)]

AccountName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]  # any of them fits in a variable's name
