"""The language of the texts for people. The msgids are the English texts; the catalogue has the others.

Who speaks decides with `speak`; the choice belongs to the context (a task, a copied context), so two engines of one process may
speak two languages. Write `_("{count} rows of {name}").format(count=count, name=name)`: never an f-string inside, it would be no msgid.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from engine.first_errors import SettingsError

if TYPE_CHECKING:
    from gettext import NullTranslations

Language = Literal["en", "zh"]

VARIABLE = "XINSHI_LANG"

_LOCALES: Mapping[Language, str] = {"zh": "zh_CN"}
_LOCALE_VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")  # the first that is set decides: POSIX
_spoken: ContextVar[Language] = ContextVar("language", default="en")


def _(text: str) -> str:
    """The text in the language spoken here; itself where the catalogue does not have it."""
    language = _spoken.get()
    return text if language == "en" or not text else _catalogue(language).gettext(text)


def _n(one: str, many: str, count: int) -> str:
    """`one` where `count` is 1, else `many`, in the language spoken here. Does not fill in the count."""
    language = _spoken.get()
    if language == "en":
        return one if count == 1 else many
    return _catalogue(language).ngettext(one, many, count)


def N_(text: str) -> str:
    """The same text, marked for the catalogue: for tables that are read with `_` when somebody speaks."""
    return text


def spoken() -> Language:
    """The language spoken here."""
    return _spoken.get()


def speak(language: Language) -> None:
    """Speak this language from now on: in this context, and in the tasks and threads that copy it."""
    _spoken.set(language)


@contextmanager
def speaking(language: Language) -> Iterator[None]:
    """Speak this language until the block ends."""
    token = _spoken.set(language)
    try:
        yield
    finally:
        _spoken.reset(token)


def chosen(flag: str | None, environ: Mapping[str, str]) -> Language:
    """The language that --lang, XINSHI_LANG or the locale asks for. Raises SettingsError for one that is not there."""
    for name, wanted in (("--lang", flag), (VARIABLE, environ.get(VARIABLE))):
        if wanted is None or (wanted == "" and name != "--lang"):
            continue
        if (language := _language_of(wanted)) is None:
            raise SettingsError(
                _("{name}: {wanted!r} is none of the languages: en, zh").format(name=name, wanted=wanted)
            )
        return language
    locale = next(filter(None, map(environ.get, _LOCALE_VARIABLES)), "")
    return _language_of(locale) or "en"


def _language_of(locale: str) -> Language | None:
    """zh, zh-CN, zh_CN.UTF-8 and zh_TW are Chinese: its simplified signs are nearer to all of them than English."""
    match locale.replace("-", "_").partition(".")[0].partition("_")[0].lower():
        case "zh":
            return "zh"
        case "en":
            return "en"
        case _:
            return None


@lru_cache
def _catalogue(language: Language) -> NullTranslations:
    from gettext import translation

    return translation("xinshi", Path(__file__).with_name("locale"), [_LOCALES[language]])
