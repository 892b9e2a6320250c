"""Who is on a list of people to leave out, and who is on none of those to keep."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import IntakeError
from engine.intake import Screen, Seen, gathered, inspect, inspect_all, screening_list
from engine.intake.screening import packed
from engine.model import Chunk, Excluded, Exclusion
from tests.intake.lists import written
from tests.numbers import mobiles

NUMBERS = mobiles(6)
A, B, C, D, E, F = NUMBERS


def chunk() -> Chunk:
    before = Excluded(line=4, raw="x", reason=Exclusion.INVALID, detail="too short")
    return Chunk(rows=7, mobiles=list(NUMBERS), lines=[2, 3, 5, 6, 7, 8], excluded=[before])


@pytest.mark.parametrize(
    ("screen", "left", "reasons"),
    [
        (Screen(), NUMBERS, []),
        (Screen(packed([B])), [A, C, D, E, F], [(3, Exclusion.OPTED_OUT)]),
        (Screen(excluded=packed([B, F])), [A, C, D, E], [(3, Exclusion.EXCLUDED_LIST), (8, Exclusion.EXCLUDED_LIST)]),
        (Screen(only=packed([A, F])), [A, F], [(line, Exclusion.NOT_ON_LIST) for line in (3, 5, 6, 7)]),
        (Screen(only=b""), [], [(line, Exclusion.NOT_ON_LIST) for line in (2, 3, 5, 6, 7, 8)]),
        (
            Screen(packed([A, B]), excluded=packed([B, C]), only=packed([A, C, F])),
            [F],
            [
                (2, Exclusion.OPTED_OUT),
                (3, Exclusion.OPTED_OUT),
                (5, Exclusion.EXCLUDED_LIST),
                (6, Exclusion.NOT_ON_LIST),
                (7, Exclusion.NOT_ON_LIST),
            ],
        ),
    ],
)
def test_each_is_left_out_once_for_the_reason_that_counts(
    screen: Screen, left: list[str], reasons: list[tuple[int, Exclusion]]
) -> None:
    sifted = screen.sift(chunk())
    assert sifted.mobiles == left
    assert [number for number, line in zip(NUMBERS, chunk().lines, strict=True) if line in sifted.lines] == left
    assert [(row.line, row.reason) for row in sifted.excluded] == sorted([*reasons, (4, Exclusion.INVALID)])
    assert sifted.rows + sifted.extra == len(sifted.mobiles) + len(sifted.excluded)


def test_who_was_let_through_is_told_where_all_of_them_are_recipients() -> None:
    screen, seen = Screen(packed([B]), excluded=packed([C, D])), Seen(packed([A]))
    seen.add(NUMBERS)
    screen.sift(chunk())
    assert screen.whom(seen, packed([A]), recipients=2) == packed([E, F])
    assert screen.whom(seen, packed([A]), recipients=1) == b""


def test_the_numbers_of_several_lists_are_one_set_and_each_says_what_it_came_to(tmp_path: Path) -> None:
    written(tmp_path, f"手机\n{A}\n+86{B}\n{C}/{D}\n010-88886666\n", name="1.csv")
    written(tmp_path, f"手机\n{A}\n1.38E+10\n{B[:3]}****{B[7:]}\n", name="2.csv")
    numbers, lists = gathered(inspect_all([tmp_path]).list_files)
    assert Screen(excluded=numbers).sift(chunk()).mobiles == [E, F]
    assert [(each.rows, each.mobiles) for each in lists] == [(4, 4), (3, 0)]
    assert [each.unclear for each in lists] == [{}, {Exclusion.INVALID: 1, Exclusion.DIGITS_LOST: 1}]


def test_a_list_that_says_nobody_is_refused_unless_it_has_no_rows(tmp_path: Path) -> None:
    wrong = inspect(written(tmp_path, "手机\n1.38E+10\n1.39E+10\n", name="wrong.csv"))
    with pytest.raises(IntakeError, match="none of its 2 rows holds a mobile"):
        screening_list(wrong, seen=Seen())
    nobody = screening_list(inspect(written(tmp_path, "手机\n", name="nobody.csv")), seen=Seen())
    assert (nobody.rows, nobody.mobiles) == (0, 0)


def test_a_million_numbers_are_few_bytes(tmp_path: Path) -> None:
    numbers, (screening,) = gathered(
        [inspect(written(tmp_path, "".join(f"{number}\n" for number in mobiles(300_000))))]
    )
    assert screening.mobiles == 300_000
    assert len(numbers) < 10 * 300_000
