"""Every text for people is in the catalogue, translated, with the same places to fill in; and what is compiled is what is written."""

from __future__ import annotations

import io
import string
from gettext import GNUTranslations
from pathlib import Path

import pytest

from tests.language.catalogue import (
    ENGINE,
    MO,
    PO,
    Catalogue,
    Text,
    all_texts,
    at_import,
    compiled,
    marked,
    merged,
    read_po,
    shadowed,
    texts_of,
    written_po,
)

HEADER = "Content-Type: text/plain; charset=UTF-8\nPlural-Forms: nplurals=1; plural=0;\n"
WORDS = {Text(one='a "b"\n{x}'): "甲\t{x}", Text(one="one", many="{n} many"): "{n} 个", Text(one="c"): ""}
SMALL = Catalogue(comments=("# words",), header=HEADER, texts=WORDS)


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return read_po(PO.read_text("utf-8"))


def test_every_text_of_the_sources_is_translated_and_no_other(catalogue: Catalogue) -> None:
    texts = all_texts()
    assert {text.one for text in texts - catalogue.texts.keys()} == set(), "missing: run make catalogue"
    assert {text.one for text in catalogue.texts.keys() - texts} == set(), "stale: run make catalogue"
    assert [text.one for text, said in catalogue.texts.items() if not said.strip()] == []


def test_both_sides_have_the_same_places_to_fill_in(catalogue: Catalogue) -> None:
    differing = {
        text.one: said for text, said in catalogue.texts.items() if places(text.many or text.one) != places(said)
    }
    assert differing == {}


def test_both_sides_begin_and_end_their_lines_alike(catalogue: Catalogue) -> None:
    differing = {text.one: said for text, said in catalogue.texts.items() if edges(text.one) != edges(said)}
    assert differing == {}


def test_the_catalogue_is_written_the_one_way(catalogue: Catalogue) -> None:
    assert written_po(catalogue) == PO.read_text("utf-8"), "run make catalogue"


def test_what_is_compiled_is_what_is_written(catalogue: Catalogue) -> None:
    assert compiled(catalogue) == MO.read_bytes(), "run make catalogue"


def test_no_function_gives_another_value_to_the_name_that_translates() -> None:
    found = {str(path): lines for path in ENGINE.rglob("*.py") if (lines := shadowed(path.read_text("utf-8")))}
    assert found == {}


def test_no_module_but_the_words_of_the_help_translates_when_it_is_loaded() -> None:
    found = {path.relative_to(ENGINE).as_posix() for path in ENGINE.rglob("*.py") if at_import(path.read_text("utf-8"))}
    assert found == {"cli/words.py"}  # a command loads it when it knows its language


def places(text: str) -> set[tuple[str, str | None, str | None]]:
    """The names in braces, with how each is shown."""
    return {(name, spec, how) for _, name, spec, how in string.Formatter().parse(text) if name is not None}


def edges(text: str) -> tuple[str, str]:
    """The line ends around a text: a page puts texts below each other."""
    return text[: len(text) - len(text.lstrip("\n"))], text[len(text.rstrip("\n")) :]


# ── the tool itself ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_marked_is_found() -> None:
    source = '_("a"); N_("b"); _n("one", "{n} many", 3); _(name); other("c")'
    assert set(marked(source)) == {Text(one="a"), Text(one="b"), Text(one="one", many="{n} many")}


@pytest.mark.parametrize("source", ['_(f"{a}")', '_("a" + b)', "N_(a)", '_n(one, "many", 2)', '_("a %s" % b)'])
def test_a_text_that_can_be_no_msgid_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match=r"here\.py:1"):
        list(marked(source, "here.py"))


@pytest.mark.parametrize(
    "source",
    [
        'def f():\n a, _, b = c\n return _("x")',
        'def f(_):\n return _("x")',
        'async def f():\n for _ in a: pass\n return _("x")',
        'def f():\n with a as _:\n  return _("x")',
    ],
)
def test_a_function_that_takes_the_name_away_is_found(source: str) -> None:
    assert shadowed(source) == [1]


@pytest.mark.parametrize(
    "source",
    [
        'def f():\n def g(_): return 1\n return _("x")',
        "def f():\n a, _, b = c\n return a",
        'def f():\n return [_("x"), [1 for _ in a]]',
    ],
)
def test_a_function_that_leaves_the_name_alone_is_not(source: str) -> None:
    assert shadowed(source) == []


def test_what_translates_at_import_is_found() -> None:
    source = 'A = _("x")\nB = N_("y")\ndef f():\n return _("z")\nclass C:\n D = [_n("a", "b", 2)]\nE = lambda: _("w")'
    assert at_import(source) == [1, 6]


def test_a_catalogue_is_read_as_it_was_written() -> None:
    assert read_po(written_po(SMALL)) == SMALL
    assert list(read_po(written_po(SMALL)).texts) == sorted(SMALL.texts)


def test_a_text_that_stands_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        read_po('msgid "a"\nmsgstr "b"\n\nmsgid "a"\nmsgstr "c"\n')


def test_merging_keeps_translations_and_drops_what_nobody_uses() -> None:
    made = merged(SMALL, [Text(one="new"), Text(one="one", many="{n} many")])
    assert made.texts == {Text(one="new"): "", Text(one="one", many="{n} many"): "{n} 个"}


def test_gettext_reads_what_is_compiled() -> None:
    read = GNUTranslations(io.BytesIO(compiled(SMALL)))
    assert read.gettext('a "b"\n{x}') == "甲\t{x}"
    assert [read.ngettext("one", "{n} many", n) for n in (1, 2)] == ["{n} 个"] * 2
    assert read.gettext("c") == "c"


def test_sources_are_looked_through_to_the_last_folder(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.py").write_text('_("found")')
    assert texts_of(tmp_path) == {Text(one="found")}
