"""Later versions of a model in the ledger: what they refer to, what is due, what is shown, what outsiders find."""

from __future__ import annotations

import io
import json
import os
from typing import Any

import pytest
from django.db import connection

from ledger import log, models
from ledger.fsck.errors import FsckError
from ledger.fsck.run import rebuild
from ledger.statements import predicates
from ledger.statements.errors import RuleError
from ledger.statements.rules import check
from ledger.statements.story import Story as Statements
from ledger.workflow import commitments, continuations, proofs
from ledger.workflow.certificates import NOT_CONTINUED, certify
from ledger.workflow.clients import invite_client
from ledger.workflow.errors import WorkflowError
from prover_worker.audit.challenges import check_challenges
from prover_worker.audit.opening import open_bundle
from tests.bundles import window_bundle
from tests.ledger.story import Party, Story, verdict
from tests.ledger.test_api import expect_problem, send

pytestmark = pytest.mark.django_db


def met(story: Story, party: Party) -> models.Window:
    """A window whose order the party has met."""
    window = story.masked_window()
    proofs.record_verdict(story.proved(party, window.orders.get()).uuid, verdict())
    certify(window.uuid)
    return window


def commit(story: Story, party: Party, *, continues: bool = True) -> models.ClientModel:
    last = party.row.models.order_by("-entry").first()
    assert last is not None
    return story.commit(party, continues=log.entry_ref(last.entry) if continues else None)


def proof(party: Party, row: models.Continuation, **changes: Any) -> predicates.ContinuationProof:
    said = predicates.ContinuationProof(
        commitment=log.entry_ref(row.client_model.entry),
        challenge=log.entry_ref(row.challenge_entry),
        client=party.uuid,
        bundle_sha256=party.upload(os.urandom(50)),
    )
    return said.model_copy(update=changes)


def shown(story: Story, party: Party, *, accepted: bool = True) -> models.Continuation:
    held = commit(story, party)
    row = continuations.draw_challenge(held.uuid)
    continuations.accept_continuation_proof(party.sign(proof(party, row)))
    return continuations.record_continuation(row.uuid, verdict(accepted=accepted))


def test_a_line_of_versions(story: Story) -> None:
    party = story.party()
    first = party.row.models.get()
    assert first.continuity == "nothing-due"
    assert commit(story, party).continuity == "nothing-due"  # nothing was ordered in between
    windows = [met(story, party)]
    held = commit(story, party)
    assert (held.continuity, held.continues) == ("awaited", party.row.models.get(continued_by=held))
    row = continuations.draw_challenge(held.uuid)
    assert continuations.draw_challenge(held.uuid) == row
    continuations.accept_continuation_proof(party.sign(proof(party, row)))
    row = continuations.record_continuation(row.uuid, verdict())
    assert continuations.record_continuation(row.uuid, verdict(accepted=False)) == row
    held.refresh_from_db()
    assert held.continuity == "shown"
    windows.append(met(story, party))
    again = shown(story, party)
    said = log.statement(again.verdict_entry).predicate
    assert isinstance(said, predicates.ContinuationVerdict)
    assert [ref.index for ref in said.masks] == [window.mask_entry_id for window in windows]
    rebuild(lambda *_: None)


def test_a_commitment_that_refers_to_nothing_is_marked(story: Story) -> None:
    party = story.party()
    met(story, party)
    held = commit(story, party, continues=False)
    assert held.continuity == "unlinked"
    with pytest.raises(WorkflowError, match="no proof is due"):
        continuations.draw_challenge(held.uuid)
    window = story.masked_window()
    assert window.orders.get().client_model == held  # flagged, and ordered all the same
    mended = proofs.record_verdict(story.proved(party, window.orders.get()).uuid, verdict())
    assert mended.accepted
    certificates = certify(window.uuid)
    said = log.statement(certificates[0].entry).predicate
    assert isinstance(said, predicates.Certificate)
    assert [one.continuity for one in said.outcomes] == ["unlinked"]
    assert NOT_CONTINUED in said.does_not_prove
    assert shown(story, party).client_model.continuity == "shown"  # both windows' zeros, the first one's too
    rebuild(lambda *_: None)


