"""Workbooks for tests, written by hand: no library that writes them is needed. Each gives the bytes of a file.

A cell is a text, a number, a bool, a date (Excel's serial day with the format of a date), an Error, or None for no cell at all.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

# The names that readers go by. They look like addresses, and nothing is ever fetched from them.
_NAMES = ".".join(("schemas", "openxmlformats", "org"))
_MAIN = f"http://{_NAMES}/spreadsheetml/2006/main"
_OFFICE = f"http://{_NAMES}/officeDocument/2006/relationships"
_PACKAGE = f"http://{_NAMES}/package/2006"


@dataclass(frozen=True)
class Date:
    """A cell that is shown as a date: `serial` days since 1899-12-30."""

    serial: float


@dataclass(frozen=True)
class Error:
    """A cell that failed to compute."""

    text: str = "#N/A"


@dataclass(frozen=True)
class At:
    """A cell at a place of its own, such as XFD1048576."""

    reference: str
    value: float


Cell = str | float | bool | Date | Error | At | None
Rows = Sequence[Sequence[Cell]]


def xlsx(sheets: Mapping[str, Rows], *, hidden: Sequence[str] = (), padding: int = 0) -> bytes:
    """`padding`: bytes of zeros in a further member."""
    names = list(sheets)
    states = {name: ' state="hidden"' if name in hidden else "" for name in names}
    listed = "".join(
        f'<sheet name={quoteattr(name)} sheetId="{at}"{states[name]} r:id="r{at}"/>' for at, name in enumerate(names, 1)
    )
    targets = "".join(
        f'<Relationship Id="r{at}" Type="{_OFFICE}/worksheet" Target="worksheets/sheet{at}.xml"/>'
        for at, _ in enumerate(names, 1)
    )
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types"><Default Extension="xml" ContentType="application/xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r1" Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>{listed}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">{targets}<Relationship Id="rs" Type="{_OFFICE}/styles" Target="styles.xml"/></Relationships>',
        "xl/styles.xml": f'<styleSheet xmlns="{_MAIN}"><cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></styleSheet>',
    }
    for at, rows in enumerate(sheets.values(), 1):
        body = "".join(_xlsx_row(number, cells) for number, cells in enumerate(rows, 1))
        parts[f"xl/worksheets/sheet{at}.xml"] = f'<worksheet xmlns="{_MAIN}"><sheetData>{body}</sheetData></worksheet>'
    return _zipped(parts, padding)


def _xlsx_row(number: int, cells: Sequence[Cell]) -> str:
    return (
        f'<row r="{number}">'
        + "".join(_xlsx_cell(f"{_letters(at)}{number}", cell) for at, cell in enumerate(cells))
        + "</row>"
    )


def _xlsx_cell(reference: str, cell: Cell) -> str:
    match cell:
        case None:
            return ""
        case bool():
            return f'<c r="{reference}" t="b"><v>{int(cell)}</v></c>'
        case str():
            return f'<c r="{reference}" t="inlineStr"><is><t xml:space="preserve">{escape(cell)}</t></is></c>'
        case Date():
            return f'<c r="{reference}" s="1"><v>{cell.serial!r}</v></c>'
        case Error():
            return f'<c r="{reference}" t="e"><v>{cell.text}</v></c>'
        case At():
            return f'<c r="{cell.reference}"><v>{cell.value!r}</v></c>'
        case _:
            return f'<c r="{reference}"><v>{cell!r}</v></c>'


def _letters(column: int) -> str:
    return chr(65 + column)


def ods(sheets: Mapping[str, Rows]) -> bytes:
    tables = "".join(
        f"<table:table table:name={quoteattr(name)}>"
        + "".join("<table:table-row>" + "".join(map(_ods_cell, cells)) + "</table:table-row>" for cells in rows)
        + "</table:table>"
        for name, rows in sheets.items()
    )
    spaces = " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "table", "text")
    )
    content = f"<office:document-content {spaces}><office:body><office:spreadsheet>{tables}</office:spreadsheet></office:body></office:document-content>"
    manifest = '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>'
    return _zipped(
        {
            "mimetype": "application/vnd.oasis.opendocument.spreadsheet",
            "content.xml": content,
            "META-INF/manifest.xml": manifest,
        }
    )


def _ods_cell(cell: Cell) -> str:
    match cell:
        case None:
            return "<table:table-cell/>"
        case str():
            return f'<table:table-cell office:value-type="string"><text:p>{escape(cell)}</text:p></table:table-cell>'
        case bool():
            return f'<table:table-cell office:value-type="boolean" office:boolean-value="{str(cell).lower()}"/>'
        case float() | int():
            return f'<table:table-cell office:value-type="float" office:value="{cell!r}"/>'
        case _:
            raise TypeError(cell)


def _zipped(parts: Mapping[str, str], padding: int = 0) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
        if padding:
            with archive.open("xl/media/image.png", "w", force_zip64=True) as file:
                for _ in range(padding >> 20):
                    file.write(bytes(1 << 20))
    return out.getvalue()


# The old format: records in a stream, in a container that is a little file system. Only what a reader needs to find them.

_SECTOR = 512
_END, _FREE, _FAT = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD


def xls(rows: Rows, *, sheet: str = "Sheet1") -> bytes:
    """A workbook of Excel 97 with one sheet: texts and numbers."""
    begin = _record(0x0809, struct.pack("<HHHHII", 0x0600, 0x0005, 0, 0, 0, 0x0600))
    end = _record(0x000A)
    name = sheet.encode("utf-16-le")

    def bound(at: int) -> bytes:
        return _record(0x0085, struct.pack("<IBBBB", at, 0, 0, len(sheet), 1) + name)

    book = begin + _record(0x0042, struct.pack("<H", 1200)) + bound(len(begin) + 6 + len(bound(0)) + len(end)) + end
    width = max(map(len, rows), default=0)
    body = _record(0x0809, struct.pack("<HHHHII", 0x0600, 0x0010, 0, 0, 0, 0x0600))
    body += _record(0x0200, struct.pack("<IIHHH", 0, len(rows), 0, width, 0))
    for number, cells in enumerate(rows):
        for at, cell in enumerate(cells):
            place = struct.pack("<HHH", number, at, 0)
            if isinstance(cell, str):
                body += _record(0x0204, place + struct.pack("<HB", len(cell), 1) + cell.encode("utf-16-le"))
            elif isinstance(cell, (int, float)):
                body += _record(0x0203, place + struct.pack("<d", cell))
    return ole({"Workbook": book + body + end})


def protected() -> bytes:
    """What Excel writes for a workbook with a password: the workbook, encrypted, as a stream."""
    return ole({"EncryptionInfo": bytes(4096), "EncryptedPackage": bytes(4096)})


def ole(streams: Mapping[str, bytes]) -> bytes:
    """A compound file. Streams are padded to 4,096 bytes, below which they would stand in a place of their own."""
    first, chains, data, entries = 2, [_FAT, _END], b"", [_entry("Root Entry", 5, _END, 0, child=1)]
    for at, (name, stream) in enumerate(streams.items(), start=1):
        padded = stream.ljust(max(4096, -(-len(stream) // _SECTOR) * _SECTOR), b"\0")
        count = len(padded) // _SECTOR
        chains += [*range(first + 1, first + count), _END]
        entries.append(_entry(name, 2, first, len(padded), right=at + 1 if at < len(streams) else _FREE))
        data += padded
        first += count
    fat = struct.pack("<128I", *chains, *[_FREE] * (128 - len(chains)))
    directory = b"".join(entries).ljust(_SECTOR, b"\0")
    header = struct.pack(
        "<8s16xHHHHH6xIII4xIIIII",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        0x3E,
        3,
        0xFFFE,
        9,
        6,
        0,
        1,
        1,
        4096,
        _END,
        0,
        _END,
        0,
    )
    return header + struct.pack("<109I", 0, *[_FREE] * 108) + fat + directory + data


def _entry(name: str, kind: int, start: int, size: int, *, child: int = _FREE, right: int = _FREE) -> bytes:
    raw = name.encode("utf-16-le") + b"\0\0"
    return struct.pack("<64sHBBIII36xIQ", raw, len(raw), kind, 1, _FREE, right, child, start, size)


def _record(kind: int, data: bytes = b"") -> bytes:
    return struct.pack("<HH", kind, len(data)) + data
