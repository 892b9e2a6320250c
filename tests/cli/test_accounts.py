"""Several accounts in one settings file: each with its pace, price, way and password; and what they cost."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.simulator import Simulator, SimulatorSettings
from tests.cli.desk import PASSWORD, Desk, ended
from tests.gateway.proxies import Proxy, certified, proxying
from tests.gateway.samples import balance_answer, send_answer
from tests.gateway.sockets import Conversation, http, serving

WORDS = ("--batch-size", "10", "--requests-per-second", "0", "--json")
NORTH = {"XINSHI_ACCOUNTS__NORTH__PASSWORD": "north-secret"}


def north(url: str, more: str = "") -> str:
    return f'[accounts.north]\nurl = "{url}"\nuserid = "34"\naccount = "north"\n{more}\n'


async def test_each_account_sends_with_its_own_login_and_says_whose_it_is(desk: Desk) -> None:
    async with Simulator(SimulatorSettings(userid="34", account="north", password="north-secret", points=700)) as other:
        desk.configure(north(other.url, "price_yuan_per_point = 0.1"), account="price_yuan_per_point = 0.045")
        desk.list(20)
        desk.list(20, seed=2, name="north.csv")
        mine = await desk.run(*desk.order("--campaign", "mine", *WORDS), environ=NORTH)
        order = desk.order("--campaign", "theirs", "--account", "north", *WORDS, name="north.csv")
        theirs = await desk.run(*order, environ=NORTH)
        assert (mine.code, mine.json["account"], mine.json["yuan"]) == (
            0,
            "default",
            {"estimated": 0.9, "charged": 0.9},
        )
        assert (theirs.code, theirs.json["account"], theirs.json["yuan"]["charged"]) == (0, "north", 2)
        assert (desk.truth["accepted_numbers"], other.truth()["accepted_numbers"]) == (20, 20)

        page = await desk.run("status", environ=NORTH)
        assert [line.split()[:2] for line in page.output.splitlines()] == [
            ["campaign", "account"],
            ["mine", "default"],
            ["theirs", "north"],
        ]
        shown = await desk.run("status", "theirs", "--account", "north", environ=NORTH)
        assert "account      north" in shown.output
        assert "2.00 yuan" in shown.output


async def test_a_login_with_two_names_is_called_by_the_first_on_every_page(desk: Desk) -> None:
    desk.configure(f'[accounts.again]\nurl = "{desk.sim.url}"\nuserid = "12"\naccount = "demo"\n')
    (number,) = desk.list(1)
    assert (await desk.run(*desk.order("--campaign", "spring"))).code == 0
    assert (await desk.run("optouts", "add", number)).code == 0

    assert "for the account default" in (await desk.run("why", number)).output
    assert "account      default" in (await desk.run("status", "spring")).output


async def test_all_balances_at_once(desk: Desk) -> None:
    async with Simulator(SimulatorSettings(userid="34", account="north", password="north-secret", points=700)) as other:
        desk.configure(north(other.url))
        both = await desk.run("balance", "--all", "--json", environ=NORTH)
        assert both.code == 0
        assert [(each["account"], each["remaining"]) for each in both.json] == [("default", 5000), ("north", 700)]
        one = await desk.run("balance", "--all")  # no password for the other one
    assert one.code == 2
    assert "5,000" in one.output
    assert "accounts.north: no password" in one.output


async def test_a_preview_names_the_cost(desk: Desk) -> None:
    desk.configure(account="price_yuan_per_point = 0.045")
    desk.list(20)
    page = await desk.run("plan", "list.csv", "--text", "【测试】春季")
    assert "0.90 yuan" in page.output
    told = await desk.run("plan", "list.csv", "--text", "【测试】春季", "--json")
    assert (told.json["account"], told.json["yuan"]) == ("default", 0.9)


async def test_two_accounts_send_at_the_same_time_from_two_journals(desk: Desk) -> None:
    slow = SimulatorSettings(userid="34", account="north", password="north-secret", latency_s=0.3)
    async with Simulator(slow) as other:
        desk.configure(north(other.url))
        desk.sim.change({"latency_s": 0.3})
        numbers = desk.list(20)
        second = ("--journal", str(desk.folder / "second.db"), "--account", "north")
        running = [
            await desk.start(*desk.order("--campaign", "a", *WORDS), environ=NORTH),
            await desk.start(*desk.order("--campaign", "b", *WORDS, *second), environ=NORTH),
        ]
        assert [end.code for end in await asyncio.gather(*map(ended, running))] == [0, 0]
        assert other.truth()["mobiles"] == desk.truth["mobiles"] == dict.fromkeys(numbers, 1)


# ── the way to the gateway ───────────────────────────────────────────────────────────────────────────────────────────


async def test_a_campaign_goes_through_a_proxy_with_a_login(desk: Desk) -> None:
    async with proxying(Proxy()) as proxy:
        desk.configure(account=f'proxy = "{proxy.url}"\nproxy_user = "vendor"')
        numbers = desk.list(20)
        environ = {"XINSHI_ACCOUNT__PROXY_PASSWORD": "proxy-geheim"}
        sent = await desk.run(*desk.order(*WORDS, "-vv"), environ=environ)
        assert sent.code == 0
        assert "through" in (await desk.run("check", environ=environ)).output
    desk.check_once(numbers)
    assert proxy.passed_on == len(proxy.heads)
    assert all(b"Proxy-Authorization: Basic " in head for head in proxy.heads)
    assert "proxy-geheim" not in sent.output + sent.errors


async def test_a_proxy_that_refuses_the_login_pauses_with_what_to_mend(desk: Desk) -> None:
    async with proxying(Proxy()) as proxy:
        desk.configure(account=f'proxy = "{proxy.url}"')
        desk.list(20)
        assert (await desk.run(*desk.order("--limit", "10", "--campaign", "spring", *WORDS))).code == 75
        proxy.refusal = http("", "407 Proxy Authentication Required")
        end = await desk.run("run", "spring", "--wait", "--json")
        page = await desk.run("status", "spring")
    assert (end.code, end.json["reasons"]) == (75, ["configuration"])
    assert end.json["recipients"] | {"accepted": 10, "planned": 10} == end.json["recipients"]
    assert "proxy_user" in page.output


@pytest.mark.parametrize("settings", [{"unreported": 1.0}], indirect=True)
async def test_a_proxy_that_loses_the_answer_leaves_a_doubt_and_sends_nothing_twice(desk: Desk) -> None:
    async with proxying(Proxy()) as proxy:
        desk.configure(account=f'proxy = "{proxy.url}"')
        numbers = desk.list(10)
        proxy.drops_answers = True
        end = await desk.run(*desk.order("--campaign", "spring", *WORDS))
        again = await desk.run("run", "spring", "--json")
    assert (end.code, again.code) == (4, 4)
    assert again.json["recipients"]["in_doubt"] == 10
    desk.check_once(numbers)


async def test_a_gateway_with_a_certificate_of_its_own(desk: Desk, tmp_path: Path) -> None:
    certificates = certified(tmp_path)

    async def script(conversation: Conversation) -> None:
        while True:
            body = await conversation.request()
            sent = body.count(b"%2C") + body.count(b",") + 1
            answer = balance_answer() if b"action=overage" in body else send_answer(counts=str(sent))
            await conversation.write(http(answer))

    async with serving(script, tls=certificates.server_context()) as server:
        desk.configure(url=server.url)
        unknown = await desk.run("balance")
        desk.configure(url=server.url, account=f'tls_ca = "{certificates.ca}"')
        known = await desk.run("balance")
    assert unknown.code == 75
    assert "certificate is not trusted" in unknown.errors
    assert (known.code, "49,995" in known.output) == (0, True)


@pytest.mark.parametrize(
    ("account", "words"),
    [
        ('tls_ca = "ca.pem"', "account.url is http"),
        ('proxy = "http://user:geheim@127.0.0.1:3128"', "user and password stand in keys of their own"),
        ('proxy = "socks5://127.0.0.1:1080"', "must be an address like http://host:port"),
        ('proxy_user = "vendor"', "says nothing without proxy"),
        ('proxy_password = "geheim"', "XINSHI_ACCOUNT__PROXY_PASSWORD"),
        ('source_address = "host"', "one of this machine's IP addresses"),
        ("price_yuan_per_point = -1", "yuan from 0"),
        ('tls_key = "key.pem"', "says nothing without tls_cert"),
    ],
)
async def test_what_cannot_be_is_named(desk: Desk, account: str, words: str) -> None:
    desk.configure(account=account)
    end = await desk.run("balance")
    assert end.code == 2
    assert words in end.errors
    assert "geheim" not in end.errors


async def test_an_https_gateway_with_a_missing_authority_is_a_setting_to_mend(desk: Desk) -> None:
    desk.configure(url="https://127.0.0.1:9", account='tls_ca = "missing.pem"')
    end = await desk.run("balance")
    assert end.code == 2
    assert "tls_ca: " in end.errors
    assert "missing.pem cannot be read: No such file or directory" in end.errors
    assert PASSWORD not in end.errors
