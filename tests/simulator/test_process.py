from __future__ import annotations

import ast
import asyncio
import json
import os
import signal
import socket
import sys

import aiohttp
import pytest

from engine.simulator import SimulatorSettings, serve
from tests.simulator.process import FOLDER, started


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_process_says_where_it_is_and_ends_cleanly(number: signal.Signals) -> None:
    faults = ("--fault", "http_500=1", "--fault", "drop_answer=0.5")
    async with started("--port", "0", "--points", "77", *faults) as process:
        assert process.stdout is not None
        said = json.loads(await process.stdout.readline())
        async with aiohttp.ClientSession() as session, session.get(said["url"] + "/_simulator/truth") as answer:
            assert (await answer.json())["opening"] == 77
        process.send_signal(number)
        out, errors = await process.communicate()

    assert (said["pid"], process.returncode, out, errors) == (process.pid, 0, b"", b"")


async def test_a_process_whose_address_nobody_reads_ends_without_a_word() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "engine.simulator", "--port", "0",
            stdout=writing, stderr=asyncio.subprocess.PIPE, cwd=FOLDER.parents[1],
        )  # fmt: skip
    finally:
        os.close(writing)
    _, errors = await process.communicate()

    assert (process.returncode, errors) == (1, b"")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--host", "0.0.0.0"], b"loopback"),
        (["--fault", "nonsense=1"], b"drop_answer"),
        (["--fault", "http_500"], b"NAME=SHARE"),
        (["--fault", "http_500=3"], b"probability"),
    ],
)
async def test_impossible_settings_are_exit_2(arguments: list[str], problem: bytes) -> None:
    async with started(*arguments) as process, asyncio.timeout(100):
        out, errors = await process.communicate()

    assert (process.returncode, out) == (2, b"")
    assert problem in errors


async def test_serve_announces_and_stops() -> None:
    stop, said = asyncio.Event(), []

    def announce(url: str) -> None:
        said.append(url)
        stop.set()

    await serve(SimulatorSettings(), announce=announce, stop=stop)

    assert said[0].startswith("http://127.0.0.1:")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "localhost", "", "fe80::1"])
def test_other_machines_are_never_let_in(host: str) -> None:
    with pytest.raises(ValueError, match="loopback"):
        SimulatorSettings(host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1"])
def test_every_loopback_address_will_do(host: str) -> None:
    assert SimulatorSettings(host=host).host == host


async def test_ipv6_loopback_works() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    stop = asyncio.Event()
    try:
        await serve(SimulatorSettings(host="::1"), announce=lambda url: (_in_brackets(url), stop.set())[1], stop=stop)
    except OSError as problem:
        pytest.skip(f"no IPv6 here: {problem}")


def _in_brackets(url: str) -> None:
    assert url.startswith("http://[::1]:")


def test_a_taken_port_is_an_error() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        async def occupied() -> None:
            await serve(SimulatorSettings(port=port), announce=lambda _url: None, stop=asyncio.Event())

        with pytest.raises(OSError, match=r"[Aa]ddress already in use"):
            asyncio.run(occupied())


def test_nothing_of_the_engine_is_imported() -> None:
    imported = set()
    for file in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file.name}: a relative import"
                imported.add(node.module or "")
    ours = {name for name in imported if name.split(".")[0] == "engine"}
    assert ours
    assert all(name == "engine.simulator" or name.startswith("engine.simulator.") for name in ours), ours


@pytest.mark.parametrize(
    "wrong",
    [
        {"undelivered": 2.0}, {"repeated": -1.0}, {"unreported": 2.0}, {"interim": -0.1}, {"late": 1.1},
        {"reordered": 9.0}, {"status_words": -1.0}, {"rate_limit": -1}, {"rate_window_s": 0.0}, {"clock_speed": 0.0},
        {"late_s": 0.5}, {"foreign_per_s": -1.0}, {"top_up_at_request": -1}, {"top_up_points": -5},
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        SimulatorSettings(**wrong)
