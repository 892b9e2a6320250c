"""What leaves: encodings, signatures, and the documented vectors. Source: gateway/protocol.md §3, §4."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import parse_qs

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engine.errors import PlanError, SettingsError
from engine.gateway.profile import BUILT_IN, Charset, Profile, load_profile
from engine.gateway.wire import (
    CHINA,
    Credentials,
    checkkeyword_body,
    overage_body,
    prepare,
    replies_body,
    reports_body,
)
from tests.gateway.samples import CREDENTIALS, NOW, mobiles

STANDARD, GBK, SIGNED, JSON = (load_profile(name) for name in ("standard", "gbk", "signed", "json"))
MD5_UPPER = Profile(name="md5", auth="md5_upper")  # type: ignore[arg-type]


def read(body: bytes, charset: str = "utf-8") -> dict[str, list[str]]:
    return parse_qs(
        body.decode("ascii"), keep_blank_values=True, strict_parsing=True, encoding=charset, errors="strict"
    )


def test_a_send_has_the_documented_parameters() -> None:
    numbers = mobiles(3)
    assert read(prepare(STANDARD, CREDENTIALS, "【信使】50% off & more+\r\n").body(numbers, now=NOW)) == {
        "action": ["send"],
        "userid": ["12"],
        "account": ["demo"],
        "password": [CREDENTIALS.password],
        "content": ["【信使】50% off & more+\r\n"],
        "sendTime": [""],
        "mobile": [numbers],
    }


MOMENT = datetime(2026, 12, 1, 1, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=-7)), CHINA])
def test_a_time_to_send_goes_on_the_wire_in_china_time(name: str, zone: timezone) -> None:
    profile, login = load_profile(name), Credentials(userid="1", account="信使", password="pw")
    body = prepare(profile, login, "【信使】", scheduled_for=MOMENT.astimezone(zone)).body(mobiles(2), now=NOW)
    codec = "gbk" if profile.request_charset is Charset.GBK else "utf-8"
    form, at_once = read(body, codec), read(prepare(profile, login, "【信使】").body(mobiles(2), now=NOW), codec)
    assert b"&sendTime=2026-12-01%2009%3A00%3A30&" in body
    assert form == at_once | {"sendTime": ["2026-12-01 09:00:30"]}  # the signature too: it is made of the login alone
    assert at_once["sendTime"] == [""]


@pytest.mark.parametrize(
    ("written", "sent"),
    [("%Y/%m/%d %H:%M:%S", "2026/12/01 09:00:30"), ("%Y%m%d%H%M%S", "20261201090030")],
)
def test_a_time_to_send_is_written_as_the_profile_says(written: str, sent: str) -> None:
    profile = Profile(name="own", send_time_format=written)
    form = read(prepare(profile, CREDENTIALS, "text", scheduled_for=MOMENT).body(mobiles(1), now=NOW))
    assert form["sendTime"] == [sent]


def test_a_time_to_send_needs_a_zone() -> None:
    with pytest.raises(ValueError, match="aware"):
        prepare(STANDARD, CREDENTIALS, "text", scheduled_for=datetime(2026, 1, 1))  # noqa: DTZ001


def test_what_the_profile_asks_for_is_added() -> None:
    profile = Profile(name="own", checkcontent=True, extno="07", rt_json=True)
    form = read(prepare(profile, CREDENTIALS, "text").body(mobiles(1), now=NOW))
    assert (form["checkcontent"], form["extno"], form["rt"]) == (["1"], ["07"], ["json"])


def test_every_value_is_encoded_once() -> None:
    body = prepare(STANDARD, CREDENTIALS, "a%2Cb+c d").body(mobiles(2), now=NOW)
    assert b"content=a%252Cb%2Bc%20d&" in body
    assert body.count(b"%2C") == 1


def test_the_documented_upper_case_md5() -> None:
    login = Credentials(userid="1", account="a", password="abc123")
    assert read(overage_body(MD5_UPPER, login, now=NOW))["password"] == ["E99A18C428CB38D5F260853678922E03"]


def test_the_documented_signature() -> None:
    login = Credentials(userid="1", account="test", password="mima")
    at = datetime(2012, 7, 1, 23, 12, 12, tzinfo=CHINA)
    form = read(overage_body(SIGNED, login, now=at))
    assert form == {
        "action": ["overage"],
        "userid": ["1"],
        "timestamp": ["20120701231212"],
        "sign": ["5cc68982f55ac74348e3d819f868fbe1"],
    }


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=-7)), CHINA])
def test_a_signature_is_dated_in_china_wherever_we_are(zone: timezone) -> None:
    at = datetime(2012, 7, 1, 15, 12, 12, tzinfo=UTC).astimezone(zone)
    assert read(overage_body(SIGNED, CREDENTIALS, now=at))["timestamp"] == ["20120701231212"]


def test_every_attempt_is_signed_afresh_and_carries_no_password() -> None:
    prepared = prepare(SIGNED, CREDENTIALS, "text")
    first, second = (prepared.body(mobiles(2), now=NOW + timedelta(seconds=each)) for each in (0, 1))
    assert read(first)["sign"] != read(second)["sign"]
    assert read(first)["mobile"] == [mobiles(2)]
    assert not {"account", "password"} & read(first).keys()


def test_a_signature_needs_an_aware_time() -> None:
    with pytest.raises(ValueError, match="aware"):
        prepare(SIGNED, CREDENTIALS, "text").body(mobiles(1), now=datetime(2026, 1, 1))  # noqa: DTZ001


def test_the_other_calls() -> None:
    login = {"userid": ["12"], "account": ["demo"], "password": [CREDENTIALS.password]}
    assert read(overage_body(STANDARD, CREDENTIALS, now=NOW)) == {"action": ["overage"], **login}
    assert read(checkkeyword_body(STANDARD, CREDENTIALS, "您好", now=NOW)) == {
        "action": ["checkkeyword"],
        "content": ["您好"],
        **login,
    }
    assert read(reports_body(STANDARD, CREDENTIALS, 250, now=NOW)) == {
        "action": ["query"],
        "statusNum": ["250"],
        **login,
    }
    assert read(replies_body(STANDARD, CREDENTIALS, now=NOW)) == {"action": ["query"], **login}


def test_gbk_is_two_bytes_a_character_and_reports_stay_utf_8() -> None:
    login = Credentials(userid="1", account="信使", password="pw")
    assert b"content=%D0%C5%CA%B9&" in prepare(GBK, login, "信使").body(mobiles(1), now=NOW)
    assert b"account=%D0%C5%CA%B9" in overage_body(GBK, login, now=NOW)
    assert b"account=%E4%BF%A1%E4%BD%BF" in reports_body(GBK, login, 1, now=NOW)


@pytest.mark.parametrize("text", ["镕喆·—", "【信使】囍"])
def test_gbk_holds_what_gb2312_lacks(text: str) -> None:
    assert read(prepare(GBK, Credentials(userid="1", account="a", password="b"), text).body("1", now=NOW), "gbk")[
        "content"
    ] == [text]


@pytest.mark.parametrize(
    ("profile", "text", "place", "code"),
    [(GBK, "价格€5", 3, "U+20AC"), (GBK, "好😀", 2, "U+1F600"), (STANDARD, "a\ud83d", 2, "U+D83D")],
)
def test_a_character_that_cannot_be_sent_is_named_with_its_place(
    profile: Profile, text: str, place: int, code: str
) -> None:
    with pytest.raises(PlanError, match=f"character {place} ") as error:
        prepare(profile, Credentials(userid="1", account="a", password="b"), text)
    assert code in str(error.value)
    str(error.value).encode()  # can be shown


def test_a_password_that_cannot_be_sent_is_not_shown() -> None:
    with pytest.raises(SettingsError, match="password") as error:
        prepare(GBK, Credentials(userid="1", account="a", password="geheim€"), "text")
    assert "geheim" not in str(error.value)
    assert "€" not in str(error.value)


@given(text=st.text(), profile=st.sampled_from([STANDARD, GBK, SIGNED, JSON]))
def test_any_text_that_the_charset_holds_arrives_unchanged(text: str, profile: Profile) -> None:
    login = Credentials(userid="1", account="a", password="b")
    codec = "gbk" if profile.request_charset is Charset.GBK else "utf-8"
    try:
        text.encode(codec)
    except UnicodeEncodeError:
        with pytest.raises(PlanError):
            prepare(profile, login, text)
        assume(False)
    form = read(prepare(profile, login, text).body(mobiles(2), now=NOW), codec)
    assert (form["content"], form["mobile"]) == ([text], [mobiles(2)])
