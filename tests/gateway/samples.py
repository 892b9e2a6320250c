"""Made-up logins, generated numbers and answers as the gateways write them. Source: gateway/protocol.md §5, §6."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from engine.gateway.wire import Credentials
from tests import numbers

CREDENTIALS = Credentials(userid="12", account="demo", password="p&ss+wörd 密%")
NOW = datetime(2026, 11, 3, 4, 5, 6, tzinfo=UTC)


def mobiles(count: int) -> str:
    """`count` different numbers, comma-joined as in a request."""
    return ",".join(numbers.mobiles(count))


def mobile(place: int = 0) -> str:
    return numbers.mobiles(place + 1)[place]


DECLARATION = '<?xml version="1.0" encoding="utf-8" ?>'


def send_answer(
    status: str = "Success",
    message: str = "ok",
    remain: str = "7863",
    task: str = "93390617",
    counts: str = "1",
    *,
    declaration: str = DECLARATION,
) -> str:
    """The layout of three independent samples: CRLF and one space before each child, the root closed on the last line."""
    return (
        f"{declaration}<returnsms>\r\n <returnstatus>{status}</returnstatus>\r\n <message>{message}</message>\r\n"
        f" <remainpoint>{remain}</remainpoint>\r\n <taskID>{task}</taskID>\r\n"
        f" <successCounts>{counts}</successCounts></returnsms>"
    )


def faild(message: str, *, task: str = "0", counts: str = "0") -> str:
    return send_answer("Faild", message, "0", task, counts)


def balance_answer(overage: str = "49995", *, status: str = "Sucess", message: str = "", total: str = "50000") -> str:
    return (
        f"{DECLARATION}<returnsms>\r\n <returnstatus>{status}</returnstatus>\r\n <message>{message}</message>\r\n"
        f" <payinfo>预付费</payinfo>\r\n <overage>{overage}</overage>\r\n <sendTotal>{total}</sendTotal></returnsms>"
    )


def statusbox(
    number: str, task: str = "93390617", status: str = "10", at: str = "2011-12-02 22:12:11", error: str = "DELIVRD"
) -> str:
    return (
        f"<statusbox><mobile>{number}</mobile><taskid>{task}</taskid><status>{status}</status>"
        f"<receivetime>{at}</receivetime><errorcode>{error}</errorcode><extno></extno></statusbox>"
    )


def callbox(number: str, content: str, task: str = "355531", at: str = "2013-9-17 17:38:08") -> str:
    return (
        f"<callbox><mobile>{number}</mobile><taskid>{task}</taskid>\r\n<content>{content}</content>"
        f"<receivetime>{at}</receivetime><extno></extno></callbox>"
    )


def errorstatus(code: str, remark: str) -> str:
    return f"<errorstatus><error>{code}</error><remark>{remark}</remark></errorstatus>"


def document(*boxes: str) -> bytes:
    return f"{DECLARATION}<returnsms>{''.join(boxes)}</returnsms>".encode()


def every_cut(body: bytes) -> Iterator[bytes]:
    """The body, cut off after every number of bytes but the last."""
    for length in range(len(body)):
        yield body[:length]
