from __future__ import annotations

from hashlib import md5

import pytest

from engine.simulator import Simulator
from engine.simulator.calls import segments
from tests.numbers import mobile, mobiles
from tests.simulator.client import LOGIN, TEXT, Client

REFUSED = (
    '<?xml version="1.0" encoding="utf-8" ?><returnsms>\r\n <returnstatus>Faild</returnstatus>\r\n'
    " <message>{}</message>\r\n <remainpoint>0</remainpoint>\r\n <taskID>0</taskID>\r\n"
    " <successCounts>0</successCounts></returnsms>"
)


async def test_an_accepted_send_looks_like_the_pasted_real_ones(sim: Simulator, client: Client) -> None:
    got = await client.send(mobiles(3))

    assert got.status == 200
    assert got.headers["Content-Type"] == "text/xml; charset=utf-8"
    assert got.body == (
        b'<?xml version="1.0" encoding="utf-8" ?><returnsms>\r\n <returnstatus>Success</returnstatus>\r\n'
        b" <message>ok</message>\r\n <remainpoint>9999997</remainpoint>\r\n <taskID>93390617</taskID>\r\n"
        b" <successCounts>3</successCounts></returnsms>"
    )
    assert sim.truth()["mobiles"] == dict.fromkeys(mobiles(3), 1)


@pytest.mark.parametrize("settings", [{"points": 5, "max_recipients": 5, "require_signature": True}], indirect=True)
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"account": ""}, "用户名或密码不能为空"),
        ({"password": ""}, "用户名或密码不能为空"),
        ({"account": "Demo"}, "用户名或密码错误"),
        ({"password": "DEMO"}, "用户名或密码错误"),
        ({"password": md5(b"demo").hexdigest().lower()}, "用户名或密码错误"),
        ({"userid": "13"}, "用户名或密码错误"),
        ({"mobile": ""}, "短信号码不能为空"),
        ({"mobile": "12345,abc"}, "短信号码不能为空"),
        ({"mobile": "+86" + mobile()}, "短信号码不能为空"),
        ({"mobile": ";".join(mobiles(2))}, "短信号码不能为空"),
        ({"content": ""}, "短信内容不能为空"),
        ({"content": "您好"}, "短信必须带【】格式签名"),
        ({"extno": "1a"}, "扩展子号只能是数字"),
        ({"mobile": ",".join(mobiles(6))}, "单次提交号码数量不能超过5个"),
        ({"mobile": ",".join(mobiles(3)), "content": TEXT + "长" * 70}, "对不起，您当前要发送的量大于您当前余额"),
    ],
)
async def test_a_refusal_has_the_documented_words_and_takes_nothing(
    sim: Simulator, client: Client, wrong: dict[str, str], message: str
) -> None:
    got = await client.send(mobiles(1), **wrong)

    assert (got.status, got.text) == (200, REFUSED.format(message))
    truth = sim.truth()
    assert (truth["accepted_numbers"], truth["charges"], truth["balance"], truth["requests"]) == (0, 0, 5, 1)
    assert truth["sends"][0]["result"] not in ("accepted", "open")


async def test_the_password_may_be_its_upper_case_md5(client: Client) -> None:
    assert md5(b"abc123").hexdigest().upper() == "E99A18C428CB38D5F260853678922E03"

    got = await client.send(mobiles(1), password=md5(b"demo").hexdigest().upper())

    assert got.value("returnstatus") == "Success"


async def test_names_may_be_in_any_case_and_stand_in_the_address(client: Client) -> None:
    form = {name.upper(): value for name, value in LOGIN.items()}
    got = await client.call("/SMS.aspx", query="Action=Send&Mobile=" + mobile(), CONTENT=TEXT, **form)

    assert got.value("successCounts") == "1"


async def test_a_body_that_is_no_form_is_not_read(client: Client) -> None:
    got = await client.post("/sms.aspx?action=send", b"account=demo&password=demo", "text/xml")

    assert got.value("message") == "用户名或密码不能为空"


async def test_get_works_too(client: Client) -> None:
    got = await client.get(
        f"/sms.aspx?action=send&userid=12&account=demo&password=demo&content=hello&mobile={mobile()}"
    )

    assert got.value("returnstatus") == "Success"


