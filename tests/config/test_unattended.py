"""The cron and systemd examples: systemd takes them, the command line knows every word, the numbers fit the program's."""

from __future__ import annotations

import re
import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest

from engine.cli.app import made
from engine.notify.outbox import FLUSH_S
from engine.settings import load_settings

CONFIG = Path(__file__).parents[2] / "config"
UNITS = sorted((CONFIG / "systemd").iterdir())


def unit(path: Path) -> RawConfigParser:
    parsed = RawConfigParser(strict=False)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read(path)
    return parsed


def commands() -> list[str]:
    """What the examples start, without its path."""
    texts = [path.read_text() for path in (*UNITS, CONFIG / "crontab")]
    return [
        found for text in texts for found in re.findall(r"^[^#\n]*?/usr/local/bin/(xinshi .+)$", text, re.MULTILINE)
    ]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_takes_every_unit(tmp_path: Path) -> None:
    for path in UNITS:
        # Only the program's own place differs.
        (tmp_path / path.name).write_text(path.read_text().replace("/usr/local/bin/xinshi", "/bin/true"))
    names = [str(tmp_path / path.name.replace("@.", "@spring.")) for path in UNITS]
    for name in names:
        if "@spring" in name:
            Path(name).write_text(Path(name.replace("@spring.", "@.")).read_text())
    run = subprocess.run(["systemd-analyze", "verify", *names], capture_output=True, text=True)
    mine = [line for line in run.stderr.splitlines() if "xinshi" in line and "/usr/lib" not in line]
    assert (run.returncode, mine) == (0, []), run.stderr


def test_every_word_of_the_examples_is_one_of_the_command_line() -> None:
    found = commands()
    assert [command.split()[1] for command in found] == ["track", "run", "run", "track", "backup"]
    for command in found:
        words = re.sub(r"\$\([^)]*\)", "DATE", re.sub(r" 2>\S+", "", command)).split()[1:]
        made().parse_args(words, exit_on_error=False, print_error=False)


def test_a_stop_is_given_all_the_time_it_may_need(tmp_path: Path) -> None:
    settings = load_settings(overrides={}, environ={"HOME": str(tmp_path)})
    longest_s = settings.timeouts.grace_s + settings.timeouts.answer_s + FLUSH_S
    given_s = float(unit(CONFIG / "systemd" / "xinshi@.service")["Service"]["TimeoutStopSec"])
    assert given_s >= longest_s
    assert float(re.findall(r"--kill-after=(\d+)", (CONFIG / "crontab").read_text())[0]) >= longest_s


def test_the_password_is_in_no_command_and_no_unit() -> None:
    for path in UNITS:
        if path.suffix == ".service":
            service = path.read_text()
            assert "PASSWORD=" not in service
            assert "LoadCredential=password:" in service


def test_cron_reads_every_line() -> None:
    for line in (CONFIG / "crontab").read_text().splitlines():
        if not line or line.startswith("#") or re.match(r"[A-Z_]+=", line):
            continue
        minute, hour, day, month, weekday, user, command = line.split(maxsplit=6)
        for field in (minute, hour, day, month, weekday):
            assert re.fullmatch(r"\*(/\d+)?|\d+(-\d+)?", field), line
        assert user == "xinshi"
        assert not re.search(r"(?<!\\)%", command), "cron ends a command at a percent sign"
