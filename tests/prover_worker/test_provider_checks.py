"""The provider is verified too: every way in which an order could be another than the one that holds."""

import hashlib
from datetime import UTC, datetime

import numpy as np
import pytest

from ledger.statements.predicates import Mask, ModelRelease, Order, WindowClose
from ledger.statements.predicates.base import LogRef
from ledger.statements.predicates.model_release import TargetTensor
from prover_worker.errors import AgentError
from prover_worker.layout import Layout
from prover_worker.provider_checks import Committed, checked_order, lateness
from tests.fakes import FakeLedger
from tests.prover_worker.story import TOTAL, P, make_mask
from unlearning.maskfile import format_mask

OURS, THEIRS, WINDOW, ORDER = (f"00000000-0000-4000-8000-00000000000{n}" for n in range(4))
COMMITMENT = LogRef(index=3, leaf_hash="33" * 32)
ELSEWHERE = LogRef(index=1, leaf_hash="11" * 32)
LAYOUT = Layout(P, TOTAL)
INDICES = np.flatnonzero(make_mask())
MASKED = len(INDICES)
RECIPE = {"targetNames": ["fc1"], "blockSize": P.block_size, "budget": 0.1}
MODEL = ModelRelease(
    name="a model", file_sha256="aa" * 32, architecture={}, targets=[TargetTensor(name="fc1", shape=[TOTAL])]
)


class Story:
    """A log with everything an order stands on. `said(...)` puts a deviating order into it and checks that."""

    def __init__(self, circuit):
        self.ledger, self.circuit = FakeLedger(), circuit
        self.model = self.ledger.log(1, MODEL)
        self.other_model = self.ledger.log(2, MODEL.model_copy(update={"name": "another"}))
        self.circuit_ref = self.ledger.log(0, circuit)
        self.mine = Committed(OURS, COMMITMENT, MODEL, circuit, LAYOUT)

    def check(self, *, closed_at=5, mask_at=6, order_at=7, total=TOTAL, **changed):
        """`changed`: closed, mask, order or shown, members that differ from those of an order that holds."""
        closed, mask, order, shown = (changed.get(name, {}) for name in ("closed", "mask", "order", "shown"))
        now = "2026-01-01T12:00:00Z"
        close = {"window": WINDOW, "model": self.model, "decisions": [ELSEWHERE], "closed_at": now}
        close_ref = self.ledger.log(closed_at, WindowClose(**close | closed))
        digest = self.ledger.upload(format_mask(total, INDICES))
        made = {
            "window": WINDOW, "closed": close_ref, "model": self.model, "mask_sha256": digest, "masked": MASKED,
            "total": total, "recipe": RECIPE,
        }  # fmt: skip
        mask_ref = self.ledger.log(mask_at, Mask(**made | mask))
        said = {
            "order": ORDER, "window": WINDOW, "client": OURS, "commitment": COMMITMENT, "circuit": self.circuit_ref,
            "mask": mask_ref, "due_at": "2026-01-31T12:00:00Z",
        }  # fmt: skip
        ref = self.ledger.log(order_at, Order(**said | order))
        listed = {"uuid": ORDER, "attempt": 0, "state": "issued", "order": ref.model_dump()} | shown
        return checked_order(self.ledger, listed, self.mine)


@pytest.fixture
def story(built):
    return Story(built[0])


def test_an_order_that_holds_gives_its_mask(story):
    checked = story.check()
    assert checked.mask_file == format_mask(TOTAL, INDICES)
    assert checked.mask.recipe == RECIPE
    assert checked.order.window == WINDOW


@pytest.mark.parametrize(("mask_at", "order_at"), [(2, 7), (3, 7), (8, 7)])
def test_a_mask_out_of_sequence(story, mask_at, order_at):
    """A mask logged before the commitment could be chosen to suit it, one after its order was not ordered."""
    with pytest.raises(AgentError, match="mask out of sequence"):
        story.check(mask_at=mask_at, order_at=order_at)


def test_an_order_of_another_client_or_about_another_commitment(story):
    for changed in (
        {"client": THEIRS},
        {"commitment": ELSEWHERE},
        {"commitment": LogRef(index=3, leaf_hash="34" * 32)},
    ):
        with pytest.raises(AgentError, match="not about what this client committed to; nothing was done"):
            story.check(order=changed)


def test_an_order_shown_under_another_name(story):
    with pytest.raises(AgentError, match="by another name"):
        story.check(shown={"uuid": WINDOW})


def test_a_mask_of_another_size_than_said_or_for_another_model(story):
    with pytest.raises(AgentError, match=rf"the mask file masks {MASKED} of .* this model has {TOTAL}"):
        story.check(mask={"masked": MASKED - 1})
    with pytest.raises(AgentError, match=rf"the mask file masks {MASKED} of .* this model has {TOTAL}"):
        story.check(total=TOTAL + 16)


@pytest.mark.parametrize(
    "changed", [{"closed": {"window": THEIRS}}, {"mask": {"window": THEIRS}}, {"order": {"window": THEIRS}}]
)
def test_window_mask_and_order_are_of_one_window(story, changed):
    with pytest.raises(AgentError, match="they must be one window on one model"):
        story.check(**changed)


def test_a_window_that_was_closed_after_its_mask_was_made(story):
    with pytest.raises(AgentError, match="older than the close of its window"):
        story.check(closed_at=9)


def test_a_mask_for_another_model_than_the_one_that_was_personalised(story):
    with pytest.raises(AgentError, match="they must be one window on one model"):
        story.check(mask={"model": story.other_model})
    with pytest.raises(AgentError, match="is not the one this client personalised"):
        story.check(mask={"model": story.other_model}, closed={"model": story.other_model})


def test_an_order_under_another_circuit(story):
    other = story.circuit.model_copy(update={"engine": "another"})
    with pytest.raises(AgentError, match="not the one this client committed under"):
        story.check(order={"circuit": story.ledger.log(4, other)})


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        ({"maskSha256": "ab" * 32}, "'abab.* as its maskSha256; for this order it must be"),
        ({"targetNames": ["fc2"]}, "'fc2'.* as its targetNames"),
        ({"blockSize": 32}, "32 as its blockSize"),
        ({"budget": 0.01}, "its recipe allows 0.01 of 736"),
    ],
)
def test_a_recipe_that_does_not_fit_the_mask(story, recipe, reason):
    with pytest.raises(AgentError, match=reason):
        story.check(mask={"recipe": RECIPE | recipe})


def test_a_recipe_that_says_less_is_taken(story):
    assert story.check(mask={"recipe": {}}).mask.recipe == {}


def test_a_recipe_that_names_its_mask_is_held_to_it(story):
    recipe = RECIPE | {"maskSha256": hashlib.sha256(format_mask(TOTAL, INDICES)).hexdigest()}
    assert story.check(mask={"recipe": recipe}).mask.recipe == recipe


def test_a_statement_of_another_kind_is_no_order(story):
    story.check()
    with pytest.raises(AgentError, match="log entry 6 is a mask; expected a order"):
        checked_order(
            story.ledger, {"uuid": ORDER, "order": story.ledger.statements[6][0].model_dump()}, story.mine
        )


def test_a_late_order_is_said_to_be_late():
    shown = {"uuid": ORDER, "dueAt": "2026-01-31T12:00:00Z"}
    assert lateness(shown, datetime(2026, 1, 31, 11, tzinfo=UTC)) is None
    assert "was due at 2026-01-31T12:00:00Z" in lateness(shown, datetime(2026, 1, 31, 13, tzinfo=UTC))
