"""The tests read English, whatever this machine speaks, and write into memory where there is room for it."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import tests.compiled  # noqa: F401  for the whole session
from tests.forking import Forking

os.environ["XINSHI_LANG"] = "en"
gc.disable()  # until all tests are loaded
if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # in the background of a shell; what the tests start would ignore it too
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples every time, however slow the machine is. HYPOTHESIS_PROFILE=wide looks for new ones.
settings.register_profile(
    "steady", derandomize=True, max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("wide", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=1_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

_MEMORY, _ROOM_BYTES = Path("/dev/shm"), 4 << 30
# Every commit waits for its file: on a disk that others use that took more time than what is tested. A killed process leaves
# the same files there as anywhere; only a power cut would not, which no test can make.
if "TMPDIR" not in os.environ and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM_BYTES:
    os.environ["TMPDIR"] = str(_MEMORY)
    tempfile.tempdir = None  # what caught the output has asked before, and the answer is kept


def pytest_collection_finish() -> None:
    """What was loaded is there to stay: no search for rubbish looks at it, neither meanwhile nor again."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="module")
def forking() -> Iterator[None]:
    """What reads lists and workbooks is forked from here, in place of an interpreter for each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", Forking)
        yield
