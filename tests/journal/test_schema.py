"""What the database itself refuses, whatever the program does."""

from __future__ import annotations

import sqlite3

import pytest

from engine.journal.store import SqlJournal
from tests.journal.stores import Place, accepted, claimed, intended, planned, reading

IMPOSSIBLE = [
    ("a state nobody knows", "UPDATE batch SET state = 'sent' WHERE seq = 1"),
    ("a claim without an owner", "UPDATE batch SET state = 'claimed' WHERE seq = 1"),
    ("a submission without an owner", "UPDATE batch SET state = 'submitting' WHERE seq = 1"),
    ("an owner of what is planned", "UPDATE batch SET owner = 'me' WHERE seq = 1"),
    ("an owner of what is accepted", "UPDATE batch SET owner = 'me' WHERE seq = 2"),
    ("a batch of nobody", "UPDATE batch SET size = 0 WHERE seq = 1"),
    ("fewer attempts than none", "UPDATE batch SET attempts = -1 WHERE seq = 1"),
    ("one place for two batches", "UPDATE batch SET seq = 2 WHERE seq = 1"),
    ("a text that is not there", "UPDATE batch SET message_seq = 9 WHERE seq = 1"),
    ("an outcome nobody knows", "UPDATE attempt SET outcome = 'sent'"),
    ("an outcome without a time", "UPDATE attempt SET finished_at = NULL"),
    ("a time without an outcome", "UPDATE attempt SET outcome = NULL"),
    ("an acceptance without a task id", "UPDATE attempt SET task_id = NULL"),
    ("an attempt that carries nobody", "UPDATE attempt SET size = 0"),
    ("an attempt before the first", "UPDATE attempt SET number = 0"),
    ("an attempt of no batch", "UPDATE attempt SET batch_id = 99"),
    ("an entry nobody knows", "UPDATE entry SET kind = 'gift' WHERE kind = 'reading'"),
    ("a charge that gives points", "UPDATE entry SET points = -1 WHERE kind = 'charge'"),
    ("a charge for no attempt", "UPDATE entry SET batch_id = NULL WHERE kind = 'charge'"),
    ("a charge for an attempt never made", "UPDATE entry SET attempt_number = 2 WHERE kind = 'charge'"),
    ("a reading of a batch", "UPDATE entry SET batch_id = 1, attempt_number = 1 WHERE kind = 'reading'"),
    ("a finished campaign", "UPDATE campaign SET state = 'finished'"),
    ("fewer rows than none", "UPDATE campaign SET rows = -1"),
    ("a campaign without a name", "UPDATE campaign SET name = NULL"),
    ("an exclusion nobody knows", "UPDATE exclusion SET reason = 'ugly'"),
    ("an exclusion from no campaign", "UPDATE exclusion SET campaign_id = 99"),
    ("a message that costs nothing", "UPDATE message SET segments = 0"),
    ("an empty message", "UPDATE message SET units = 0"),
    ("two owners", "INSERT INTO owner (id, name, epoch, since) VALUES (2, 'me', 1, 1)"),
    ("removing what was charged", "DELETE FROM attempt"),
]


@pytest.mark.parametrize("statement", [pytest.param(statement, id=name) for name, statement in IMPOSSIBLE])
async def test_an_impossible_state_is_refused(place: Place, journal: SqlJournal, statement: str) -> None:
    campaign_id = await planned(journal, 1, 1)
    one, two = await claimed(journal, campaign_id)
    await journal.release([one])
    await accepted(journal, await intended(journal, two))
    await journal.record_reading("account", reading(None), campaign_id=campaign_id)
    with pytest.raises(sqlite3.IntegrityError, match="constraint failed"):
        place.alter(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO exclusion (campaign_id, line, raw, reason, detail) VALUES (1, 2, 'x', 'empty', '')",
        "UPDATE batch SET state = 'accepted' WHERE id = 1",
        "UPDATE attempt SET outcome = 'accepted' WHERE batch_id = 1",
    ],
)
async def test_a_word_is_checked_without_a_table_of_all_words(
    place: Place, journal: SqlJournal, statement: str
) -> None:
    steps = {step["opcode"] for step in place.rows(f"EXPLAIN {statement}")}
    assert "Insert" in steps
    assert "OpenEphemeral" not in steps


async def test_claims_are_found_by_an_index(place: Place, journal: SqlJournal) -> None:
    await planned(journal, 1)
    plan = place.rows(
        "EXPLAIN QUERY PLAN SELECT id FROM batch WHERE campaign_id = 1 AND state = 'planned' ORDER BY seq"
    )
    assert "ix_batch_state" in plan[0]["detail"]
    assert len(plan) == 1  # and sorted by it too