def test_a_refuted_model_is_marked_and_takes_no_second_proof(story: Story) -> None:
    party = story.party()
    met(story, party)
    row = shown(story, party, accepted=False)
    assert row.client_model.continuity == "refuted"
    assert row.failures
    with pytest.raises(WorkflowError, match="one proof is taken"):
        continuations.accept_continuation_proof(party.sign(proof(party, row)))
    assert commit(story, party).continuity == "awaited"
    rebuild(lambda *_: None)


def test_what_does_not_fit(story: Story) -> None:
    party, other = story.party("a"), story.party("b")
    first = party.row.models.get()
    window = story.masked_window()
    for one in (party, other):
        order = window.orders.get(client_model__client=one.row)
        proofs.record_verdict(story.proved(one, order).uuid, verdict())
    certify(window.uuid)
    theirs = log.entry_ref(other.row.models.get().entry)
    with pytest.raises(WorkflowError, match="the last one is entry"):
        story.commit(party, continues=theirs)
    held = commit(story, party)
    with pytest.raises(WorkflowError, match="the last one is entry"):
        story.commit(party, continues=log.entry_ref(first.entry))
    fresh = Party(*invite_client("c"))
    fresh.enrol()
    with pytest.raises(WorkflowError, match="there is none to continue"):
        story.commit(fresh, continues=theirs)
    row = continuations.draw_challenge(held.uuid)
    stray = log.entry_ref(story.model.entry)
    for by, changes, code in (
        (party, {"commitment": stray}, "wrong-reference"),
        (party, {"challenge": stray}, "wrong-reference"),
        (party, {"bundle_sha256": "ab" * 32}, "missing-blob"),
        (other, {"client": other.uuid}, "wrong-reference"),
        (other, {}, "wrong-client"),
    ):
        with pytest.raises(WorkflowError) as refused:
            continuations.accept_continuation_proof(by.sign(proof(party, row, **changes)))
        assert refused.value.code == code


def test_an_outsider_finds_all_of_it_in_the_bundle(story: Story) -> None:
    party = story.party()
    before = met(story, party)
    shown(story, party)
    window = met(story, party)
    audit = open_bundle(io.BytesIO(window_bundle(window.uuid)))
    ((_, said),) = audit.of(predicates.ContinuationVerdict)
    assert [ref.index for ref in said.masks] == [before.mask_entry_id]
    assert audit.blob(before.mask_sha256, "the earlier mask")
    assert audit.blob(said.bundle_sha256, "the proofs")
    assert said.commitment.index in check_challenges(audit)


def test_what_a_client_is_told(story: Story) -> None:
    party, other = story.party("a"), story.party("b")
    assert send("GET", f"/me/lines/{story.model.entry_id}", party).json()["orders"] == []
    window = story.masked_window()
    order = window.orders.get(client_model__client=party.row)
    accepted = proofs.record_verdict(story.proved(party, order).uuid, verdict())
    line = send("GET", f"/me/lines/{story.model.entry_id}", party).json()
    assert line["continues"]["index"] == party.row.models.get().entry_id
    assert [one["verdict"]["index"] for one in line["orders"]] == [accepted.entry_id]
    assert send("GET", f"/me/lines/{story.model.entry_id}", other).json()["orders"] == []
    expect_problem(send("GET", "/me/lines/9999", party), 404, "not-found")
    held = commit(story, party)
    row = continuations.draw_challenge(held.uuid)
    told = send("GET", f"/me/commitments/{held.entry_id}", party).json()
    assert (told["continuity"], told["continues"]) == ("awaited", line["continues"])
    assert told["continuation"]["challenge"]["index"] == row.challenge_entry_id
    expect_problem(send("GET", f"/me/commitments/{held.entry_id}", other), 404, "not-found")


