"""Where a queue is, who reads it, and that no password is anywhere in between."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from engine.errors import SettingsError
from engine.queues.source import GROUP, Address, Terms, open_source, parse_address

TERMS = Terms(consumer="me")


def test_an_address_is_taken_apart() -> None:
    assert parse_address("kafka://sender@127.0.0.1:9092,localhost/a%2Fb?group=g&sasl=SCRAM-SHA-256") == Address(
        scheme="kafka",
        hosts=(("127.0.0.1", 9092), ("localhost", None)),
        path=("a/b",),
        user="sender",
        options=(("group", "g"), ("sasl", "SCRAM-SHA-256")),
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("redis://127.0.0.1:1/s?group=a", "redis://user@127.0.0.1:1/s?group=b"),
        ("kafka://a:1,b:2/t", "kafka://b:2,a:1/t"),
        ("amqp://[::1]:5/q", "amqp://guest@[::1]:5/q"),
    ],
)
def test_one_queue_has_one_name_whoever_reads_it(one: str, other: str) -> None:
    assert parse_address(one).name == parse_address(other).name


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis://user:secret@host/s", "a password does not belong in an address"),
        ("redis://:secret@host/s", "a password does not belong in an address"),
        ("redis://host", "names no queue"),
        ("redis://host/", "names no queue"),
        ("redis:///s", "scheme://host:port/queue"),
        ("notices", "scheme://host:port/queue"),
        ("redis://host:99999/s", "no host and port"),
        ("redis://host:x/s", "no host and port"),
        ("kafka://a,,b/t", "no host and port"),
        ("redis://host/1/2/3", "redis://host:port/"),
        ("redis://host/s?grup=x", "unknown option grup; known are group"),
        ("amqp://host/q?group=x", "unknown option group"),
        ("amqp://host/a/b/c", "amqp://host:port/"),
        ("amqp://a,b/q", "amqp://host:port/"),
        ("kafka://host/a/b", "kafka://host:port/topic"),
        ("nats://host/s", "nats:// is no queue known here; known are redis, rediss, amqp, amqps, kafka, kafkas"),
    ],
)
async def test_an_address_that_is_none_says_what_is_wrong_and_no_password(url: str, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        open_source(parse_address(url), TERMS)
    assert problem in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.fixture
def somebody_s_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed distribution with an entry point of ours."""
    info = tmp_path / "somebody-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: somebody\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\nnats = somebodys_nats:Nats\n")
    (tmp_path / "somebodys_nats.py").write_text(
        "class Nats:\n    def __init__(self, address, terms):\n        self.name, self.consumer = address.name, terms.consumer\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("somebody_s_package")
def test_a_third_party_s_source_is_found_by_its_scheme() -> None:
    source = open_source(parse_address("nats://host:1/s"), TERMS)
    assert (source.name, source.consumer) == ("nats://host:1/s", "me")  # type: ignore[attr-defined]
    with pytest.raises(SettingsError, match=r"known are .*, nats"):
        open_source(parse_address("sqs://host/s"), TERMS)


def test_a_library_that_is_not_there_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiokafka", None)
    monkeypatch.delitem(sys.modules, "engine.queues.kafka", raising=False)
    with pytest.raises(SettingsError, match=r"aiokafka.*pip install 'xinshi\[kafka\]'"):
        open_source(parse_address("kafka://host/t"), TERMS)


def test_a_password_is_in_no_representation() -> None:
    assert "secret" not in repr(Terms(consumer="me", password="secret"))
