"""Answers as bytes: the layouts, the spellings and the pages that gateways of this family really send.

Source of every quirk: gateway/protocol.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from engine.simulator.settings import Fault, Layout, TimeFormat


class Shape(StrEnum):
    """How an answer is written."""

    XML = "xml"  # utf-8
    XML_GBK = "xml_gbk"  # declared gb2312, GBK bytes
    JSON_TEXTS = "json_texts"  # the names of the XML, every value a text (smsJson.aspx)
    JSON_NUMBERS = "json_numbers"  # PascalCase, numbers as numbers (rt=json)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One HTTP answer. `content_type` complete with its charset."""

    body: bytes
    status: int = 200
    content_type: str = "text/xml; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)


FAILURES = {
    Fault.FAILD_CREDENTIALS_EMPTY: "用户名或密码不能为空",
    Fault.FAILD_CREDENTIALS: "用户名或密码错误",
    Fault.FAILD_BALANCE: "对不起，您当前要发送的量大于您当前余额",
    Fault.FAILD_NO_MOBILES: "短信号码不能为空",
    Fault.FAILD_NO_CONTENT: "短信内容不能为空",
    Fault.FAILD_CONTENT: "包含非法字符：",
    Fault.FAILD_SQL: "发送内容包含sql注入字符",
    Fault.FAILD_SIGNATURE: "短信必须带【】格式签名",
    Fault.FAILD_EXTNO: "扩展子号只能是数字",
    Fault.FAILD_PARAMETER: "参数错误",
    Fault.FAILD_OPERATION: "操作失败",
    Fault.FAILD_OTHER: "其他错误",
    Fault.FAILD_OTHER_TAKEN: "其他错误",
    Fault.FAILD_UNKNOWN: "通道维护中，请稍后",
}
"""The documented words for each refusal, verbatim; the last is ours."""

# No document of this family has words for these two, so they are free text, as a client must expect.
TOO_MANY = "单次提交号码数量不能超过{limit}个"
TOO_FREQUENT = "提交过于频繁，请稍后再试"

DIRTY = "包含非法字符"
CLEAN = "未包含非法字符"

POLL_ERRORS = {
    1: "用户名或密码不能为空",
    2: "用户名或密码错误",
    3: "该用户不允许查看状态报告",
    4: "参数不正确",
    5: "没有记录",
    6: "其他错误",
}

PASCAL = {
    "returnstatus": "ReturnStatus",
    "message": "Message",
    "remainpoint": "RemainPoint",
    "taskID": "TaskID",
    "successCounts": "SuccessCounts",
    "payinfo": "PayInfo",
    "overage": "Overage",
    "sendTotal": "SendTotal",
}

WRITTEN = (TimeFormat.PADDED, TimeFormat.UNPADDED, TimeFormat.SLASHES)

Fields = dict[str, str | int]


def send_fields(*, remaining: int, task_id: int | str, count: int) -> Fields:
    """The children of an accepted send, in their order."""
    return {
        "returnstatus": "Success",
        "message": "ok",
        "remainpoint": remaining,
        "taskID": task_id,
        "successCounts": count,
    }


def failure_fields(message: str) -> Fields:
    """The children of a refused send. The 0 of `remainpoint` is not the balance."""
    return {"returnstatus": "Faild", "message": message, "remainpoint": 0, "taskID": 0, "successCounts": 0}


def overage_fields(*, prepaid: bool, remaining: int, send_total: int) -> Fields:
    """The children of a balance answer. `Sucess` is what servers really say here."""
    return {
        "returnstatus": "Sucess",
        "message": "",
        "payinfo": "预付费" if prepaid else "后付费",
        "overage": remaining,
        "sendTotal": send_total,
    }


def fields_reply(values: Fields, shape: Shape, layout: Layout) -> Reply:
    """A flat answer in the shape of the door it goes out of."""
    match shape:
        case Shape.JSON_TEXTS:
            return _json({name: str(value) for name, value in values.items()})
        case Shape.JSON_NUMBERS:
            return _json({PASCAL[name]: value for name, value in values.items()})
        case Shape.XML | Shape.XML_GBK:
            children = [f"<{name}>{escaped(str(value))}</{name}>" for name, value in values.items()]
            return xml_reply(children, shape, layout)


def _json(values: dict[str, str] | Fields) -> Reply:
    return Reply(
        body=json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode(),
        content_type="application/json; charset=utf-8",
    )


def xml_reply(children: Sequence[str], shape: Shape, layout: Layout) -> Reply:
    """A `<returnsms>` around ready-made children."""
    gbk = shape is Shape.XML_GBK
    encoding = "gb2312" if gbk else "utf-8"
    text = _laid_out(f'<?xml version="1.0" encoding="{encoding}" ?>', children, layout)
    body = text.encode("gbk" if gbk else "utf-8", "replace")
    if layout is Layout.BOM and not gbk:
        body = b"\xef\xbb\xbf" + body
    return Reply(body=body, content_type=f"text/xml; charset={encoding}")


