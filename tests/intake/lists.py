"""List files for tests, and what reading them gives."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.intake import ListFile, Seen, inspect
from engine.intake.reader import _read
from engine.model import Excluded, Exclusion


@dataclass
class Taken:
    """All chunks of a list, laid end to end."""

    rows: int
    extra: int
    mobiles: list[str]
    lines: list[int]
    excluded: list[Excluded]

    @property
    def reasons(self) -> list[tuple[int, Exclusion]]:
        return [(row.line, row.reason) for row in self.excluded]


def written(folder: Path, content: str | bytes, *, encoding: str = "utf-8", name: str = "list.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def taken(path: Path, *, seen: Seen | None = None, **how: str | None) -> Taken:
    return harvested(inspect(path, **how), seen=seen)


def zipped(files: Mapping[str, bytes], *, utf8_names: bool = True) -> bytes:
    """A .zip. Without `utf8_names`, names are GBK and not flagged, as Windows writes them in China."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(
                zipfile.ZipInfo(name if utf8_names else "N" * len(name.encode("gbk"))), content, zipfile.ZIP_DEFLATED
            )
    data = out.getvalue()
    for name in () if utf8_names else files:  # zipfile cannot write them: letters of the same length make room
        raw = name.encode("gbk")
        data = data.replace(b"N" * len(raw), raw)
    return data


def flagged(archive: bytes, *, add: int = 0, drop: int = 0) -> bytes:
    """A .zip with other flags in every header, local and central."""
    data = bytearray(archive)
    for magic, at_flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(magic)
        while at >= 0:
            (flags,) = struct.unpack_from("<H", data, at + at_flags)
            struct.pack_into("<H", data, at + at_flags, (flags | add) & ~drop)
            at = data.find(magic, at + 4)
    return bytes(data)


def harvested(
    list_file: ListFile, *, seen: Seen | None = None, quick: bool = True, block_bytes: int = 1 << 16
) -> Taken:
    """Read it all; the law of conservation is checked for every chunk of every test."""
    all_of_it = Taken(0, 0, [], [], [])
    known = Seen() if seen is None else seen
    for chunk in _read(list_file, seen=known, quick=quick, block_bytes=block_bytes):
        assert chunk.rows + chunk.extra == len(chunk.mobiles) + len(chunk.excluded)
        assert len(chunk.mobiles) == len(chunk.lines)
        assert chunk.lines == sorted(chunk.lines)
        all_of_it.rows += chunk.rows
        all_of_it.extra += chunk.extra
        all_of_it.mobiles += chunk.mobiles
        all_of_it.lines += chunk.lines
        all_of_it.excluded += chunk.excluded
    assert len(set(all_of_it.mobiles)) == len(all_of_it.mobiles)
    return all_of_it