class TestRules:
    """What a reader refuses, whatever the workflow does."""

    def story_of(self, *, whole: bool) -> tuple[Statements, dict[str, int]]:
        known, places = Statements(whole=whole), {}
        for row in models.LogEntry.objects.order_by("index"):
            said = log.statement(row).predicate
            check(known, row.index, said)
            known.add(row.index, bytes(row.leaf_hash), said)
            places[said.slug] = row.index
        return known, places

    @pytest.mark.parametrize("whole", [True, False])
    def test_altered_statements(self, story: Story, whole: bool) -> None:
        party = story.party()
        met(story, party)
        shown(story, party)
        other = met(story, party)
        entry = log.entry_ref(other.mask_entry)
        known, places = self.story_of(whole=whole)
        size = log.size()

        def refused(slug: str, sentence: str, **changes: Any) -> None:
            said = known.statements[places[slug]].model_copy(update=changes)
            known.once.clear()
            with pytest.raises(RuleError, match=sentence):
                check(known, size, said)

        stray = log.entry_ref(story.model.entry)
        refused("continuation-verdict", "lists the masks", masks=[entry])
        refused("continuation-verdict", "is a model-release", masks=[stray])
        refused("continuation-verdict", "another commitment or file", bundle_sha256="ab" * 32)
        refused("continuation-proof", "mixes commitments or clients", client="0" * 8 + party.uuid[8:])
        refused("continuation-proof", "it is a model-release", challenge=stray)
        first = next(i for i, said in known.statements.items() if isinstance(said, predicates.ModelCommitment))
        ref = log.entry_ref(models.LogEntry.objects.get(index=first))
        refused("continuation-challenge", "continues none", commitment=ref)
        refused("model-commitment", "the client's last one", continues=ref)

    def test_once_each(self, story: Story) -> None:
        party = story.party()
        met(story, party)
        shown(story, party)
        known, places = self.story_of(whole=True)
        for slug in ("continuation-challenge", "continuation-proof", "continuation-verdict"):
            with pytest.raises(RuleError, match=f"second {slug} about the same"):
                check(known, log.size(), known.statements[places[slug]])

    def test_a_certificate_that_says_otherwise(self, story: Story) -> None:
        party = story.party()
        met(story, party)
        shown(story, party, accepted=False)
        met(story, party)
        for whole in (True, False):
            known, places = self.story_of(whole=whole)
            said = known.statements[places["certificate"]]
            assert isinstance(said, predicates.Certificate)
            false = [one.model_copy(update={"continuity": "shown"}) for one in said.outcomes]
            known.once.clear()
            with pytest.raises(RuleError, match="it is refuted"):
                check(known, log.size(), said.model_copy(update={"outcomes": false}))


def test_a_commitment_without_the_new_field_is_as_valid_as_before(story: Story) -> None:
    party = story.party(committed=False)
    said = party.commitment(log.entry_ref(story.model.entry), log.entry_ref(story.circuit.entry))
    members = said.model_dump(mode="json", by_alias=True)
    del members["continues"]
    assert predicates.ModelCommitment.model_validate_json(json.dumps(members)).continues is None
    commitments.accept_commitment(party.sign(said))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            "UPDATE ledger_clientmodel SET continuity = 'shown' WHERE continuity = 'refuted'",
            "has continuity 'shown'",
        ),
        ("UPDATE ledger_clientmodel SET continues_id = NULL", "has continues__entry_id None"),
        ("UPDATE ledger_continuation SET failures = '[]'", r"has failures \[\]"),
        ("DELETE FROM ledger_continuation", "is missing: the log calls for it"),
    ],
)
def test_fsck_notices_rows_that_were_changed(story: Story, change: str, sentence: str) -> None:
    party = story.party()
    met(story, party)
    shown(story, party, accepted=False)
    with connection.cursor() as cursor:
        cursor.execute(change)
    with pytest.raises(FsckError, match=sentence):
        rebuild(lambda *_: None)
