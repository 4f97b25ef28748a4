import math

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from unlearning import datasets, evaluate
from unlearning.errors import DatasetError, EvaluationError


class Table(nn.Module):
    """Logits looked up by the first number of a sample; with `positions`, one row for every number."""

    def __init__(self, rows, positions=False):
        super().__init__()
        self.rows, self.positions = torch.tensor(rows, dtype=torch.float32), positions

    def forward(self, x):
        return self.rows[x.long()] if self.positions else self.rows[x.flatten(1)[:, 0].long()]


def images(values):
    return np.asarray(values, np.float32).reshape(-1, 1, 1, 1)


def test_score_is_what_the_definitions_say():
    model = Table([[math.log(3), 0.0], [0.0, 0.0]])
    got = evaluate.score(model, images([0, 0, 1]), np.array([0, 1, 1]), batch=2)
    assert got.accuracy == pytest.approx(1 / 3)
    assert got.losses == pytest.approx([-math.log(3 / 4), -math.log(1 / 4), math.log(2)])
    assert got.perplexity == pytest.approx((4 / 3 * 4 * 2) ** (1 / 3))


def test_a_language_model_is_scored_by_token():
    model = Table([[math.log(3), 0.0], [0.0, math.log(7)]], positions=True)
    tokens, following = torch.tensor([[0, 1], [1, 1]]), torch.tensor([[0, 1], [0, 1]])
    got = evaluate.score(model, tokens, following)
    assert got.accuracy == 3 / 4
    loss = [-math.log(3 / 4), -math.log(7 / 8), -math.log(1 / 8), -math.log(7 / 8)]
    assert got.losses == pytest.approx([(loss[0] + loss[1]) / 2, (loss[2] + loss[3]) / 2])
    with pytest.raises(DatasetError, match=r"expected integers \(2, 2\)"):
        evaluate.score(model, tokens, following[:, 0])


def test_divergence_is_kl_from_the_reference():
    one, two = Table([[math.log(3), 0.0]]), Table([[0.0, 0.0]])
    x = images([0, 0, 0])
    assert evaluate.divergence(one, two, x) == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert evaluate.divergence(two, one, x) == pytest.approx(0.5 * math.log(2 / 3) + 0.5 * math.log(2))
    assert evaluate.divergence(one, one, x) == 0
    with pytest.raises(EvaluationError, match="same shape"):
        evaluate.divergence(one, Table([[0.0, 0.0, 0.0]]), x)
    with pytest.raises(EvaluationError, match="at least one"):
        evaluate.divergence(one, two, x[:0])


def test_the_attack_finds_members_and_only_members():
    draw = np.random.default_rng(0)
    seen, unseen = draw.exponential(0.1, 400), draw.exponential(1.0, 900)
    known = roc_auc_score(np.repeat([1, 0], [400, 900]), -np.concatenate([seen, unseen]))
    found = evaluate.attack_auc(seen, unseen)
    assert found == pytest.approx(known, abs=0.02)
    assert found == evaluate.attack_auc(seen, unseen)
    # Losses that are higher on the forget set than elsewhere give it away just as well.
    assert evaluate.attack_auc(unseen, seen) == pytest.approx(known, abs=0.02)
    assert evaluate.attack_auc(unseen[:450], unseen[450:]) == pytest.approx(0.5, abs=0.05)


def test_attack_refuses_what_it_cannot_judge():
    with pytest.raises(EvaluationError, match="got 3 members and 9 others"):
        evaluate.attack_auc(np.ones(3), np.ones(9))
    with pytest.raises(EvaluationError, match="not finite"):
        evaluate.attack_auc(np.array([1.0, np.nan, 1, 1]), np.ones(4))


def test_logits_that_are_not_finite_are_refused(tiny_model, samples):
    with torch.no_grad():
        tiny_model.head.bias[3] = float("nan")
    tiny_model.train()
    for figure in (
        lambda: evaluate.accuracy(tiny_model, *samples),
        lambda: evaluate.divergence(tiny_model, tiny_model, samples.x),
    ):
        with pytest.raises(EvaluationError, match="not finite"):
            figure()
        assert tiny_model.training  # left as it was found


def test_labels_outside_and_empty_sets_are_refused(tiny_model, samples):
    with pytest.raises(DatasetError, match="labels run from"):
        evaluate.score(tiny_model, samples.x, samples.y + 5)
    with pytest.raises(DatasetError, match="0 images"):
        evaluate.score(tiny_model, samples.x[:0], samples.y[:0])


def test_a_report_has_every_figure(tiny_model):
    train, test = datasets.load("digits")
    parts = [datasets.Part(*(array[span] for array in train)) for span in (np.s_[:20], np.s_[20:60])]
    domains = evaluate.Domains(parts[0], datasets.Part(*(array[:30] for array in test)), parts[1], parts[0])
    alone = evaluate.report(tiny_model, domains)
    assert alone.forget_acc == evaluate.accuracy(tiny_model, *parts[0]) == alone.personal_acc
    assert alone.retain_acc == evaluate.accuracy(tiny_model, *parts[1])
    losses = [evaluate.score(tiny_model, *part).losses for part in (domains.forget, domains.held_out)]
    assert alone.mia_auc == evaluate.attack_auc(*losses)
    assert (alone.kl_forget, alone.kl_personal) == (None, None)
    assert evaluate.report(tiny_model, domains, tiny_model)._replace(kl_forget=None, kl_personal=None) == alone
