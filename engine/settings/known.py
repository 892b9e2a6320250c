"""Which keys there are, and which is meant by one that is not."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from pydantic import BaseModel

from engine.language import _
from engine.settings.keys import SECRETS, Key, dotted_key
from engine.settings.sections import NAMED, Document


def keys_of(model: type[BaseModel]) -> Iterator[Key]:
    """Every key that takes a value, in the order of the sample. Those of named accounts and queues are left out."""
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from ((name, *key) for key in keys_of(info.annotation))
        elif name not in NAMED:
            yield (name,)


def is_key(key: Key) -> bool:
    return (len(key) > 2 and key[0] in NAMED and key[2:] in keys_of(NAMED[key[0]])) or key in keys_of(Document)


def _table(key: Key) -> type[BaseModel]:
    """The model of the table that holds this key."""
    model: type[BaseModel] = Document
    named = len(key) > 2 and key[0] in NAMED
    if named:
        model = NAMED[key[0]]
    for part in key[2:-1] if named else key[:-1]:
        annotation = model.model_fields[part].annotation
        assert isinstance(annotation, type)
        model = annotation
    return model


def allowed(key: Key) -> str:
    """What a key takes, in words."""
    return _(str(_table(key).model_fields[key[-1]].description))


def trimmed(key: Key) -> Key:
    """Drop what pydantic appends for the member of a union."""
    return next((key[:length] for length in range(len(key), 0, -1) if is_key(key[:length])), key)


def nearest_key(key: Key) -> str:
    """Suggest a neighbour in the same table, else the same name in another table, else what the table knows."""
    neighbours = [name for name in _table(key).model_fields if name not in SECRETS]
    if near := get_close_matches(key[-1], neighbours, n=1):
        return _("; did you mean {name}?").format(name=near[0])
    elsewhere = [dotted_key(found) for found in keys_of(Document) if found[-1] == key[-1]]
    return (
        _("; did you mean {name}?").format(name=elsewhere[0])
        if elsewhere
        else _("; known are {names}").format(names=", ".join(neighbours))
    )


def hint_at(name: str, candidates: list[str]) -> str:
    near = get_close_matches(name, candidates, n=1)
    return _("; did you mean {name}?").format(name=near[0]) if near else ""
