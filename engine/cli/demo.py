"""`xinshi demo`: the whole way on loopback, with a simulated gateway and a generated list."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.cli import commands, out
from engine.cli.words import Common, Order
from engine.interrupts import ended_by_signals
from engine.language import _
from engine.orders.pipeline import Pipeline, module_environ

_TEXT = "亲爱的会员，春季新品全场八折，三天有效，到店出示本短信即可。回T退订"
_SIGNATURE = "信使演示"
_SURNAMES = "王李张刘陈杨黄赵周吴徐孙马朱胡郭何林高罗"
_CITIES = ("北京", "上海", "广州", "深圳", "杭州", "成都", "武汉", "西安")


def run(rows: int, common: Common) -> int:
    """Everything in a new folder of its own, which stays: its journal can be looked at afterwards."""
    for name in [name for name in os.environ if name.startswith("XINSHI_")]:
        del os.environ[name]  # a variable goes over the file: it could lead the demo to a real gateway
    folder = Path(tempfile.mkdtemp(prefix="xinshi-demo-"))
    listed = folder / "customers.csv"
    out.tell(
        common,
        _("A customer list as a CRM exports it: {rows:,} rows, GB18030, with the usual dirt.\n").format(rows=rows),
    )
    write_list(listed, rows)
    with ended_by_signals(), _simulator() as url:
        out.tell(common, _("A simulated gateway on {url}; nothing leaves this machine.\n").format(url=url))
        config = folder / "xinshi.toml"
        config.write_text(_settings(url), encoding="utf-8")
        _secret_file(folder / "password", "demo")
        mine = Common(config=config, json=common.json, verbose=common.verbose, quiet=common.quiet)
        order = Order(text=_TEXT, signature=_SIGNATURE, campaign="demo", kind="marketing")
        with Pipeline(listed) as reading:
            code = commands.send([listed], order, mine, reading, yes=True, signed=None)
    out.tell(
        common,
        _(
            "\n"
            "Look at it again:      xinshi status demo --config {config}\n"
            "The journal itself:    {journal} (any SQLite browser opens it)\n"
            "With your own account: copy config/xinshi.toml, fill in [account], then `xinshi check`\n"
        ).format(config=config, journal=folder / "xinshi.db"),
    )
    return code


def write_list(path: Path, rows: int, *, seed: int = 1) -> None:
    """A dirty list of `rows` rows in GB18030: duplicates, +86 and spaced numbers, landlines, blanks. Same seed, same list."""
    with path.open("w", encoding="gb18030", newline="") as file:
        file.write("编号,姓名,手机号,城市,等级,备注\r\n")
        file.writelines(_rows(rows, random.Random(seed)))  # noqa: S311  test data, not a secret


def _rows(rows: int, chance: random.Random) -> Iterator[str]:
    numbers: list[str] = []
    for row in range(1, rows + 1):
        name = chance.choice(_SURNAMES) + chance.choice(("女士", "先生"))
        number = _number(row, chance, numbers)
        yield f"{row},{name},{number},{chance.choice(_CITIES)},{chance.randint(1, 5)},\r\n"


def _number(row: int, chance: random.Random, numbers: list[str]) -> str:
    fresh = f"1{3 + row % 7}{(row * 7919) % 10**9:09d}"  # distinct: 7919 has no factor in common with 10**9
    kind = chance.random()
    if kind < 0.90:
        numbers.append(fresh)
        return fresh
    if kind < 0.93 and numbers:
        return chance.choice(numbers)
    return {
        0: f"+86{fresh}",
        1: f"+86 {fresh[:3]} {fresh[3:7]} {fresh[7:]}",
        2: f"{fresh[:3]}-{fresh[3:7]}-{fresh[7:]}",
        3: f"010-{chance.randint(60000000, 69999999)}",
        4: "",
        5: fresh[:9],
    }[chance.randrange(6)]


@contextmanager
def _simulator() -> Iterator[str]:
    """The simulator in a process of its own, on a free port; ended with the block."""
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "engine.simulator", "--port", "0", "--password", "demo", "--points", "1000000"],
        env=module_environ(),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for the sender; the gateway stays until the sender is done
    ) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()
            process.wait()  # after Ctrl-C the end of the block would not


def _settings(url: str) -> str:
    return (
        "# made by `xinshi demo`\n"
        f'[account]\nurl = "{url}"\nuserid = "12"\naccount = "demo"\npassword_file = "password"\n\n'
        "[pace]\nrequests_per_second = 0\nin_flight = 16\n\n"
        '[journal]\nurl = "xinshi.db"\n'
    )


def _secret_file(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
