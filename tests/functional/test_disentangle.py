import numpy as np
import pytest
import torch

from pcfrl_lightning import functional as F


def double(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_reconstruction_is_the_sum_of_four_l1_terms():
    s, s_hat, r = double(3, 3, 4, 4), double(3, 3, 4, 4, seed=1), double(4, 3, 3, 4, 4, seed=2)
    expected = sum((target - r[i]).abs().mean() for i, target in enumerate((s, s_hat, s, s_hat)))
    torch.testing.assert_close(F.reconstruction_loss(s, s_hat, r), expected)


def test_reconstruction_refuses_other_shapes():
    with pytest.raises(ValueError, match="reconstruction_loss needs"):
        F.reconstruction_loss(double(2, 3, 4, 4), double(2, 3, 4, 4), double(3, 2, 3, 4, 4))


@pytest.mark.parametrize(("n", "d"), [(2, 3), (5, 16), (8, 4)])
def test_orthogonality_equals_the_loop(n, d):
    a, b = double(n, d), double(n, d, seed=1)
    total = 0.0
    for x, y in zip(a, b, strict=True):
        total += float(x @ y / (x.norm() * y.norm())) ** 2
    assert F.orthogonality_loss(a, b).item() == pytest.approx(total / n, abs=1e-12)


@pytest.mark.parametrize(("n", "d", "e"), [(3, 8, 5), (8, 3, 6), (5, 5, 5)])
def test_cross_covariance_equals_the_loop(n, d, e):
    a, b = double(n, d), double(n, e, seed=1)
    a_c, b_c = a - a.mean(dim=0), b - b.mean(dim=0)
    a_n = torch.stack([row / (row.norm() + 1e-6) for row in a_c])
    b_n = torch.stack([row / (row.norm() + 1e-6) for row in b_c])
    total = sum(float(a_n[:, i] @ b_n[:, j]) ** 2 for i in range(d) for j in range(e))
    assert F.cross_covariance_loss(a, b).item() == pytest.approx(total / (d * e), abs=1e-12)


def test_cross_covariance_equals_the_public_code(golden):
    values = np.load(golden / "pcl_losses.npz")
    a, b, c = (torch.from_numpy(values[f"diff_input{i}"]).requires_grad_() for i in (1, 2, 3))
    loss = F.cross_covariance_loss(a, b)
    grad_a, grad_b = torch.autograd.grad(loss, (a, b))
    assert loss.item() == pytest.approx(values["diff_loss"].item(), abs=1e-8)
    assert F.cross_covariance_loss(a, c).item() == pytest.approx(values["diff_loss_13"].item(), abs=1e-8)
    torch.testing.assert_close(grad_a, torch.from_numpy(values["diff_grad1"]), rtol=1e-4, atol=1e-9)
    torch.testing.assert_close(grad_b, torch.from_numpy(values["diff_grad2"]), rtol=1e-4, atol=1e-9)


def test_gradients():
    a, b = double(4, 3).requires_grad_(), double(4, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(F.orthogonality_loss, (a, b))
    s, s_hat, r = (double(*shape, seed=i) for i, shape in enumerate([(1, 3, 2, 2), (1, 3, 2, 2), (4, 1, 3, 2, 2)]))
    assert torch.autograd.gradcheck(lambda x: F.reconstruction_loss(s, s_hat, x), r.requires_grad_())


def test_both_associations_of_cross_covariance_have_one_gradient():
    """The row norms are constants for the gradient, so a numerical check does not apply."""
    a, b = double(4, 6).requires_grad_(), double(4, 6, seed=1).requires_grad_()

    def plain(a, b):
        a, b = a - a.mean(dim=0), b - b.mean(dim=0)
        a, b = (x / (x.detach().norm(dim=1, keepdim=True) + 1e-6) for x in (a, b))
        return (a.T @ b).square().mean()

    torch.testing.assert_close(
        torch.autograd.grad(F.cross_covariance_loss(a, b), (a, b)), torch.autograd.grad(plain(a, b), (a, b))
    )


def test_zero_and_identical_features_are_finite():
    for x in (torch.zeros(4, 8), torch.ones(4, 8)):
        x.requires_grad_()
        for loss in (F.orthogonality_loss, F.cross_covariance_loss):
            (grad,) = torch.autograd.grad(loss(x, x), x)
            assert grad.isfinite().all()


def test_losses_are_float32_under_autocast():
    x = torch.randn(4, 8).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for loss in (F.orthogonality_loss(x, x), F.cross_covariance_loss(x, x)):
            assert loss.dtype == torch.float32