def _laid_out(declaration: str, children: Iterable[str], layout: Layout) -> str:
    match layout:
        case Layout.SAMPLE | Layout.BOM | Layout.LEADING_CRLF:
            before = "\r\n" if layout is Layout.LEADING_CRLF else ""
            return (
                before + declaration + "<returnsms>" + "".join("\r\n " + child for child in children) + "</returnsms>"
            )
        case Layout.LF:
            return declaration + "<returnsms>" + "".join("\n " + child for child in children) + "</returnsms>"
        case Layout.ONE_LINE:
            return declaration + "<returnsms>" + "".join(children) + "</returnsms>"
        case Layout.INDENTED:
            lines = "".join("  " + child + "\r\n" for child in children)
            return declaration + "\r\n<returnsms>\r\n" + lines + "</returnsms>\r\n"


def escaped(text: str) -> str:
    """Text as XML content."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def poll_error(number: int, layout: Layout) -> Reply:
    """One of the errors of the two query URLs alone. There is no `returnstatus`."""
    return xml_reply([errorstatus(number)], Shape.XML, layout)


def errorstatus(number: int) -> str:
    """An error as it may also stand among records."""
    return f"<errorstatus><error>{number}</error><remark>{POLL_ERRORS[number]}</remark></errorstatus>"


class ReportStatus(StrEnum):
    """What a report says; the value is its errorcode."""

    DELIVERED = "DELIVRD"  # status 10
    FAILED = "UNDELIV"  # status 20
    INTERIM = "ACCEPTD"  # status 20 as well, and yet no failure


def statusbox(*, mobile: str, task_id: int | str, status: ReportStatus, word: bool, received: str) -> str:
    """One delivery report. The id is spelled in lower case here. `word`: the errorcode stands in the status too."""
    shown = status.value if word else 10 if status is ReportStatus.DELIVERED else 20
    return (
        f"<statusbox><mobile>{mobile}</mobile><taskid>{task_id}</taskid><status>{shown}</status>"
        f"<receivetime>{received}</receivetime><errorcode>{status.value}</errorcode><extno></extno></statusbox>"
    )


def callbox(*, mobile: str, task_id: int | str, content: str, received: str) -> str:
    """One uplink, its content as it is given. `task_id` is empty when the person never got a message from here."""
    return (
        f"<callbox><mobile>{mobile}</mobile><taskid>{task_id}</taskid><content>{content}</content>"
        f"<receivetime>{received}</receivetime><extno></extno></callbox>"
    )


def written_time(at: datetime, time_format: TimeFormat, pick: float) -> str:
    """A time as the three kinds of servers write it. `pick` in [0, 1) decides where they are mixed."""
    match time_format:
        case TimeFormat.MIXED:
            return written_time(at, WRITTEN[int(pick * len(WRITTEN))], pick)
        case TimeFormat.PADDED:
            return f"{at:%Y-%m-%d %H:%M:%S}"
        case TimeFormat.UNPADDED:
            return f"{at.year}-{at.month}-{at.day} {at:%H:%M:%S}"
        case TimeFormat.SLASHES:
            return f"{at.year}/{at.month}/{at.day} {at:%H:%M:%S}"


def html_page(status: int, title: str, text: str, **headers: str) -> Reply:
    """A page for people, which an application answer is not."""
    page = f"<!DOCTYPE html>\r\n<html>\r\n<head><title>{title}</title></head>\r\n<body>{text}</body>\r\n</html>\r\n"
    return Reply(body=page.encode(), status=status, content_type="text/html; charset=utf-8", headers=headers)


SERVER_ERROR = html_page(
    500,
    "运行时错误",
    "<h1>“/”应用程序中的服务器错误。<hr></h1><h2><i>运行时错误</i></h2>"
    "<b>说明: </b>服务器上出现应用程序错误。此应用程序的当前自定义错误设置禁止远程查看应用程序错误的详细信息。",
)
FORBIDDEN = html_page(403, "403 - 禁止访问: 访问被拒绝。", "<h1>服务器错误</h1><h2>403 - 禁止访问: 访问被拒绝。</h2>")
UNAVAILABLE = html_page(503, "Service Unavailable", "<h2>Service Unavailable</h2>", **{"Retry-After": "1"})
NOT_FOUND = html_page(404, "404 - 找不到文件或目录。", "<h1>服务器错误</h1><h2>404 - 找不到文件或目录。</h2>")
LOGIN_PAGE = html_page(200, "用户登录", '<form action="login.aspx" method="post"><input name="user"></form>')
REDIRECT = html_page(302, "Object moved", '<a href="/login.aspx">here</a>', Location="/login.aspx")
