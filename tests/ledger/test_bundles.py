"""Audit bundles as the ledger makes them: equal bytes for equal questions, windows and periods, little memory."""

from __future__ import annotations

import hashlib
import io
import tracemalloc
from datetime import timedelta

import pytest
from django.utils import timezone

from ledger import log, models
from ledger.bundle.contents import files_of
from ledger.tlog.merkle import verify_consistency
from ledger.workflow import bundle as bundles
from ledger.workflow import proofs, requests
from ledger.workflow.bundle import (
    Wanted,
    _kept,
    _plan_window,
    indices_between,
    write_window_bundle,
)
from ledger.workflow.certificates import certify
from ledger.workflow.errors import WorkflowError
from prover_worker.audit.challenges import check_challenges
from prover_worker.audit.files import Files
from prover_worker.audit.opening import open_bundle
from tests.bundles import Bundle, window_bundle
from tests.ledger.story import Story, verdict

pytestmark = pytest.mark.django_db


@pytest.fixture
def story(tmp_path):
    return Story(tmp_path)


@pytest.fixture
def window(story):
    party = story.party()
    window = story.masked_window()
    proofs.record_verdict(story.proved(party, window.orders.get()).uuid, verdict())
    certify(window.uuid)
    return window


def period_bundle(first: int, last: int, **wanted) -> bytes:
    file, digest = bundles.period_bundle(first, last, Wanted(**wanted))
    with file:
        data = file.read()
    assert hashlib.sha256(data).hexdigest() == digest
    return data


def expect_good(data: bytes) -> Bundle:
    files = Files()
    audit = open_bundle(io.BytesIO(data), when_read=files.begin)
    check_challenges(audit)
    files.finish(audit)
    return Bundle.of(data)


def test_the_same_question_gives_the_same_bytes(story, window):
    before = window_bundle(window.uuid)
    expect_good(before)
    assert window_bundle(window.uuid) == before
    size = Bundle.of(before).manifest["size"]
    # The log goes on, also about this window's client; as of that checkpoint nothing has changed.
    story.party("another")
    requests.file_request("gdpr", "somebody else", {"dataset": "digits", "class": 1})
    assert window_bundle(window.uuid) != before
    assert window_bundle(window.uuid, size=size) == before


def test_another_history_of_the_same_size_is_another_bundle(window):
    """A log that was restored from an older backup: what was kept of the lost one is not handed out."""
    plan = _plan_window(window.uuid, Wanted())
    file, digest = _kept(plan)
    file.close()
    plan.head = models.Checkpoint(size=plan.head.size, root=plan.head.root, note=plan.head.note + "— other AAAA\n")
    other, changed = _kept(plan)
    with other:
        assert Bundle.of(other.read()).checkpoint == plan.head.note
    assert changed != digest


def test_an_auditors_own_checkpoint_is_proved_to_be_a_past(story, window):
    earlier = models.Checkpoint.objects.order_by("size")[0]
    bundle = expect_good(window_bundle(window.uuid, earlier=earlier.size))
    size = bundle.manifest["size"]
    root = log.root_at(size)
    verify_consistency(earlier.size, bytes(earlier.root), size, root, bundle.consistency[earlier.size])


def test_without_proofs_everything_else_is_there(window):
    whole, less = Bundle.of(window_bundle(window.uuid)), expect_good(window_bundle(window.uuid, proofs="digests"))
    proof = whole.said(whole.index("proof"))
    assert set(whole.files) - set(less.files) == {digest for digest, _ in files_of(proof)}
    assert less.leaves == whole.leaves


@pytest.mark.parametrize("wanted", [{"size": 3}, {"size": 10_000}, {"earlier": 10_000}])
def test_checkpoints_that_do_not_fit(window, wanted):
    with pytest.raises(WorkflowError) as refused:
        window_bundle(window.uuid, **wanted)
    assert (refused.value.code, refused.value.status) == ("no-such-checkpoint", 409)


def test_a_period_has_its_windows_and_all_requests(story, window):
    second = story.masked_window()
    denied = requests.file_request("gdpr", "somebody else", {"dataset": "digits", "class": 1})
    requests.decide_request(denied.uuid, "denied", "identity-not-verified")
    bundle = expect_good(period_bundle(0, log.size() - 1))
    assert bundle.manifest["scope"] == {"kind": "period", "first": 0, "last": log.size() - 1}
    kinds = bundle.kinds()
    assert (kinds.count("window-close"), kinds.count("mask"), kinds.count("deletion-request")) == (2, 2, 3)
    later = expect_good(period_bundle(second.closed_entry_id, log.size() - 1))
    windows = [later.said(index).window for index in later.leaves if later.said(index).slug == "window-close"]
    assert windows == [str(second.uuid)]
    assert str(denied.uuid) in {
        later.said(i).request for i in later.leaves if later.said(i).slug == "deletion-request"
    }


def test_periods_by_time(window):
    now = timezone.now()
    assert indices_between(now - timedelta(hours=1), now + timedelta(hours=1)) == (0, log.size() - 1)
    with pytest.raises(WorkflowError, match="nothing was logged"):
        indices_between(now + timedelta(hours=1), now + timedelta(hours=2))
    for first, last in [(5, 4), (0, 10_000), (-1, 0)]:
        with pytest.raises(WorkflowError, match="the log has entries"):
            period_bundle(first, last)
    with pytest.raises(WorkflowError, match="no window closed"):
        period_bundle(0, 0)


def test_a_large_file_does_not_fill_memory(window, tmp_path):
    """The proof bundle is exchanged on disk for one of 40 MB: what is written goes through in pieces."""
    from ledger import blobs

    digest = models.ProofSubmission.objects.get().bundle_sha256
    large = blobs.put(bytes(40_000_000))[0].sha256
    source = blobs.path(large)
    tracemalloc.start()
    with (tmp_path / "bundle.zip").open("wb") as out, pytest.MonkeyPatch.context() as patch:
        patch.setattr(blobs, "open_checked", lambda name: source.open("rb") if name == digest else _opened(name))
        assert write_window_bundle(window.uuid, out) > 40_000_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 15_000_000


def _opened(name: str):
    from ledger import blobs

    return blobs.path(name).open("rb")
