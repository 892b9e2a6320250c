"""Compiles every statement once: each journal has an engine of its own, and each engine would compile all of them anew.

That was a third of what the tests of the journal took. A program has one journal, so nothing of its own is left out.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.util import LRUCache


class _Statements(LRUCache[Any, Any]):
    """What was compiled, by the statement and the kind of its dialect in place of the one dialect of an engine."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(_of_the_kind(key), default)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(_of_the_kind(key), value)


def _of_the_kind(key: Any) -> tuple[Any, ...]:
    dialect, *statement = key
    return (type(dialect), *statement)


_STATEMENTS = _Statements(2_000)


@event.listens_for(Engine, "engine_connect")
def _share(connection: Connection) -> None:
    connection.execution_options(compiled_cache=_STATEMENTS)
