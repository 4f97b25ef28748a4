import numpy as np
import pytest
import torch

from unlearning import directions, directionsfile
from unlearning.errors import MaskError
from unlearning.maskfile import format_mask
from unlearning.obs import Directions


def published(seed=0):
    rng = np.random.default_rng(seed)
    rows = torch.from_numpy(rng.normal(size=(6, 2, 8)))
    w = torch.from_numpy(rng.integers(-1000, 1000, (6, 8)))
    mask = torch.from_numpy(rng.random((6, 8)) < 0.3)
    mask[2] = False
    return directions.published(rows, w, mask, 15, 4, 0.5), rows, w, mask


def test_published_directions_are_small_integers_along_the_rows_and_nothing_where_nothing_is_masked():
    made, rows, w, mask = published()
    assert made.rows.dtype == torch.int8
    assert made.rows.abs().amax(2).tolist() == [[15, 15]] * 2 + [[0, 0]] + [[15, 15]] * 3
    assert made.push[2].tolist() == [0, 0]
    assert not (made.rows.bool() & mask.unsqueeze(1)).any()
    cosine = torch.nn.functional.cosine_similarity(made.rows.double(), rows * ~mask.unsqueeze(1), dim=2)
    assert float(cosine[mask.any(1)].min()) > 0.99
    for b, k in ((0, 1), (5, 0)):
        kept = float(made.rows[b, k].double().norm())
        taken = float((w[b] * mask[b]).double().norm())
        assert int(made.push[b, k]) == round(0.5 * kept * taken)


def test_a_proportional_push_asks_the_same_of_all_blocks_together_and_most_where_directions_are_long():
    even, rows, w, mask = published()
    made = directions.published(rows, w, mask, 15, 4, 0.5, proportional=True)
    assert torch.equal(made.rows, even.rows)
    touched = mask.any(1)
    length = (rows * ~mask.unsqueeze(1)).norm(dim=2)[touched]
    steps = made.push[touched] / made.rows[touched].double().norm(dim=2)  # in grid steps, along unit directions
    lost = float((w * mask).double()[touched].norm(dim=1).square().mean().sqrt())
    assert torch.allclose(steps / length, (0.5 * lost / length.mean()).expand_as(steps), rtol=1e-2)
    assert not made.push[~touched].any()


def test_no_row_is_longer_than_a_proof_can_hold_and_shorter_ones_stay():
    rows = torch.randn(4000, 1, 64, generator=torch.Generator().manual_seed(3)).sign()  # as long as rows can be
    rows[:10, :, 4:] = 0
    mask = torch.zeros(4000, 64, dtype=torch.bool)
    mask[:, -1] = True
    w = torch.ones(4000, 64, dtype=torch.long)
    free = directions.published(rows, w, mask, 31, 4, 0.0).rows.long()
    for square in (16_000, 3_900):
        held = directions.published(rows, w, mask, 31, 4, 0.0, square=square).rows.long()
        assert int(held.square().sum(2).max()) <= square < int(free.square().sum(2).max())
        assert torch.equal(held[:10], free[:10]) == (square >= 4 * 31**2)


def test_oriented_rows_never_point_against_the_mean():
    rows = torch.randn(5, 3, 7, generator=torch.Generator().manual_seed(1))
    mean = torch.randn(5, 7, generator=torch.Generator().manual_seed(2))
    turned = directions.oriented(rows, mean)
    assert ((turned @ mean.unsqueeze(2)) >= 0).all()
    assert torch.equal(turned.abs(), rows.abs())


def test_noise_is_of_the_size_asked_for_and_comes_from_the_seed():
    values = torch.ones(4, 10_000, dtype=torch.float64) * 3
    noise = directions.noisy(values, 0.5, 7) - values
    assert float(noise.std()) == pytest.approx(1.5, rel=0.05)
    assert torch.equal(directions.noisy(values, 0.5, 7), directions.noisy(values, 0.5, 7))
    assert not torch.equal(directions.noisy(values, 0.5, 8), directions.noisy(values, 0.5, 7))
    assert torch.equal(directions.noisy(values, 0.0, 7), values)


def test_the_file_is_read_back_and_belongs_to_one_mask():
    made, _, _, mask = published()
    file = format_mask(48, np.flatnonzero(mask))
    data = directions.format_directions(made, mask, file)
    got = directionsfile.parse(data, mask.numpy(), file)
    assert got.blocks.tolist() == [0, 1, 3, 4, 5]
    np.testing.assert_array_equal(got.rows, made.rows[got.blocks])
    np.testing.assert_array_equal(got.push, made.push[got.blocks])
    assert (got.softness, got.count) == (4, 2)
    assert len(data) == 25 + 32 + 12 + 8 + 5 * 2 * (8 + 8)
    for length in range(len(data)):
        with pytest.raises(MaskError):
            directionsfile.parse(data[:length], mask.numpy(), file)
    other = format_mask(48, np.flatnonzero(mask)[1:])
    block = int(mask.any(1).nonzero()[0])
    moved = bytearray(data)
    moved[25 + 32 + 12 + 8 + int(mask[block].nonzero()[0])] = 3  # the first direction of the first touched block
    with pytest.raises(MaskError, match=f"forget direction 0 of block {block} is 3 on masked weight"):
        directionsfile.parse(bytes(moved), mask.numpy(), file)
    for wrong, message in [(data + b"\0", "bytes"), (data[:-8] + b"\xff" * 8, "push of -1")]:
        with pytest.raises(MaskError, match=message):
            directionsfile.parse(wrong, mask.numpy(), file)
    with pytest.raises(MaskError, match="another one"):
        directionsfile.parse(data, mask.numpy(), other)
    with pytest.raises(MaskError, match="blocks of 8"):
        directionsfile.parse(data, np.zeros_like(mask), file)


def test_directions_outside_the_mask_or_of_another_kind_are_not_written():
    made, _, _, mask = published()
    rows = made.rows.clone()
    rows[2, 0, 0] = 1
    for wrong, message in [
        (made._replace(rows=rows), "without a masked weight"),
        (made._replace(push=-made.push), "at least 0"),
        (Directions(made.rows.int(), made.push, 4), "int32"),
    ]:
        with pytest.raises(MaskError, match=message):
            directions.format_directions(wrong, mask, b"")


def test_cleaned_directions_are_the_damped_inverse_curvature_times_each_row_in_every_block():
    generator = torch.Generator().manual_seed(3)
    rows = torch.randn(5, 2, 7, generator=generator, dtype=torch.float64)
    factors = torch.randn(5, 3, 7, generator=generator)
    made = directions.cleaned(rows, factors, 0.3)
    strength = 0.3 * float(factors.double().square().sum()) / (5 * 7)
    for block in range(5):
        dense = factors[block].double().T @ factors[block].double() + strength * torch.eye(7, dtype=torch.float64)
        for row in range(2):
            assert torch.allclose(made[block, row], torch.linalg.inv(dense) @ rows[block, row])
    # The same gain on the forget set costs retained data less along the cleaned direction than along the gradient.
    for block in range(5):
        moment = factors[block].double().T @ factors[block].double()
        costs = []
        for step in (rows[block, 0], made[block, 0]):
            scaled = step / (step @ rows[block, 0])
            costs.append(float(scaled @ moment @ scaled))
        assert costs[1] < costs[0]
    with pytest.raises(MaskError, match="damping 0"):
        directions.cleaned(rows, factors, 0.0)
    with pytest.raises(MaskError, match="blocks of one size"):
        directions.cleaned(rows, factors[:, :, :6], 0.3)
