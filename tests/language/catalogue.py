"""The catalogue of engine/: what is in the sources, in the .po, and in the .mo. `make catalogue` brings the three together.

A .po here has one line a msgid, sorted, and no places in the sources: two people's additions merge like any other lines.
"""

from __future__ import annotations

import ast
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.cli.app import COMMANDS
from engine.simulator import __main__ as simulator

ROOT = Path(__file__).parents[2]
ENGINE = ROOT / "engine"
PO = ENGINE / "locale" / "zh_CN" / "LC_MESSAGES" / "xinshi.po"
MO = PO.with_suffix(".mo")

_MAGIC = 0x950412DE  # of a .mo, which names its byte order


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Text:
    """A text as the sources have it. `many` is "" where there is no plural."""

    one: str
    many: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """A .po: the comments and the header on its top, and each text with its translation; "" where it is missing."""

    comments: tuple[str, ...]
    header: str
    texts: Mapping[Text, str]


# ── the sources ──────────────────────────────────────────────────────────────────────────────────────────────────────


def texts_of(engine: Path) -> set[Text]:
    """Every text that the sources mark with `_`, `N_` and `_n`."""
    return {text for path in engine.rglob("*.py") for text in marked(path.read_text("utf-8"), str(path))}


def all_texts() -> set[Text]:
    """Every text for people: those, the docstrings of the commands, which are their help, and the simulator's, which marks none."""
    return texts_of(ENGINE) | {Text(one=text) for text in {*COMMANDS.texts(), *simulator.texts()}}


def marked(source: str, name: str = "") -> Iterator[Text]:
    """The texts that one module marks. Raises ValueError for one that can be no msgid."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Name(id="N_" | "_" as function), args=[argument]):
                match argument:
                    case ast.Constant(value=str(one)):
                        yield Text(one=one)
                    case ast.JoinedStr() | ast.BinOp():
                        raise ValueError(f"{name}:{node.lineno}: a text that is put together is no msgid")
                    case _ if function == "N_":
                        raise ValueError(f"{name}:{node.lineno}: N_ marks a text, not a name")
            case ast.Call(func=ast.Name(id="_n"), args=[one_of, many_of, _count]):
                match one_of, many_of:
                    case ast.Constant(value=str(one)), ast.Constant(value=str(many)):
                        yield Text(one=one, many=many)
                    case _:
                        raise ValueError(f"{name}:{node.lineno}: _n takes two texts")


def shadowed(source: str) -> list[int]:
    """The lines of functions that call `_` and also give a value to that name: they would fail when they run."""
    return [
        function.lineno
        for function in ast.walk(ast.parse(source))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        and "_"
        in {node.func.id for node in _own(function) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
        and "_" in _bound(function)
    ]


def at_import(source: str) -> list[int]:
    """The lines that translate when the module is loaded: in the language spoken then, for ever. `N_` is for them."""
    return sorted(
        node.lineno
        for node in _own(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("_", "_n")
    )


def _own(function: ast.AST) -> Iterator[ast.AST]:
    """What is in a function, without the functions in it, which have names of their own."""
    for node in ast.iter_child_nodes(function):
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _own(node)


def _bound(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> set[str]:
    given = {each.arg for each in ast.walk(function.args) if isinstance(each, ast.arg)}
    comprehended = {
        id(name) for node in _own(function) if isinstance(node, ast.comprehension) for name in ast.walk(node.target)
    }
    stored = {
        node.id
        for node in _own(function)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and id(node) not in comprehended
    }
    return given | stored


# ── the .po ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_po(po: str) -> Catalogue:
    """What a .po says. Raises ValueError for a text that stands in it twice."""
    comments: list[str] = []
    texts: dict[Text, str] = {}
    for lines in _entries(po):
        comments += [line for line in lines if line.startswith("#")]
        said = _said(lines)
        if not said:
            continue
        text = Text(one=said["msgid"], many=said.get("msgid_plural", ""))
        if text in texts:
            raise ValueError(f"twice in the catalogue: {text}")
        texts[text] = said["msgstr[0]" if text.many else "msgstr"]
    return Catalogue(comments=tuple(comments), header=texts.pop(Text(one=""), ""), texts=texts)


def _entries(po: str) -> Iterator[list[str]]:
    for block in po.split("\n\n"):
        yield [line.strip() for line in block.splitlines() if line.strip()]


def _said(lines: Iterable[str]) -> dict[str, str]:
    said: dict[str, str] = {}
    keyword = ""
    for line in lines:
        if line.startswith("#"):
            continue
        if not line.startswith('"'):
            keyword, _, line = line.partition(" ")
            said[keyword] = ""
        said[keyword] += _unquoted(line)
    return said


def _unquoted(quoted: str) -> str:
    text = ast.literal_eval(quoted)  # C's quotes are Python's for what a .po holds
    assert isinstance(text, str)
    return text


def _quoted(text: str) -> str:
    signs = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return '"' + "".join(signs.get(sign, sign) for sign in text) + '"'


def written_po(catalogue: Catalogue) -> str:
    """The one way to write a catalogue."""
    header = [line + "\n" for line in catalogue.header.splitlines()]
    top = [*catalogue.comments, 'msgid ""', 'msgstr ""', *map(_quoted, header)]
    blocks = ["\n".join(top)]
    for text, said in sorted(catalogue.texts.items()):
        lines = [f"msgid {_quoted(text.one)}"]
        lines += [f"msgid_plural {_quoted(text.many)}"] if text.many else []
        blocks.append("\n".join([*lines, f"msgstr{'[0]' if text.many else ''} {_quoted(said)}"]))
    return "\n\n".join(blocks) + "\n"


def merged(catalogue: Catalogue, texts: Iterable[Text]) -> Catalogue:
    """The catalogue with exactly these texts: what is new has no translation yet, what nobody uses is gone."""
    said = {text: catalogue.texts.get(text, "") for text in texts}
    return Catalogue(comments=catalogue.comments, header=catalogue.header, texts=said)


# ── the .mo ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def compiled(catalogue: Catalogue) -> bytes:
    """The catalogue as gettext reads it: two tables of lengths and offsets, then the texts. What is missing is left out."""
    said = {text: translation for text, translation in catalogue.texts.items() if translation}
    pairs = [(b"", catalogue.header.encode())]
    pairs += [("\0".join(filter(None, (text.one, text.many))).encode(), said[text].encode()) for text in said]
    pairs.sort()
    count, begin = len(pairs), 7 * 4
    offset = begin + count * 16
    tables, body = [b"", b""], b""
    for column in (0, 1):
        for pair in pairs:
            tables[column] += struct.pack("<II", len(pair[column]), offset + len(body))
            body += pair[column] + b"\0"
    head = struct.pack("<7I", _MAGIC, 0, count, begin, begin + count * 8, 0, offset)
    return head + tables[0] + tables[1] + body


def main() -> int:
    """Bring sources, .po and .mo together, and name what has no translation yet."""
    catalogue = merged(read_po(PO.read_text("utf-8")), all_texts())
    PO.write_text(written_po(catalogue), "utf-8")
    MO.write_bytes(compiled(catalogue))
    missing = sorted(text.one for text, said in catalogue.texts.items() if not said)
    print(f"{len(catalogue.texts)} texts, {len(missing)} without a translation", *missing, sep="\n  ")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
