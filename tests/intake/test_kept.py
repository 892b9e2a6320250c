"""Copies of lists: what is unpacked of one is all of it, or an error."""

from __future__ import annotations

import gzip
import hashlib
import os
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.errors import IntakeError
from engine.intake.kept import KeptList, kept_copy
from tests.numbers import mobiles

CONTENT = "\n".join(["手机号", *mobiles(500)]).encode()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    copy = kept_copy(tmp_path, hashlib.sha256(CONTENT).hexdigest())
    copy.write_bytes(gzip.compress(CONTENT))
    return copy


@contextmanager
def room_for(most: int) -> Iterator[None]:
    """No file grows beyond so many bytes: the write that meets the end is cut short, and only the next one fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_copy_is_the_list(copy: Path) -> None:
    kept = KeptList(copy, path=Path("list.csv"), source="list.csv")
    with kept.opened() as file:
        assert file.read() == CONTENT
    assert (f"{kept.sha256}.gz", kept.size) == (copy.name, len(CONTENT))
    kept.close()


def test_a_copy_for_which_there_is_no_room_is_an_error_and_not_a_shorter_list(copy: Path) -> None:
    with room_for(len(CONTENT) - 10), pytest.raises(IntakeError, match="cannot be read"):
        KeptList(copy, path=Path("list.csv"), source="list.csv")


def test_a_copy_that_can_be_unpacked_nowhere_is_an_error(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", os.fspath(copy.parent / "gone"))
    with pytest.raises(IntakeError, match="cannot be read"):
        KeptList(copy, path=Path("list.csv"), source="list.csv")
