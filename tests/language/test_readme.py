"""The two READMEs say the same: the same sections, and in each the same commands, flags, settings and files."""

from __future__ import annotations

import re
from itertools import zip_longest
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENGLISH = ROOT / "README.md"
CHINESE = ROOT / "README.zh-CN.md"

HEADING = re.compile(r"^(#+) ", re.MULTILINE)
CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
DRAWING = "```\n"
COMMENT = re.compile(r"(^|\s)# .*", re.MULTILINE)
# What somebody types or looks for: flags, commands, [tables] of the settings, names of code with their dots and slashes.
NAMED = re.compile(r"--[a-z][a-z-]+|\bxinshi [a-z]+|\[[a-z.A-Z]+\]|[A-Za-z_][\w./-]*\w")


def sections(text: str) -> list[tuple[int, str]]:
    """Each heading's level, with what stands below it, drawings and comments left away."""
    parts = HEADING.split(
        CODE.sub(lambda found: "" if found[0].startswith(DRAWING) else COMMENT.sub("", found[0]), text)
    )
    return [(len(level), body) for level, body in zip(parts[1::2], parts[2::2], strict=True)]


def named(section: str) -> set[str]:
    """What a section names in code."""
    return {name for code in CODE.findall(section) for name in NAMED.findall(code)}


def differing(english: str, chinese: str) -> list[tuple[str, set[str], set[str]]]:
    """The sections that name different things: how the English one begins, and what each of the two has alone."""
    both = zip_longest(sections(english), sections(chinese), fillvalue=(0, ""))
    pairs = [(mine[1], named(mine[1]), named(other[1])) for mine, other in both]
    return [(body.strip()[:40], mine - other, other - mine) for body, mine, other in pairs if mine != other]


def test_both_have_the_same_sections() -> None:
    levels = [[level for level, _ in sections(path.read_text("utf-8"))] for path in (ENGLISH, CHINESE)]
    assert levels[0] == levels[1]
    assert len(levels[0]) > 10


def test_both_name_the_same_commands_flags_and_settings() -> None:
    assert differing(ENGLISH.read_text("utf-8"), CHINESE.read_text("utf-8")) == []


def test_each_leads_to_the_other() -> None:
    assert CHINESE.name in ENGLISH.read_text("utf-8")
    assert ENGLISH.name in CHINESE.read_text("utf-8")


@pytest.mark.parametrize(
    ("english", "chinese", "alone"),
    [
        ("# A\n`--yes`", "# 甲\n不问", {"--yes"}),
        ("# A\n`xinshi why NUMBER`", "# 甲\n`xinshi who NUMBER`", {"xinshi why"}),
        ("# A\n```sh\nxinshi send --again  # once more\n```", "# 甲\n```sh\nxinshi send  # 再一次\n```", {"--again"}),
        ("# A\nSee `[wait]`.", "# 甲\n见 `[log]`。", {"[wait]"}),
        ("# A\n`one`\n## B\n`two`", "# 甲\n`one`", {"two"}),
    ],
)
def test_what_one_of_them_leaves_out_would_be_found(english: str, chinese: str, alone: set[str]) -> None:
    assert [missing for _, missing, _ in differing(english, chinese)] == [alone]


def test_a_comment_in_code_is_no_section_and_says_nothing() -> None:
    assert differing("# A\n```sh\n# one thing\nmake x  # does x\n```", "# 甲\n```sh\n# 一件事\nmake x  # 做\n```") == []
