"""Rows to chunks: every row in exactly one bucket, in order, with the line it stands on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import IntakeError
from engine.intake import ListFile, Seen, inspect, read
from engine.model import Exclusion
from tests.intake.lists import harvested, taken, written
from tests.numbers import mobiles

A, B, C, D = mobiles(4)
HEAD = f"姓名,手机号,城市\n张三,{A},上海\n"


def test_every_row_is_in_one_bucket_with_its_line_and_its_cell(tmp_path: Path) -> None:
    got = taken(
        written(
            tmp_path,
            HEAD
            + f"李四,+86 {B},\n"  # 3: repaired
            + "\n"  # 4: blank
            + "王五,,北京\n"  # 5: no number
            + f"赵六,{A},北京\n"  # 6: again
            + f"陈七,{C}/010-88886666,\n"  # 7: a mobile and a landline
            + f"刘八,{B[:3]} {B[3:7]} {B[7:]},\n"  # 8: again, written differently
            + "杨九,1.38E+10,\n"  # 9
            + f"周十,{D}",  # 10: no line end, trailing cell missing
        )
    )
    assert got.mobiles == [A, B, C, D]
    assert got.lines == [2, 3, 7, 10]
    assert (got.rows, got.extra) == (9, 1)
    assert [(row.line, row.raw, row.reason) for row in got.excluded] == [
        (4, "", Exclusion.EMPTY),
        (5, "", Exclusion.EMPTY),
        (6, A, Exclusion.DUPLICATE),
        (7, f"{C}/010-88886666", Exclusion.LANDLINE),
        (8, f"{B[:3]} {B[3:7]} {B[7:]}", Exclusion.DUPLICATE),
        (9, "1.38E+10", Exclusion.DIGITS_LOST),
    ]


def test_two_numbers_of_a_cell_share_its_line(tmp_path: Path) -> None:
    got = taken(written(tmp_path, f"手机号\n{A}、{B}\n{C}\n{D} {D}\n"))
    assert (got.mobiles, got.lines, got.extra) == ([A, B, C, D], [2, 2, 3, 4], 2)
    assert got.reasons == [(4, Exclusion.DUPLICATE)]


def test_numbers_of_an_earlier_file_are_duplicates(tmp_path: Path) -> None:
    seen = Seen()
    taken(written(tmp_path, f"{A}\n{B}\n", name="first.csv"), seen=seen)
    got = taken(written(tmp_path, f"{C}\n{A}\n", name="second.csv"), seen=seen)
    assert (got.mobiles, got.reasons) == ([C], [(2, Exclusion.DUPLICATE)])
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (f"x,{B},y,,,", None),  # too many, but empty
        (f"x,{B}, ,  ", None),
        (f"x,{B}", None),  # too few, but the number is there
        (f"x,{B},y,{C}", Exclusion.MALFORMED),
        (f"x,y,{B},z", Exclusion.MALFORMED),
        ("x", Exclusion.MALFORMED),
        ("x,", Exclusion.EMPTY),
        (",,", Exclusion.EMPTY),
        (",,,,,,", Exclusion.EMPTY),
        ("   ", Exclusion.EMPTY),
        (" , , ", Exclusion.EMPTY),
    ],
)
@pytest.mark.parametrize("quoted", ["", '"q",,\n'])
def test_a_row_with_the_wrong_number_of_cells(tmp_path: Path, row: str, reason: Exclusion | None, quoted: str) -> None:
    got = taken(written(tmp_path, HEAD + quoted + row + "\n"))
    mine = [why for line, why in got.reasons if line == 3 + bool(quoted)]
    assert mine == ([] if reason is None else [reason])
    assert got.mobiles == ([A, B] if reason is None else [A])


def test_a_blank_line_at_the_end_is_a_row_and_the_last_line_end_is_none(tmp_path: Path) -> None:
    assert taken(written(tmp_path, f"{A}\n")).rows == 1
    assert taken(written(tmp_path, f"{A}")).rows == 1
    assert taken(written(tmp_path, f"{A}\n\n")).reasons == [(2, Exclusion.EMPTY)]
    assert taken(written(tmp_path, f"{A}\r\n\r\n")).reasons == [(2, Exclusion.EMPTY)]


def test_the_line_of_a_row_is_the_one_it_begins_on(tmp_path: Path) -> None:
    got = taken(written(tmp_path, HEAD + f'"李\n四",{B},"a ""b"" c"\n王五,{C},"x\r\ny\n\nz"\n赵六,{D},\n'))
    assert (got.mobiles, got.lines, got.rows) == ([A, B, C, D], [2, 3, 5, 9], 4)


def test_numbers_below_each_other_in_a_quoted_cell(tmp_path: Path) -> None:
    got = taken(written(tmp_path, HEAD + f'李四,"{B}\n{C}",\n'))
    assert (got.mobiles, got.lines, got.extra) == ([A, B, C], [2, 3, 3], 1)


def test_a_comma_inside_a_quoted_number_cell_separates_two(tmp_path: Path) -> None:
    got = taken(written(tmp_path, HEAD + f'李四,"{B},{C}",\n'))
    assert (got.mobiles, got.extra) == ([A, B, C], 1)


def test_every_cell_quoted_is_the_same_list(tmp_path: Path) -> None:
    assert taken(written(tmp_path, f'"姓名","手机号","城市"\n"张三","{A}","上海,浦东"\n"李四","{B}",""\n')).mobiles == [
        A,
        B,
    ]


def test_a_line_separator_of_unicode_ends_no_row(tmp_path: Path) -> None:
    got = taken(written(tmp_path, HEAD + f'李\u2028四\x0c,{B},"\x85"\n王五,{C},"a""b"\n'))
    assert (got.mobiles, got.lines) == ([A, B, C], [2, 3, 4])


def test_a_quote_that_never_closes_names_the_row_it_stands_in(tmp_path: Path) -> None:
    for tail in ("", f"王五,{C},北京\n" * 20_000):
        with pytest.raises(IntakeError, match="does not close") as caught:
            taken(written(tmp_path, HEAD + f'李四,{B},"北京\n' + tail))
        assert caught.value.line == 3


def test_a_quote_that_never_closes_in_the_first_line(tmp_path: Path) -> None:
    with pytest.raises(IntakeError, match="does not close") as caught:
        taken(written(tmp_path, f'"{A}\n{B}\n'))
    assert caught.value.line == 1


@pytest.mark.parametrize("between", ["", f"王五,{C},北京\n"])
def test_a_stray_quote_does_not_make_people_vanish_into_one_cell(tmp_path: Path, between: str) -> None:
    content = HEAD + f'"李四,{B},北京\n{between}赵六",{D},上海\n'
    with pytest.raises(IntakeError, match="parts of other rows") as caught:
        taken(written(tmp_path, content))
    assert caught.value.line == 3


def test_a_file_changed_after_it_was_inspected_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, HEAD)
    found = inspect(path)
    written(tmp_path, HEAD + f"李四,{B},\n")
    with pytest.raises(IntakeError, match="was changed"):
        next(read(found, seen=Seen()))


def test_a_file_changed_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "".join(f"{number}\n" for number in mobiles(20_000)))
    chunks = read(inspect(path), seen=Seen())
    next(chunks)
    os.utime(path, ns=(0, 0))
    with pytest.raises(IntakeError, match="was changed"):
        list(chunks)


def test_a_long_list_comes_in_pieces_that_keep_the_order(tmp_path: Path) -> None:
    numbers = mobiles(30_000)
    found = inspect(written(tmp_path, "".join(f"{number}\r\n" for number in numbers)))
    chunks = list(read(found, seen=Seen()))
    assert len(chunks) > 2
    assert [number for chunk in chunks for number in chunk.mobiles] == numbers
    assert [line for chunk in chunks for line in chunk.lines] == list(range(1, 30_001))


cells = st.one_of(
    st.sampled_from(
        [
            A,
            B,
            C,
            D,
            f"+86{A}",
            f" {B}",
            f"{C}\t",
            f'"{C}\t"',
            f'{D}\t"',
            f'"{D}\t',
            f"{D}\t\t",
            f"{A}/{B}",
            "",
            " ",
            "x",
            "张三",
            "聕|",
            f'"{A}"',
            f'"{A}',
            f'{A}"',
            f'""{B}""',
        ]
    ),
    st.sampled_from(
        ['"', '""', '"x,y"', '"x\ny"', '"a""b"', 'a"b', '"a"b', f'"{D}\n{A}"', "\u2028", "\x0c", "\x85", "ÿ"]
    ),
    st.integers(13 * 10**9, 20 * 10**9 - 1).map(str),
    st.text(alphabet='"1358张\n\r ,', max_size=8),
)
rows = st.lists(cells, min_size=0, max_size=5)
line_ends = st.sampled_from(["\n", "\r\n", "\r"])


@given(
    content=st.lists(st.tuples(rows, line_ends), max_size=12),
    delimiter=st.sampled_from([",", "\t", "|"]),
    encoding=st.sampled_from(["utf-8", "gb18030", "utf-16-le"]),
    column=st.integers(0, 2),
    width=st.integers(1, 4),
    block_bytes=st.sampled_from([1, 5, 40, 1 << 16]),
)
@settings(max_examples=200, deadline=None)
def test_the_quick_way_and_csv_read_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    content: list[tuple[list[str], str]],
    delimiter: str,
    encoding: str,
    column: int,
    width: int,
    block_bytes: int,
) -> None:
    text = "".join(delimiter.join(row) + end for row, end in content)
    path = written(tmp_path_factory.getbasetemp(), text, encoding=encoding, name="either.csv")
    both_ways_agree(as_list(path, encoding, delimiter, column, max(width, column + 1)), block_bytes)


plain_cells = st.one_of(
    st.sampled_from(
        [A, B, C, D, f"{A}\t", f"{B}\t\t", f" {C}", f"+86{D}", f"{A}/{B}", f"{A}{B}", "１３８１２３４５６７８"]
    ),
    st.sampled_from(
        ["", " ", "x", "张三", "聕", "010-88886666", "1.38E+10", "\x00", "\ufeff", "\u2028", "\x0c", "\x85", "ÿ"]
    ),
    st.text(alphabet="1358张\x00 +", max_size=12),
)


@st.composite
def even_lists(draw: st.DrawFn) -> tuple[int, int, list[list[str]]]:
    """A width, a column, and rows of that width without a quote; now and then one that is shorter or longer."""
    width = draw(st.integers(1, 5))
    even = st.lists(plain_cells, min_size=width, max_size=width)
    odd = st.lists(plain_cells, min_size=max(1, width - 1), max_size=width + 1)
    drawn = draw(st.lists(even, min_size=1, max_size=25)) + draw(st.lists(odd, max_size=1))
    return width, draw(st.integers(0, width - 1)), draw(st.permutations(drawn))


@given(
    of=even_lists(),
    delimiter=st.sampled_from([",", "\t", ";", "|"]),
    encoding=st.sampled_from(["utf-8", "gb18030", "utf-16-le"]),
    end=line_ends,
    ends=st.booleans(),
    block_bytes=st.sampled_from([1, 7, 40, 1 << 16]),
)
@settings(max_examples=200, deadline=None)
def test_even_rows_are_read_like_any_others(
    tmp_path_factory: pytest.TempPathFactory,
    of: tuple[int, int, list[list[str]]],
    delimiter: str,
    encoding: str,
    end: str,
    ends: bool,
    block_bytes: int,
) -> None:
    width, column, content = of
    text = end.join(delimiter.join(row) for row in content) + end * ends
    path = written(tmp_path_factory.getbasetemp(), text, encoding=encoding, name="even.csv")
    both_ways_agree(as_list(path, encoding, delimiter, column, width), block_bytes)


def as_list(path: Path, encoding: str, delimiter: str, column: int, width: int) -> ListFile:
    """A list as if somebody had inspected it."""
    status = path.stat()
    return ListFile(
        path=path,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        sha256="",
        encoding=encoding,
        bom_bytes=0,
        delimiter=delimiter,
        column=column,
        column_label="",
        width=width,
        header=None,
        first_line=1,
        preview_rows=(),
    )


def both_ways_agree(list_file: ListFile, block_bytes: int) -> None:
    careful = outcome(list_file, quick=False, block_bytes=1 << 16)
    assert outcome(list_file, quick=True, block_bytes=block_bytes) == careful
    assert outcome(list_file, quick=False, block_bytes=block_bytes) == careful


def outcome(list_file: ListFile, *, quick: bool, block_bytes: int) -> object:
    if list_file.size == 0:
        return None
    try:
        return harvested(list_file, quick=quick, block_bytes=block_bytes)
    except IntakeError as error:
        return str(error)


@pytest.mark.parametrize("bad", ["", "x,{0},y,z\n", '"x",{0},y\n', "x,{0}\n"])
def test_one_odd_row_among_even_ones_changes_nothing_for_the_others(tmp_path: Path, bad: str) -> None:
    numbers = mobiles(12_000)
    content = [f"王五,{number},{at}\n" for at, number in enumerate(numbers)]
    content[7_000] = bad.format(numbers[7_000]) or content[7_000]
    found = inspect(written(tmp_path, "姓名,手机号,序\n" + "".join(content), encoding="gb18030"))
    got = harvested(found)
    assert got == harvested(found, quick=False)
    assert got.mobiles == [number for at, number in enumerate(numbers) if at != 7_000 or not bad.count("z")]


def test_a_list_of_one_column_does_not_hide_a_second_cell(tmp_path: Path) -> None:
    got = taken(written(tmp_path, f"手机号\n{A}\n{B},{C}\n+86{D}\n"))
    assert (got.mobiles, got.reasons) == ([A, D], [(3, Exclusion.MALFORMED)])


def test_the_cells_of_a_row_are_there_whichever_is_asked_for(tmp_path: Path) -> None:
    numbers = mobiles(9_000)
    path = written(tmp_path, "".join(f"{at},{number},\n" for at, number in enumerate(numbers)), encoding="gb18030")
    for chunk in read(inspect(path), seen=Seen()):
        for line in (*chunk.lines[::701], *chunk.lines[::-997]):
            assert chunk.original(line) == [str(line - 1), numbers[line - 1], ""]


def test_both_ways_read_the_same_across_many_blocks(tmp_path: Path) -> None:
    numbers = mobiles(9_000)
    lines = [
        f'{at},"王\n五",{number},"x"\n'
        if at % 997 == 0
        else f'{at},"王,五",{number},"a ""b"""\n'
        if at % 2000 < 3
        else f"{at},王五,{number},\n"
        for at, number in enumerate(numbers)
    ]
    found = inspect(written(tmp_path, "".join(lines), encoding="gb18030"))
    quick = harvested(found)
    assert quick == harvested(found, quick=False)
    assert quick.mobiles == numbers
