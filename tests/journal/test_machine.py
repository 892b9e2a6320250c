"""The journal's states against a dict: any order of verbs, late answers, stale claims and restarts in between."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Coroutine
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from engine.errors import ClaimLost
from engine.journal.opening import open_journal
from engine.journal.port import Submitted
from engine.journal.store import SqlJournal
from engine.model import BatchState, Claim, Outcome, OutcomeKind
from tests.journal.stores import (
    DOUBT,
    NOT_SENT,
    REFUSED,
    THROTTLED,
    SqlitePlace,
    claimed,
    ended,
    intended,
    outcomes,
    planned,
    states,
    taken,
)

Result = TypeVar("Result")

SIZES = (3, 1, 4, 1, 5)
ENDS: list[tuple[Outcome, BatchState]] = [
    (taken(1), BatchState.ACCEPTED),
    (REFUSED, BatchState.REFUSED),
    (DOUBT, BatchState.IN_DOUBT),
    (NOT_SENT, BatchState.PLANNED),
    (NOT_SENT, BatchState.CLAIMED),
    (THROTTLED, BatchState.PLANNED),
]


@dataclass
class Expected:
    """One batch as it must be."""

    state: BatchState = BatchState.PLANNED
    attempts: list[OutcomeKind | None] = field(default_factory=list)
    epoch: int = 0  # of the owner who holds it


class JournalMachine(RuleBasedStateMachine):
    claims: Bundle[Claim] = Bundle("claims")
    submissions: Bundle[Submitted] = Bundle("submissions")

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        self.place = SqlitePlace(Path(folder))
        self.runner = self.stack.enter_context(asyncio.Runner())
        self.journal: SqlJournal = self.run(open_journal(self.place.path))
        self.stack.callback(lambda: self.run(self.journal.close()))
        self.batches = {seq: Expected() for seq in range(1, len(SIZES) + 1)}
        self.sendable: int | None = None
        self.charges: list[Decimal] = []

    def run(self, verb: Coroutine[Any, Any, Result]) -> Result:
        return self.runner.run(verb)

    def teardown(self) -> None:
        self.stack.close()

    @initialize()
    def plan(self) -> None:
        self.campaign_id = self.run(planned(self.journal, *SIZES))

    @rule(target=claims, limit=st.integers(1, 3))
    def claim(self, limit: int) -> Any:
        free = [seq for seq, batch in self.batches.items() if batch.state is BatchState.PLANNED]
        wanted = [seq for seq in free if self.sendable is None or seq <= self.sendable][:limit]
        given = self.run(claimed(self.journal, self.campaign_id, limit))
        assert [claim.seq for claim in given] == wanted
        for claim in given:
            batch = self.batches[claim.seq]
            assert claim.attempts == len(batch.attempts)
            batch.state, batch.epoch = BatchState.CLAIMED, self.journal.epoch
        return multiple(*given)

    @rule(limit=st.none() | st.integers(0, len(SIZES)))
    def release_part(self, limit: int | None) -> None:
        self.run(self.journal.set_sendable(self.campaign_id, limit))
        self.sendable = limit

    def is_good(self, claim: Claim) -> bool:
        batch = self.batches[claim.seq]
        return batch.state is BatchState.CLAIMED and batch.epoch == claim.epoch

    @rule(claim=claims)
    def give_back(self, claim: Claim) -> None:
        self.run(self.journal.release([claim]))
        if self.is_good(claim):
            self.batches[claim.seq].state = BatchState.PLANNED

    @rule(target=submissions, claim=claims, fresh=st.booleans())
    def intend(self, claim: Claim, fresh: bool) -> Any:
        """With the claim as it was given, or as a worker knows it after its earlier attempts."""
        batch = self.batches[claim.seq]
        if fresh:
            claim = replace(claim, attempts=len(batch.attempts))
        if not self.is_good(claim) or claim.attempts != len(batch.attempts):
            with pytest.raises(ClaimLost):
                self.run(intended(self.journal, claim))
            return multiple()
        submitted = self.run(intended(self.journal, claim))
        assert submitted.number == len(batch.attempts) + 1
        batch.state = BatchState.SUBMITTING
        batch.attempts.append(None)
        return submitted

    @rule(submitted=submissions, end=st.sampled_from(ENDS))
    def come_to_an_end(self, submitted: Submitted, end: tuple[Outcome, BatchState]) -> None:
        outcome, then = end
        batch = self.batches[submitted.claim.seq]
        charge = Decimal(submitted.size) if then is BatchState.ACCEPTED else None
        ending = ended(self.journal, submitted, outcome, then, charge=charge)
        open_ = batch.state in (BatchState.SUBMITTING, BatchState.IN_DOUBT)
        if not open_ or submitted.number != len(batch.attempts):
            with pytest.raises(ClaimLost):
                self.run(ending)
            return
        self.run(ending)
        batch.state = then
        batch.epoch = submitted.claim.epoch
        batch.attempts[-1] = outcome.kind
        if charge is not None:
            self.charges.append(charge)

    @rule(claim_all=st.booleans())
    def restart(self, claim_all: bool) -> None:
        if claim_all:
            for claim in self.run(claimed(self.journal, self.campaign_id)):
                self.batches[claim.seq].state = BatchState.CLAIMED
        self.run(self.journal.close())
        self.journal = self.run(open_journal(self.place.path))
        for batch in self.batches.values():
            if batch.state is BatchState.CLAIMED:
                batch.state = BatchState.PLANNED
            elif batch.state is BatchState.SUBMITTING:
                batch.state = BatchState.IN_DOUBT
                batch.attempts[-1] = OutcomeKind.IN_DOUBT

    @invariant()
    def the_disk_agrees(self) -> None:
        if not hasattr(self, "campaign_id"):
            return
        assert states(self.place) == {seq: batch.state.value for seq, batch in self.batches.items()}
        assert outcomes(self.place) == [
            (seq, number, None if kind is None else kind.value)
            for seq, batch in self.batches.items()
            for number, kind in enumerate(batch.attempts, 1)
        ]

    @invariant()
    def the_counts_agree(self) -> None:
        if not hasattr(self, "campaign_id"):
            return
        counts = self.run(self.journal.counts(self.campaign_id))
        assert {state: tally.batches for state, tally in counts.states.items()} == Counter(
            batch.state for batch in self.batches.values()
        )
        assert sum(tally.recipients for tally in counts.states.values()) == sum(SIZES)
        assert counts.charged == sum(self.charges)

    @invariant()
    def nothing_was_handed_over_again_unless_it_surely_was_not_taken(self) -> None:
        for batch in self.batches.values():
            assert all(kind in (OutcomeKind.NOT_SENT, OutcomeKind.NOT_TAKEN) for kind in batch.attempts[:-1])


TestJournalMachine = JournalMachine.TestCase
TestJournalMachine.settings = settings(max_examples=8, stateful_step_count=30)
