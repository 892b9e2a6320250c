"""Imports point inwards: edges → runtime → stages → ports and pure modules → vocabulary. Lazy imports count too."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ENGINE = Path(__file__).parents[1] / "engine"

# Where a module belongs: the longest prefix decides.
GROUPS = {
    "engine": "exports",
    "engine.model": "vocabulary",
    "engine.records": "vocabulary",
    "engine.errors": "vocabulary",
    "engine.first_errors": "vocabulary",
    "engine.lines": "vocabulary",
    "engine.language": "vocabulary",
    "engine.moments": "vocabulary",
    "engine.clock": "vocabulary",
    "engine.crashing": "vocabulary",
    "engine.frames": "vocabulary",
    "engine.interrupts": "vocabulary",
    "engine.events": "vocabulary",
    "engine.reasons": "vocabulary",
    "engine.terms": "vocabulary",
    "engine.numbers": "vocabulary",
    "engine.settings": "settings",
    "engine.telemetry": "telemetry",
    "engine.gateway": "ports",
    "engine.gateway.http": "adapters",
    "engine.gateway.links": "adapters",
    "engine.gateway.route": "adapters",
    "engine.journal": "adapters",
    "engine.journal.port": "ports",
    "engine.journal.arrivals": "ports",
    "engine.intake": "stages",
    "engine.planning": "stages",
    "engine.dispatch": "stages",
    "engine.ledger": "stages",
    "engine.queues": "stages",
    "engine.tracking": "stages",
    "engine.results": "between",
    "engine.notify": "between",
    "engine.notify.notice": "stages",
    "engine.notify.formats": "stages",
    "engine.notify.channels": "stages",
    "engine.notify.posting": "adapters",
    "engine.notify.command": "adapters",
    "engine.runs": "runtime",
    "engine.runs.control": "adapters",
    "engine.orders": "runtime",
    "engine.orders.pipeline": "between",
    "engine.runs.settling": "between",
    "engine.runs.steering": "between",
    "engine.runs.bounds": "between",
    "engine.runs.canary": "between",
    "engine.gate": "runtime",
    "engine.live": "runtime",
    "engine.patience": "runtime",
    "engine.library": "runtime",
    "engine.trial": "runtime",
    "engine.loop": "runtime",
    "engine.runtime": "runtime",
    "engine.cli": "cli",
    "engine.__main__": "door",
    "engine.console": "console",
    "engine.simulator": "simulator",
}

# What a group may import beside its own package.
INWARDS = {
    "vocabulary": {"vocabulary"},
    "settings": {"vocabulary"},
    "telemetry": set(),
    "ports": {"vocabulary", "telemetry", "ports"},
    "stages": {"vocabulary", "telemetry", "ports"},
    "adapters": {"vocabulary", "telemetry", "ports"},
    "between": {"vocabulary", "telemetry", "ports", "stages", "adapters", "between"},
    "runtime": {"vocabulary", "settings", "telemetry", "ports", "stages", "adapters", "between", "runtime"},
    "console": {"vocabulary", "settings", "telemetry", "ports", "stages", "runtime", "exports"},
    "cli": {"vocabulary", "settings", "telemetry", "ports", "stages", "runtime", "exports", "simulator", "between"},
    "door": {"cli"},
    "simulator": set(),
    "exports": {"vocabulary", "settings", "telemetry", "ports", "stages", "runtime"},
}

# One door per third party.
DOORS = {
    "aiohttp": {
        "engine.gateway.http",
        "engine.gateway.links",
        "engine.notify.posting",
        "engine.simulator",
        "engine.console",
    },
    "yarl": {"engine.gateway.http", "engine.gateway.links"},
    "lxml": {"engine.gateway.wire"},
    "tenacity": {"engine.dispatch"},
    "aiolimiter": {"engine.dispatch"},
    "sqlalchemy": {"engine.journal"},
    "aiosqlite": {"engine.journal"},
    "alembic": {"engine.journal"},
    "uvloop": {"engine.loop", "engine.simulator"},
    "pydantic": {"engine.settings"},
    "pydantic_core": {"engine.settings"},
    "pydantic_settings": {"engine.settings"},
    "rich": {"engine.cli", "engine.console"},
    "cyclopts": {"engine.cli", "engine.console"},
    "pyroaring": {"engine.intake", "engine.runs.canary"},
    "python_calamine": {"engine.intake.sheets"},
    "redis": {"engine.queues.redis_streams"},
    "aio_pika": {"engine.queues.rabbitmq"},
    "aiokafka": {"engine.queues.kafka"},
    "pyarrow": {"engine.results.writers"},
}

Graph = Mapping[str, set[str]]


def read_imports(root: Path) -> Graph:
    """Map every module of a package to the modules it imports, wherever in the file it does."""
    paths = {_module(path, root): path for path in root.rglob("*.py")}
    return {
        name: {_existing(target, paths) for target in _imports(path, name)} - {name} for name, path in paths.items()
    }


def _module(path: Path, root: Path) -> str:
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(path: Path, name: str) -> Iterator[str]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_bytes())):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                base = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
                targets = (".".join((*base, *filter(None, [node.module]), alias.name)) for alias in node.names)
                # Not an arrow: what the package says about itself.
                yield from (target for target in targets if target != "engine.__version__")
            case ast.Call(func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__")):
                yield from (
                    arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
                )


def _existing(target: str, paths: Mapping[str, Path]) -> str:
    """Cut a name off: `from engine.model import Batch` is an import of engine.model."""
    if target.partition(".")[0] != "engine":
        return target
    while target not in paths and "." in target:
        target = target.rpartition(".")[0]
    return target


def find_violations(graph: Graph) -> list[str]:
    """Name every arrow that points outwards, every library outside its door, and a cycle if there is one."""
    found = [
        problem
        for module, targets in sorted(graph.items())
        for target in sorted(targets)
        if (problem := _violation(module, target))
    ]
    try:
        TopologicalSorter({name: {target for target in graph[name] if target in graph} for name in graph}).prepare()
    except CycleError as exc:
        found.append("cycle: " + " → ".join(exc.args[1]))
    return found


def _violation(module: str, target: str) -> str | None:
    library = target.partition(".")[0]
    if library == "engine":
        if _package(module) == _package(target) != "engine" and _may_stay_inside(module, target):
            return None
        allowed = INWARDS.get(_group(module), set())
        return None if _group(target) in allowed else f"{module} ({_group(module)}) imports {target} ({_group(target)})"
    if library in sys.stdlib_module_names:
        return None
    if library not in DOORS:
        return f"{module} imports {library}, which has no door"
    doors = DOORS[library]
    return (
        None if any(_within(module, door) for door in doors) else f"{module} imports {library} outside {sorted(doors)}"
    )


def _may_stay_inside(module: str, target: str) -> bool:
    """Within a package everything may be imported, except an adapter by what is pure beside it."""
    return _group(target) != "adapters" or _group(module) == "adapters"


def _group(module: str) -> str:
    if module == "engine":
        return "exports"
    near = [name for name in GROUPS if name != "engine" and _within(module, name)]
    return GROUPS[max(near, key=len)] if near else f"unknown to this test: {module}"


def _package(module: str) -> str:
    return ".".join(module.split(".")[:2])


def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


# ── the engine ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_arrow_points_outwards_and_no_library_comes_by_the_window() -> None:
    assert find_violations(read_imports(ENGINE)) == []


def test_every_module_has_a_place() -> None:
    assert [module for module in read_imports(ENGINE) if _group(module) not in INWARDS] == []


@pytest.mark.parametrize("statement", ["import engine", "import engine.cli"])
def test_the_command_line_starts_without_the_heavy_libraries(statement: str) -> None:
    if not hasattr(__import__("engine.cli").cli, "main"):
        pytest.skip("engine.cli has no main yet")
    heavy = ["sqlalchemy", "alembic", "aiohttp", "pydantic", "lxml", "aiosqlite"]
    code = f"{statement}; import sys, json; print(json.dumps([m for m in {heavy!r} if m in sys.modules]))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == []


# ── the checker itself ───────────────────────────────────────────────────────────────────────────────────────────────


def check(tmp_path: Path, files: Mapping[str, str]) -> list[str]:
    for name, text in files.items():
        path = tmp_path / "engine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return find_violations(read_imports(tmp_path / "engine"))


PACKAGES = {f"{name}/__init__.py": "" for name in ("gateway", "journal", "intake", "planning", "dispatch", "simulator")}
MODULES = {
    "model.py": "",
    "loop.py": "",
    "errors.py": "",
    "settings.py": "",
    "telemetry.py": "",
    "runtime.py": "",
    "__init__.py": "",
}
ADAPTERS = {"gateway/http.py": "", "gateway/wire.py": "", "journal/port.py": "", "journal/store.py": ""}
HOUSE = PACKAGES | MODULES | ADAPTERS | {"cli/__init__.py": "", "ledger/__init__.py": "", "tracking/__init__.py": ""}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("model.py", "import engine.errors"),
        ("gateway/http.py", "from engine import __version__"),
        ("settings.py", "from engine.errors import SettingsError\nimport pydantic_settings"),
        ("gateway/wire.py", "from engine import model\nfrom lxml import etree"),
        ("gateway/http.py", "from engine.gateway import wire\nimport aiohttp"),
        ("journal/store.py", "from engine.journal.port import Journal\nimport sqlalchemy.ext.asyncio"),
        ("dispatch/pace.py", "from engine.telemetry import logger\nimport aiolimiter, tenacity, asyncio"),
        ("dispatch/pool.py", "from engine.journal.port import Journal\nfrom engine.gateway.wire import read"),
        ("intake/seen.py", "from pyroaring import BitMap64\nfrom . import __doc__"),
        ("runtime.py", "from engine.journal.store import Store\nimport engine.gateway.http, engine.settings"),
        ("loop.py", "def f():\n import uvloop"),
        ("cli/__init__.py", "def f():\n from engine import runtime, simulator\n import rich"),
        ("simulator/server.py", "from aiohttp import web\nfrom engine.simulator import __doc__"),
    ],
)
def test_what_points_inwards_is_allowed(tmp_path: Path, name: str, text: str) -> None:
    assert check(tmp_path, HOUSE | {name: text}) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("model.py", "import engine.settings"),
        ("telemetry.py", "import engine.settings"),
        ("settings.py", "import engine.telemetry"),
        ("settings.py", "import engine.intake"),
        ("gateway/wire.py", "from engine.gateway.http import post"),
        ("gateway/wire.py", "from . import http"),
        ("gateway/wire.py", "import engine.intake"),
        ("gateway/wire.py", "import engine.settings"),
        ("journal/port.py", "from engine.journal.store import Store"),
        ("intake/files.py", "import engine.planning"),
        ("intake/files.py", "from ..planning import cut"),
        ("planning/cut.py", "import engine.settings"),
        ("dispatch/pool.py", "from engine.gateway.http import Gateway"),
        ("dispatch/pool.py", "def f():\n from engine.gateway import http"),
        ("dispatch/pool.py", "from engine.journal import store"),
        ("dispatch/pool.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n import engine.runtime"),
        ("dispatch/pool.py", "from importlib import import_module\nimport_module('engine.cli')"),
        ("ledger/audit.py", "import engine.cli"),
        ("ledger/audit.py", "from engine import plan"),
        ("gateway/http.py", "import engine.journal.store"),
        ("runtime.py", "import engine.cli"),
        ("cli/send.py", "from engine.journal.store import Store"),
        ("cli/send.py", "from engine.gateway.http import Gateway"),
        ("simulator/server.py", "from engine.gateway.wire import read"),
        ("simulator/server.py", "import engine.model"),
        ("gateway/wire.py", "import aiohttp"),
        ("gateway/http.py", "from lxml import etree"),
        ("gateway/http.py", "import tenacity"),
        ("runtime.py", "from aiolimiter import AsyncLimiter"),
        ("ledger/audit.py", "from sqlalchemy import select"),
        ("intake/files.py", "def f():\n import uvloop"),
        ("model.py", "from pydantic import BaseModel"),
        ("runtime.py", "import rich.table"),
        ("ledger/audit.py", "import pyroaring"),
        ("intake/files.py", "import polars"),
        ("utils.py", "import engine.model"),
    ],
)
def test_what_points_outwards_is_found(tmp_path: Path, name: str, text: str) -> None:
    assert len(check(tmp_path, HOUSE | {name: text})) == 1


def test_a_cycle_is_found(tmp_path: Path) -> None:
    files = {"intake/a.py": "import engine.intake.b", "intake/b.py": "def f():\n from .a import x"}
    (found,) = check(tmp_path, HOUSE | files)
    assert found.startswith("cycle: engine.intake.")


def test_a_cycle_through_a_package_is_found(tmp_path: Path) -> None:
    files = {"intake/__init__.py": "from engine.intake.a import x", "intake/a.py": "from engine.intake import y"}
    (found,) = check(tmp_path, HOUSE | files)
    assert found.startswith("cycle: engine.intake")
