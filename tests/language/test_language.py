"""Who decides which language is spoken, and how far a choice reaches."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping

import pytest

from engine import language
from engine.errors import SettingsError
from engine.language import N_, _n, chosen, speak, speaking, spoken

KNOWN = "{name}: {wanted!r} is none of the languages: en, zh"
IN_CHINESE = "{name}：没有 {wanted!r} 这种语言，可选 en、zh"


@pytest.mark.parametrize(
    ("flag", "environ", "language"),
    [
        (None, {}, "en"),
        ("zh", {}, "zh"),
        ("en", {"XINSHI_LANG": "zh", "LC_ALL": "zh_CN.UTF-8"}, "en"),
        ("zh-CN", {"LANG": "C"}, "zh"),
        ("ZH", {}, "zh"),
        (None, {"XINSHI_LANG": "zh", "LC_ALL": "C"}, "zh"),
        (None, {"XINSHI_LANG": "en", "LANG": "zh_CN.UTF-8"}, "en"),
        (None, {"XINSHI_LANG": "", "LANG": "zh_CN.UTF-8"}, "zh"),
        (None, {"LANG": "zh_CN.UTF-8"}, "zh"),
        (None, {"LANG": "zh_TW"}, "zh"),
        (None, {"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "en_US.UTF-8"}, "en"),
        (None, {"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "en_US", "LC_ALL": "zh_CN"}, "zh"),
        (None, {"LANG": "zh_CN.UTF-8", "LC_ALL": ""}, "zh"),
        (None, {"LANG": "C.UTF-8"}, "en"),
        (None, {"LANG": "de_DE.UTF-8"}, "en"),
        (None, {"LANG": "zha_CN"}, "en"),
    ],
)
def test_the_flag_goes_over_the_variable_and_that_over_the_locale(
    flag: str | None, environ: Mapping[str, str], language: str
) -> None:
    assert chosen(flag, environ) == language


@pytest.mark.parametrize(
    ("flag", "environ", "named"),
    [("fr", {}, "--lang: 'fr'"), ("", {}, "--lang: ''"), (None, {"XINSHI_LANG": "klingon"}, "XINSHI_LANG: 'klingon'")],
)
def test_a_language_that_is_not_there_is_an_error_that_names_the_others(
    flag: str | None, environ: Mapping[str, str], named: str
) -> None:
    with pytest.raises(SettingsError, match=f"^{named} is none of the languages: en, zh$"):
        chosen(flag, environ)


def test_english_is_spoken_until_somebody_speaks() -> None:
    assert spoken() == "en"
    assert language._(KNOWN) == KNOWN
    assert [_n("one", "many", count) for count in (0, 1, 2)] == ["many", "one", "many"]


def test_chinese_is_spoken_until_the_block_ends() -> None:
    with speaking("zh"):
        assert spoken() == "zh"
        assert language._(KNOWN) == IN_CHINESE
        with speaking("en"):
            assert language._(KNOWN) == KNOWN
        assert language._(KNOWN) == IN_CHINESE
    assert language._(KNOWN) == KNOWN


def test_what_no_catalogue_has_stays_as_it_is() -> None:
    with speaking("zh"):
        assert language._("") == ""
        assert language._("no such text") == N_("no such text")
        assert _n("no such one", "no such many", 2) == "no such many"


async def test_two_tasks_of_one_process_speak_two_languages() -> None:
    async def told(wanted: language.Language) -> str:
        speak(wanted)
        await asyncio.sleep(0)
        return await asyncio.to_thread(language._, KNOWN)

    assert await asyncio.gather(told("zh"), told("en")) == [IN_CHINESE, KNOWN]
    assert spoken() == "en"


def test_english_loads_no_catalogue() -> None:
    code = "import sys; from engine import language; language._('x'); print('gettext' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"
