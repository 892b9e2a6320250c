"""What must not be in the project: addresses of registries and vendors, and anybody's number."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.numbers import mobile, mobiles

ROOT = Path(__file__).parents[1]
SEARCHED = ("engine", "tests", "config", "benchmarks", "README.md", "README.zh-CN.md")
LOCKS = ("requirements.lock", "requirements-test.lock")

MOBILE = re.compile(r"(?<!\d)(?:86|0086)?1[3-9]\d{9}(?!\d)")
ADDRESS = re.compile(r"\b(?:https?|ftp|wss?)://(?:[^\s/@\"'`]*@)?(\[[0-9a-f:.]*\]|[\w.{}%*-]+)", re.IGNORECASE)
NAME = re.compile(r"(?<![\w.-])(?:[a-z0-9-]+\.)+(?:cn|com|net|org|cc)(?![\w-]|\.\w)")  # small letters: ASP.NET is none
IPV4 = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])")

# This machine; what is reserved for examples; a word that a reader replaces (host, {host}).
ALLOWED = re.compile(
    r"127(\.\d+){3}|0\.0\.0\.0|\[::1?\]|(192\.0\.2|198\.51\.100|203\.0\.113)\.\d+"
    r"|(.+\.)?(example|test|invalid|localhost)|(.+\.)?example\.(com|net|org)|[\w-]+|.*[{}%].*",
    re.IGNORECASE,
)


def texts() -> Iterator[tuple[str, str]]:
    for name in SEARCHED:
        top = ROOT / name
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and "__pycache__" not in path.parts:
                yield str(path.relative_to(ROOT)), path.read_bytes().decode("utf-8", "replace")


def foreign_hosts(text: str) -> list[str]:
    hosts = [found[1] for found in ADDRESS.finditer(text)] + NAME.findall(text) + IPV4.findall(text)
    return [host for host in hosts if not ALLOWED.fullmatch(host)]


def test_nobody_s_number_is_written_down() -> None:
    assert [(name, found) for name, text in texts() if (found := MOBILE.findall(text))] == []


def test_no_host_but_this_machine_and_examples_is_written_down() -> None:
    assert [(name, found) for name, text in texts() if (found := foreign_hosts(text))] == []


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_file_has_hashes_and_no_address(name: str) -> None:
    lines = (ROOT / name).read_text().splitlines()
    pinned = [line for line in lines if "==" in line]
    assert len(pinned) > 10
    assert [line for line in lines if "://" in line or "index" in line.partition("==")[0]] == []
    assert sum("--hash=" in line for line in lines) >= len(pinned)
    assert all(line.endswith("\\") for line in pinned)


@pytest.mark.parametrize("name", ["uv.lock", "pylock.toml", "poetry.lock", "Pipfile.lock", ".env"])
def test_a_file_with_addresses_or_secrets_does_not_exist(name: str) -> None:
    assert not (ROOT / name).exists()


@pytest.mark.parametrize(
    ("kind", "holds"),
    [
        ("wheel", {"engine/locale/zh_CN/LC_MESSAGES/xinshi.mo", "engine/config/xinshi.toml", "engine/py.typed"}),
        ("sdist", {"engine/locale/zh_CN/LC_MESSAGES/xinshi.mo", "README.md", "README.zh-CN.md", "requirements.lock"}),
    ],
)
def test_what_is_built_holds_the_catalogue_the_settings_and_both_readmes(
    kind: str, holds: set[str], tmp_path: Path
) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (made,) = tmp_path.iterdir()
    assert holds - held(made) == set()


def held(archive: Path) -> set[str]:
    """The names in a wheel, or in an sdist below its own folder."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return set(wheel.namelist())
    with tarfile.open(archive) as sdist:
        return {name.partition("/")[2] for name in sdist.getnames()}


# ── the searches themselves ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("form", ["{}", "86{}", '"{}"', "a,{},b", "{}.0", "{}x"])
def test_a_number_would_be_found(form: str) -> None:
    assert MOBILE.search(form.format(mobile()))


def test_a_task_id_is_not_taken_for_a_number() -> None:
    assert not MOBILE.search("1911044500010583")


def dotted(*parts: object) -> str:
    return ".".join(map(str, parts))


@pytest.mark.parametrize(
    "host", [dotted("sms", "vendor", "com"), dotted("vendor", "cn"), dotted(10, 1, 2, 3), dotted("a", "example", "co")]
)
def test_a_foreign_host_would_be_found(host: str) -> None:
    assert foreign_hosts(f"post to http://{host}:8888/sms.aspx")


def test_a_foreign_host_without_a_scheme_would_be_found() -> None:
    assert foreign_hosts(f"post to {dotted('sms', 'vendor', 'cn')}.") == [dotted("sms", "vendor", "cn")]


@pytest.mark.parametrize(
    "text",
    ["http://127.0.0.1:8888/x", "http://localhost", "https://sms.example.com/", "http://host:port", "http://[::1]:80"],
)
def test_this_machine_and_examples_may_be_written(text: str) -> None:
    assert foreign_hosts(text) == []


# ── the numbers of the tests ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_numbers_of_the_tests_are_valid_distinct_and_repeatable() -> None:
    numbers = mobiles(20_000)
    assert len(set(numbers)) == 20_000
    assert all(re.fullmatch(r"1[3-9][0-9]{9}", number) for number in numbers)
    assert mobiles(10) == numbers[:10]
    assert set(mobiles(1000, seed=2)).isdisjoint(numbers)
