"""Profiles: the built-in ones, files of one's own, and what is said about a mistake."""

from __future__ import annotations

import tomllib
from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path

import pytest

from engine.errors import SettingsError
from engine.gateway.profile import (
    BUILT_IN,
    AuthMode,
    Charset,
    OverageMeaning,
    Profile,
    SignaturePosition,
    built_in_file,
    load_profile,
)


def own(folder: Path, text: str, name: str = "own.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def problem(path: Path | str) -> str:
    with pytest.raises(SettingsError) as error:
        load_profile(path)
    return str(error.value)


def test_standard_states_every_key_with_its_default() -> None:
    table = tomllib.loads(built_in_file("standard").read_text(encoding="utf-8"))
    assert set(table) == {each.name for each in fields(Profile)} - {"name"}
    assert set(table["paths"]) == {each.name for each in fields(Profile(name="x").paths)}
    assert set(table["failure_texts"]) == {each.name for each in fields(Profile(name="x").failure_texts)}
    assert load_profile("standard") == Profile(name="standard")


def test_standard_explains_every_key() -> None:
    lines = built_in_file("standard").read_text(encoding="utf-8").splitlines()
    keys = [line for line in lines if "=" in line and not line.lstrip().startswith("#")]
    unexplained = [line for line in keys if "#" not in line]
    assert all(line.split(" ")[0] in {"send", "overage", "checkkeyword"} for line in unexplained)


def test_the_built_in_dialects() -> None:
    gbk, signed, as_json = (load_profile(name) for name in ("gbk", "signed", "json"))
    assert (gbk.name, gbk.request_charset, gbk.poll_charset) == ("gbk", Charset.GBK, Charset.UTF_8)
    assert (gbk.paths.send, gbk.paths.reports) == ("/smsGBK.aspx", "/statusApi.aspx")
    assert (signed.auth, signed.paths.send, signed.paths.replies) == (AuthMode.V2, "/v2sms.aspx", "/v2callApi.aspx")
    assert as_json.paths.send == "/smsJson.aspx"
    for name in BUILT_IN:
        profile = load_profile(name)
        assert profile.paths.reports != profile.paths.replies


def test_a_file_overrides_what_it_states_and_nothing_else(tmp_path: Path) -> None:
    path = own(
        tmp_path,
        'extends = "signed"\nmax_recipients = 1000\nprice_per_segment = 0.045\nsignature_position = "end"\n'
        'overage_means = "sent"\nwindow_s = 0.5\nsend_time_format = "%Y/%m/%d %H:%M:%S"\n[paths]\nsend = "/api/send.aspx"\n[failure_texts]\ntoo_frequent = ["提交过快"]\n',
    )
    signed = load_profile("signed")
    assert load_profile(path) == replace(
        signed,
        name="own",
        max_recipients=1000,
        price_per_segment=Decimal("0.045"),
        signature_position=SignaturePosition.END,
        overage_means=OverageMeaning.SENT,
        window_s=0.5,
        send_time_format="%Y/%m/%d %H:%M:%S",
        paths=replace(signed.paths, send="/api/send.aspx"),
        failure_texts=replace(signed.failure_texts, too_frequent=("提交过快",)),
    )
    assert load_profile(str(path)) == load_profile(path)


def test_a_file_may_extend_another_file_beside_it(tmp_path: Path) -> None:
    own(tmp_path, 'extends = "gbk"\nstatus_num = 50\n', "base.toml")
    profile = load_profile(own(tmp_path, 'extends = "base.toml"\nextno = "01"\n'))
    assert (profile.name, profile.request_charset, profile.status_num, profile.extno) == ("own", Charset.GBK, 50, "01")


def test_a_file_that_extends_nothing_starts_from_the_defaults(tmp_path: Path) -> None:
    assert load_profile(own(tmp_path, "")) == Profile(name="own")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("max_recipient = 5", ["max_recipient: unknown key", "'max_recipients'"]),
        ('extend = "gbk"', ["extend: unknown key", "'extends'"]),
        ("[path]", ["path: unknown key", "'paths'"]),
        ('[paths]\nsned = "/a"', ["paths.sned: unknown key", "'send'"]),
        ('[failure_texts]\nzzzz = ["x"]', ["failure_texts.zzzz: unknown key", "too_frequent"]),
        ('max_recipients = "5"', ["max_recipients: '5'", "whole number from 1 to 50000"]),
        ("max_recipients = 0", ["max_recipients: 0", "whole number"]),
        ("max_recipients = true", ["max_recipients: True", "whole number"]),
        ("status_num = 4001", ["status_num: 4001", "4000"]),
        ('auth = "md5"', ["auth: 'md5'", '"plain", "md5_upper", "v2"']),
        ("auth = 1", ["auth: 1", "plain"]),
        ('request_charset = "gb2312"', ["request_charset: 'gb2312'", '"gbk"']),
        ("rt_json = 1", ["rt_json: 1", "true or false"]),
        ('extno = "a"', ["extno: 'a'", "digits"]),
        ('send_time_format = "%Y-%m-%d %I:%M:%S"', ["send_time_format: '%Y-%m-%d %I:%M:%S'", "%H"]),
        ('send_time_format = "%y-%m-%d %H:%M:%S"', ["send_time_format", "each once"]),
        ('send_time_format = "%Y-%m-%d %H:%M"', ["send_time_format", "each once"]),
        ('send_time_format = "%Y-%m-%d %H:%M:%S%S"', ["send_time_format", "each once"]),
        ('send_time_format = "%Y-%m-%d 0%H:%M:%S"', ["send_time_format", "each once"]),
        ('send_time_format = "%Y年%m月%d %H:%M:%S"', ["send_time_format", "each once"]),
        ('send_time_format = "%%Y-%m-%d %H:%M:%S"', ["send_time_format", "each once"]),
        ("send_time_format = 5", ["send_time_format: 5", "each once"]),
        ("price_per_segment = 0", ["price_per_segment: 0", "above 0"]),
        ('price_per_segment = "NaN"', ["price_per_segment: 'NaN'", "above 0"]),
        ("price_per_segment = -0.5", ["price_per_segment: -0.5", "above 0"]),
        ("price_per_segment = inf", ["price_per_segment: Infinity", "above 0"]),
        ("window_s = 0", ["window_s: 0", "above 0"]),
        ('[paths]\nsend = "sms.aspx"', ["paths.send: 'sms.aspx'", '"/sms.aspx"']),
        ('[paths]\nsend = "/sms.aspx?a=1"', ["paths.send", "without"]),
        ("paths = 1", ["paths: 1", "a table"]),
        ('[failure_texts]\ncontent = "x"', ["failure_texts.content: 'x'", "a list of texts"]),
        ('[failure_texts]\ncontent = [""]', ["failure_texts.content", "a list of texts"]),
        ('extends = "gkb"', ["extends", "'gkb'", "'gbk'"]),
        ("extends = 1", ["extends: 1", "standard"]),
        ('extends = "own.toml"', ["circle"]),
        ('extends = "nowhere.toml"', ["nowhere.toml", "cannot be read"]),
        ("max_recipients =", ["cannot be read"]),
    ],
)
def test_a_mistake_is_named_with_its_file_key_value_and_remedy(tmp_path: Path, text: str, words: list[str]) -> None:
    path = own(tmp_path, text)
    found = problem(path)
    assert [word for word in (*words, str(tmp_path)) if word not in found] == []


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    found = problem(own(tmp_path, 'status_num = 0\nrt_json = "x"\nwhat = 1\n[paths]\nsend = ""\n'))
    assert len(found.splitlines()) == 4


def test_a_name_that_is_none_is_answered_with_the_nearest() -> None:
    assert "'standard'" in problem("standart")
    assert "cannot be read" in problem("nowhere/own.toml")


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_bytes(b"\xff\xfe\x00")
    assert str(path) in problem(path)
