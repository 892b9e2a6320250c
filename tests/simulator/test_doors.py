from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from hashlib import md5
from typing import Any

import pytest

from engine.simulator import Layout, Simulator
from engine.simulator.calls import DOORS, Gateway
from engine.simulator.settings import SimulatorSettings
from tests.numbers import mobile, mobiles
from tests.simulator.client import LOGIN, TEXT, Client


def signed(account: str = "demo", password: str = "demo", late: timedelta = timedelta(0)) -> dict[str, str]:
    china = datetime.now(UTC) + timedelta(hours=8) - late
    timestamp = f"{china:%Y%m%d%H%M%S}"
    return {
        "userid": "12",
        "timestamp": timestamp,
        "sign": md5((account + password + timestamp).encode()).hexdigest(),
    }


async def test_the_gbk_door_reads_and_writes_gbk(sim: Simulator, client: Client) -> None:
    got = await client.send(mobiles(2), path="/smsGBK.aspx", charset="gbk", content="【某某】朱镕基您好")

    assert got.headers["Content-Type"] == "text/xml; charset=gb2312"
    assert got.body.startswith(b'<?xml version="1.0" encoding="gb2312" ?><returnsms>\r\n <returnstatus>Success<')
    assert list(sim.truth()["texts"].values()) == ["【某某】朱镕基您好"]


async def test_the_gbk_door_says_no_in_gbk(client: Client) -> None:
    got = await client.send([], path="/smsGBK.aspx", charset="gbk")

    assert "<message>短信号码不能为空</message>".encode("gbk") in got.body


async def test_utf8_at_the_gbk_door_arrives_spoiled(sim: Simulator, client: Client) -> None:
    await client.send(mobiles(1), path="/smsGBK.aspx")

    assert list(sim.truth()["texts"].values()) != [TEXT]


async def test_the_signed_doors_want_a_fresh_signature_and_no_password(client: Client) -> None:
    form = {"action": "send", "mobile": mobile(), "content": TEXT}

    for path, status in (("/v2sms.aspx", "Success"), ("/v2smsGBK.aspx", "Success"), ("/sms.aspx", "Faild")):
        charset = "gbk" if "GBK" in path else "utf-8"
        got = await client.call(path, charset=charset, **form, **signed())
        assert f"<returnstatus>{status}</returnstatus>".encode() in got.body, path
    got = await client.call("/v2sms.aspx", **form, **LOGIN)
    assert got.value("message") == "用户名或密码不能为空"


@pytest.mark.parametrize(
    "wrong",
    [
        {"sign": "0" * 32},
        {"sign": signed()["sign"].upper()},
        {"timestamp": "yesterday"},
        {"userid": "13"},
        {"password": "Demo"},
        {"late": timedelta(minutes=6)},
        {"late": -timedelta(minutes=6)},
        {"late": timedelta(hours=8)},
    ],
)
async def test_a_wrong_or_stale_signature_is_refused(client: Client, wrong: dict[str, Any]) -> None:
    # Signed here: a signature made when the tests were collected is older by the time it is used.
    form = signed(**wrong) if wrong.keys() <= {"password", "late"} else {**signed(), **wrong}
    got = await client.call("/v2sms.aspx", **{"action": "overage", **form})

    assert (got.value("returnstatus"), got.value("message")) == ("Faild", "用户名或密码错误")


def test_the_documented_signature_is_accepted_in_its_own_time_only() -> None:
    asked = {
        "action": "overage",
        "userid": "12",
        "timestamp": "20120701231212",
        "sign": "5cc68982f55ac74348e3d819f868fbe1",
    }
    settings = SimulatorSettings(account="test", password="mima")
    then = datetime(2012, 7, 1, 15, 12, 12, tzinfo=UTC).timestamp()

    answers = {
        late: b"Sucess"
        in Gateway(settings, wall=lambda now=then + late: now, monotonic=float).answer(DOORS["/v2sms.aspx"], asked).body
        for late in (-301, -300, 0, 300, 301)
    }

    assert answers == {-301: False, -300: True, 0: True, 300: True, 301: False}


@pytest.mark.parametrize("settings", [{"account": "test", "password": "mima", "sign_tolerance_s": 0.0}], indirect=True)
async def test_a_gateway_may_not_check_how_fresh_a_signature_is(client: Client) -> None:
    got = await client.call(
        "/v2statusApi.aspx",
        action="query", userid="12", timestamp="20120701231212", sign="5cc68982f55ac74348e3d819f868fbe1",
    )  # fmt: skip

    assert got.text == '<?xml version="1.0" encoding="utf-8" ?><returnsms></returnsms>'


async def test_json_with_texts(client: Client) -> None:
    good = await client.send(mobiles(2), path="/smsJson.aspx")
    bad = await client.send([], path="/smsJson.aspx")
    overage = await client.call("/smsJson.aspx", action="overage", **LOGIN)

    assert good.headers["Content-Type"] == "application/json; charset=utf-8"
    assert json.loads(good.body) == {
        "returnstatus": "Success", "message": "ok", "remainpoint": "9999998", "taskID": "93390617", "successCounts": "2",
    }  # fmt: skip
    assert json.loads(bad.body) == {
        "returnstatus": "Faild", "message": "短信号码不能为空", "remainpoint": "0", "taskID": "0", "successCounts": "0",
    }  # fmt: skip
    assert json.loads(overage.body) == {
        "returnstatus": "Sucess", "message": "", "payinfo": "预付费", "overage": "9999998", "sendTotal": "10000000",
    }  # fmt: skip


