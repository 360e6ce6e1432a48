"""Muon: orthogonal updates, and PyTorch's own numbers."""

import pytest
import torch

from submodels.world.muon import Muon, orthogonalise


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4)])
def test_singular_values_come_near_one_and_vectors_stay(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = orthogonalise(matrix, torch.float32)
    assert found.shape == shape
    values = torch.linalg.svdvals(found)
    assert ((values > 0.6) & (values < 1.3)).all()
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    rotated = left.T @ found @ right.T
    torch.testing.assert_close(rotated, torch.diag(rotated.diagonal()), atol=1e-4, rtol=0)


def test_a_matrix_of_one_number_by_hand():
    """Each step takes s to a s + b s^3 + c s^5, from s = 1 and back to the number's sign."""
    s = 1.0
    for _ in range(5):
        s = 3.4445 * s - 4.775 * s**3 + 2.0315 * s**5
    assert orthogonalise(torch.tensor([[-7.0]]), torch.float64).item() == pytest.approx(-s)


def test_steps_in_bfloat16_are_pytorch_s():
    start = [torch.randn(shape, generator=torch.Generator().manual_seed(1)) for shape in ((8, 5), (5, 8))]
    ours, theirs = ([torch.nn.Parameter(matrix.clone()) for matrix in start] for _ in range(2))
    one = Muon(ours, lr=0.01, dtype=torch.bfloat16)
    other = torch.optim.Muon(theirs, lr=0.01, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    for step in range(4):
        for parameters, optimizer in ((ours, one), (theirs, other)):
            for matrix in parameters:
                matrix.grad = torch.sin(matrix.detach() * (step + 1))
            optimizer.step()
    for mine, reference, before in zip(ours, theirs, start, strict=True):
        assert torch.equal(mine, reference)
        assert not torch.equal(mine, before)
