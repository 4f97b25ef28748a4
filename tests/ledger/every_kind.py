"""A story with a row in every table of the console."""

from __future__ import annotations

from ledger import log, models
from ledger.fsck.run import check_and_record
from ledger.workflow import bulk, exports, imports, proofs, webhooks
from ledger.workflow.actors import SYSTEM
from ledger.workflow.certificates import certify
from ledger.workflow.datasets import Sample, register_dataset
from ledger.workflow.policies import set_policy
from ledger.workflow.subject_access import reveal_subject
from ledger.workflow.suspension import suspend_client
from ledger.workflow.terms import change_terms
from tests.ledger.story import Story, verdict


def tell(story: Story) -> None:
    """One client, rejected and suspended; a certificate about it; and something of everything else."""
    party = story.party()
    window = story.masked_window()
    proofs.record_verdict(story.proved(party, window.orders.get()).uuid, verdict(accepted=False))
    certify(window.uuid)
    change_terms("other", {"days": 20})
    set_policy(None, {})
    suspend_client(party.row.uuid)
    register_dataset("d", [Sample("a", 0, {}), Sample("b", 1, {})])
    imports.import_now('{"regulation": "gdpr"}', "jsonl", actor=SYSTEM)
    challenge = models.Challenge.objects.get()
    models.Continuation.objects.create(
        client_model=party.row.models.get(), checkpoint=challenge.checkpoint, challenge_entry=challenge.entry
    )
    proposal = models.CheckpointProposal.objects.create(size=log.size(), root=log.root_at(log.size()))
    models.Cosignature.objects.create(proposal=proposal, vkey="w.example+01020304+BA==", line="line", time=1)
    models.WitnessState.objects.create(vkey="w.example+01020304+BA==", url="http://w.example")
    webhooks.send_test(webhooks.add_endpoint("https://hooks.example/x")[0])
    reveal_subject(models.DeletionRequest.objects.exclude(state="filed")[0].uuid, "contact", actor=SYSTEM)
    row = models.DeletionRequest.objects.all()[0]
    bulk.start("deletionrequest", "hold", [row.pk], {"reason": "litigation"}, actor=SYSTEM)
    exports.request_export("window", "json", actor=SYSTEM, about=window.uuid)
    check_and_record()