@pytest.mark.parametrize("path", ["/sms.aspx", "/v2sms.aspx"])
async def test_json_with_numbers(client: Client, path: str) -> None:
    login = signed() if path.startswith("/v2") else LOGIN
    good = await client.call(path, action="send", mobile=mobile(), content=TEXT, rt="json", **login)
    bad = await client.call(path, action="send", mobile="", content=TEXT, rt="json", **login)

    assert json.loads(good.body) == {
        "ReturnStatus": "Success", "Message": "ok", "RemainPoint": 9999999, "TaskID": 93390617, "SuccessCounts": 1,
    }  # fmt: skip
    assert json.loads(bad.body) == {
        "ReturnStatus": "Faild", "Message": "短信号码不能为空", "RemainPoint": 0, "TaskID": 0, "SuccessCounts": 0,
    }  # fmt: skip


async def test_overage_says_sucess(sim: Simulator, client: Client) -> None:
    await client.send(mobiles(5))
    sim.top_up(100)
    sim.spend(7)

    assert (await client.overage()).body.decode() == (
        '<?xml version="1.0" encoding="utf-8" ?><returnsms>\r\n <returnstatus>Sucess</returnstatus>\r\n'
        " <message></message>\r\n <payinfo>预付费</payinfo>\r\n <overage>10000088</overage>\r\n"
        " <sendTotal>10000100</sendTotal></returnsms>"
    )


async def test_overage_refuses_with_the_fields_of_a_send(client: Client) -> None:
    got = await client.call("/sms.aspx", **{"action": "overage", **LOGIN, "password": "no"})

    assert (got.value("message"), got.values("payinfo"), got.value("taskID")) == ("用户名或密码错误", [], "0")


@pytest.mark.parametrize("settings", [{"balance_lag_s": 3600.0}], indirect=True)
async def test_overage_may_lag_behind(client: Client) -> None:
    assert (await client.send(mobiles(5))).value("remainpoint") == "9999995"
    assert (await client.overage()).value("overage") == "10000000"


@pytest.mark.parametrize("settings", [{"remainpoint_lag_s": 3600.0}], indirect=True)
async def test_remainpoint_may_lag_behind_by_itself(client: Client) -> None:
    for start in (0, 5):
        assert (await client.send(mobiles(10)[start : start + 5])).value("remainpoint") == "10000000"
    assert (await client.overage()).value("overage") == "9999990"


@pytest.mark.parametrize("settings", [{"forbidden": ("发票",)}], indirect=True)
@pytest.mark.parametrize(
    ("content", "password", "message"),
    [
        ("代开发票", "demo", "包含非法字符"),
        ("您好", "demo", "未包含非法字符"),
        ("您好", "", "用户名或密码不能为空"),
        ("您好", "no", "用户名或密码错误"),
    ],
)
async def test_checkkeyword_answers_with_a_message_alone(
    client: Client, content: str, password: str, message: str
) -> None:
    got = await client.call(
        "/sms.aspx", **{"action": "checkkeyword", **LOGIN, "password": password, "content": content}
    )

    assert got.text == (
        f'<?xml version="1.0" encoding="utf-8" ?><returnsms>\r\n <message>{message}</message></returnsms>'
    )


@pytest.mark.parametrize(
    ("layout", "before", "between", "after"),
    [
        (Layout.LF, b"", b"\n ", b""),
        (Layout.ONE_LINE, b"", b"", b""),
        (Layout.LEADING_CRLF, b"\r\n", b"\r\n ", b""),
        (Layout.BOM, b"\xef\xbb\xbf", b"\r\n ", b""),
    ],
)
async def test_layouts(
    sim: Simulator, client: Client, layout: Layout, before: bytes, between: bytes, after: bytes
) -> None:
    sim.change({"layout": layout.value})

    got = await client.overage()

    assert got.body.startswith(before + b"<?xml")
    assert b" ?><returnsms>" + between + b"<returnstatus>" in got.body
    assert got.body.endswith(b"</returnsms>" + after)


async def test_the_indented_layout(sim: Simulator, client: Client) -> None:
    sim.change({"layout": "indented"})

    assert (await client.overage()).body.split(b"\r\n")[1:3] == [
        b"<returnsms>",
        b"  <returnstatus>Sucess</returnstatus>",
    ]


async def test_paths_in_any_case_and_with_a_doubled_slash(client: Client) -> None:
    for path in ("/SMS.ASPX", "//sms.aspx"):
        assert (await client.call(path, action="overage", **LOGIN)).value("returnstatus") == "Sucess"


async def test_other_paths_are_a_404_page(sim: Simulator, client: Client) -> None:
    got = await client.send(mobiles(1), path="/sendmms.aspx")

    assert (got.status, got.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert sim.truth()["accepted_numbers"] == 0


async def test_an_unknown_action_is_refused(client: Client) -> None:
    got = await client.call("/sms.aspx", action="changespwd", **LOGIN)

    assert (got.value("returnstatus"), got.value("message")) == ("Faild", "参数错误")