async def test_plus_percent_and_ampersand_arrive_as_written(sim: Simulator, client: Client) -> None:
    text = "【某某】1 + 1 = 2 & 100%，%2C=，\r\n😀"

    await client.send(mobiles(1), content=text)

    assert list(sim.truth()["texts"].values()) == [text]


async def test_bad_numbers_are_dropped_and_only_the_count_says_so(sim: Simulator, client: Client) -> None:
    good = mobiles(4)

    got = await client.send([*good[:2], "12345", "", *good[2:], "1" * 11])

    assert (got.value("returnstatus"), got.value("successCounts")) == ("Success", "4")
    truth = sim.truth()
    assert (truth["mobiles"], truth["charges"]) == (dict.fromkeys(good, 1), 4)
    assert (truth["sends"][0]["numbers"], truth["sends"][0]["taken"]) == (6, 4)


async def test_a_number_twice_in_a_request_is_taken_twice(sim: Simulator, client: Client) -> None:
    one, two = mobiles(2)

    got = await client.send([one, two, one])

    assert got.value("successCounts") == "3"
    assert (sim.truth()["mobiles"], sim.truth()["twice"], sim.truth()["charges"]) == ({one: 2, two: 1}, 1, 3)


@pytest.mark.parametrize("settings", [{"drop_duplicates": True}], indirect=True)
async def test_a_number_twice_in_a_request_counts_once_where_the_gateway_is_kind(
    sim: Simulator, client: Client
) -> None:
    one, two = mobiles(2)

    got = await client.send([one, two, one])

    assert got.value("successCounts") == "2"
    assert (sim.truth()["mobiles"], sim.truth()["twice"], sim.truth()["charges"]) == ({one: 1, two: 1}, 0, 2)


@pytest.mark.parametrize(
    ("units", "parts"), [(1, 1), (70, 1), (71, 2), (134, 2), (135, 3), (150, 3), (201, 3), (202, 4), (600, 9)]
)
def test_segments_are_70_or_67_units(units: int, parts: int) -> None:
    assert segments("字" * units) == parts


def test_an_emoji_is_two_units() -> None:
    assert (segments("😀" * 35), segments("😀" * 35 + "!")) == (1, 2)


@pytest.mark.parametrize("settings", [{"price": 3, "points": 100}], indirect=True)
async def test_segments_numbers_and_price_make_the_charge(sim: Simulator, client: Client) -> None:
    got = await client.send(mobiles(5), content="字" * 71)

    assert got.value("remainpoint") == str(100 - 5 * 2 * 3)
    assert sim.truth()["sends"][0]["charge"] == 30


@pytest.mark.parametrize("settings", [{"points": 2, "prepaid": False}], indirect=True)
async def test_a_postpaid_account_goes_below_zero(client: Client) -> None:
    got = await client.send(mobiles(6))

    assert (got.value("returnstatus"), got.value("remainpoint")) == ("Success", "-4")
    assert (await client.overage()).value("payinfo") == "后付费"


@pytest.mark.parametrize("settings", [{"points": 3}], indirect=True)
async def test_exactly_the_balance_can_be_sent(client: Client) -> None:
    assert (await client.send(mobiles(3))).value("remainpoint") == "0"
    assert (await client.send(mobiles(1))).value("returnstatus") == "Faild"


@pytest.mark.parametrize("settings", [{"forbidden": ("发票",), "sql_fragments": ("--",)}], indirect=True)
@pytest.mark.parametrize(
    ("content", "check", "message"),
    [
        ("【某某】代开发票", "1", "包含非法字符："),
        ("【某某】代开发票", "0", "ok"),
        ("【某某】您好", "1", "ok"),
        ("【某某】a--b", "0", "发送内容包含sql注入字符"),
    ],
)
async def test_words_are_checked_when_asked_for(client: Client, content: str, check: str, message: str) -> None:
    got = await client.send(mobiles(1), content=content, checkcontent=check)

    assert got.value("message") == message


@pytest.mark.parametrize("settings", [{"max_body_bytes": 1000}], indirect=True)
async def test_a_body_above_the_limit_is_413(sim: Simulator, client: Client) -> None:
    got = await client.send(mobiles(100))

    assert (got.status, sim.truth()["accepted_numbers"]) == (413, 0)
