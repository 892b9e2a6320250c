"""A notice in the words of whoever gets it. Pure.

The group robots of 企业微信 take text of at most 2,048 bytes, those of 钉钉 a title and Markdown, and with 加签 a signature in
the address. Both answer HTTP 200 with an errcode of their own, 0 when the message stands in the group.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from engine.language import _
from engine.notify.notice import Notice

WECOM_BYTES = 2048
_TOO_MANY = frozenset({-1, 45009, 130101})  # busy, or more than twenty messages a minute: again later


def plain(notice: Notice) -> dict[str, Any]:
    """For a program or an address of one's own."""
    return notice.as_json()


def wecom(notice: Notice) -> dict[str, Any]:
    """For a group robot of 企业微信. Text: also members who read the group in 微信 see it."""
    content = notice.text.encode()[:WECOM_BYTES].decode("utf-8", "ignore")
    return {"msgtype": "text", "text": {"content": content}}


def dingtalk(notice: Notice) -> dict[str, Any]:
    """For a group robot of 钉钉. The title is what a telephone shows."""
    lines = [f"**{notice.title}**", *notice.lines]
    return {"msgtype": "markdown", "markdown": {"title": notice.title, "text": "\n\n".join(lines)}}


def signed(url: str, secret: str, *, at_ms: int) -> str:
    """The address for one message to a robot with 加签. `at_ms`: now, since 1970; the robot takes it for an hour."""
    told = hmac.new(secret.encode(), f"{at_ms}\n{secret}".encode(), hashlib.sha256).digest()
    parts = urlsplit(url)
    added = urlencode({"timestamp": at_ms, "sign": base64.b64encode(told).decode("ascii")})
    return urlunsplit(parts._replace(query="&".join(filter(None, (parts.query, added)))))


def robot_problem(body: bytes) -> tuple[str, bool]:
    """What a robot's answer complains of, "" where it took the message; and whether it may take it later."""
    try:
        said = json.loads(body)
        code = int(said["errcode"])
    except (ValueError, KeyError, TypeError):
        return _("its answer is not that of a group robot: is the address right?"), False
    if code == 0:
        return "", False
    return f"errcode {code}: {str(said.get('errmsg', ''))[:120]}", code in _TOO_MANY
