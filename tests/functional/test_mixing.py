import numpy as np
import pytest
import torch

from pcfrl_lightning import functional as F

TAU = 0.07


def test_candidate_columns_are_the_views_of_other_images_in_order():
    columns = F.candidate_columns(torch.tensor([0, 1, 4, 5]), images=3)
    assert columns.tolist() == [[1, 2, 4, 5], [0, 2, 3, 5], [0, 2, 3, 5], [0, 1, 3, 4]]


def by_mixing(x, columns, lam, permutation):
    """The (m, K, d) tensor of mixtures, written out."""
    n = x[columns]
    mixed = lam.unsqueeze(-1) * n + (1 - lam).unsqueeze(-1) * n[:, permutation]
    return (F.normalize(x).unsqueeze(1) * F.normalize(mixed)).sum(dim=-1)


def gram_form(x, columns, lam, permutation):
    s = F.cosine_matrix(x)
    return F.mixed_similarity(s, s, x.norm(dim=1), columns, lam, permutation)


@pytest.mark.parametrize(("images", "d"), [(2, 3), (4, 16), (7, 5)])
def test_mixed_similarity_equals_mixing_the_features(images, d):
    generator = torch.Generator().manual_seed(images)
    x = torch.randn(2 * images, d, generator=generator, dtype=torch.float64).requires_grad_()
    columns = F.candidate_columns(torch.arange(2 * images), images)
    lam = torch.rand(columns.shape, generator=generator, dtype=torch.float64)
    permutation = torch.randperm(columns.shape[1], generator=generator)
    expected = by_mixing(x, columns, lam, permutation)
    result = gram_form(x, columns, lam, permutation)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        torch.autograd.grad(result.square().sum(), x), torch.autograd.grad(expected.square().sum(), x)
    )
    assert torch.autograd.gradcheck(lambda v: gram_form(v, columns, lam, permutation), x)


def test_lambda_one_means_no_mixing():
    x = torch.randn(8, 5, dtype=torch.float64)
    columns = F.candidate_columns(torch.arange(8), 4)
    result = gram_form(x, columns, torch.ones(8, 6, dtype=torch.float64), torch.randperm(6))
    torch.testing.assert_close(result, F.cosine_matrix(x).gather(1, columns))


def test_zero_features_are_finite():
    x = torch.zeros(4, 3, requires_grad=True)
    columns = F.candidate_columns(torch.arange(4), 2)
    result = gram_form(x, columns, torch.full((4, 2), 0.5), torch.tensor([1, 0]))
    result.sum().backward()
    assert torch.equal(result.detach(), torch.zeros(4, 2))
    assert x.grad.isfinite().all()


def test_face_branch_equals_the_public_code(golden):
    values = np.load(golden / "pcl_losses.npz")
    x = torch.from_numpy(values["nce_features"])
    columns = F.candidate_columns(torch.arange(16), 8)
    twin = (torch.arange(16) + 8) % 16
    s = F.cosine_matrix(x)
    plain = torch.cat([s.gather(1, twin.unsqueeze(1)), s.gather(1, columns)], dim=1) / TAU
    torch.testing.assert_close(plain, torch.from_numpy(values["nce_logits"]), rtol=0, atol=1e-5)
    lam, permutation = torch.from_numpy(values["mix_lambda"]).float(), torch.from_numpy(values["mix_perm"])
    mixed = gram_form(x, columns, lam, permutation)
    expected = torch.from_numpy(values["mix_logits"])
    torch.testing.assert_close(mixed / TAU, expected[:, 1:], rtol=0, atol=1e-5)
    total = F.log_negatives(mixed, torch.ones_like(mixed, dtype=torch.bool), TAU)
    loss = F.contrastive_term(s.gather(1, twin.unsqueeze(1)).squeeze(1) / TAU, total, "all").mean()
    assert loss.item() == pytest.approx(values["mix_loss"].item(), abs=2e-6)


def test_pose_branch_equals_the_public_code(golden):
    values = np.load(golden / "pcl_losses.npz")
    x = torch.from_numpy(values["pose_features"])
    negatives = torch.from_numpy(values["pose_negatives"]).unflatten(0, (4, 5))
    lam, permutation = torch.from_numpy(values["pose_mix_lambda"]).float(), torch.from_numpy(values["pose_mix_perm"])
    mixed = F.mixed_group_similarity(x, negatives, lam, permutation)
    torch.testing.assert_close(mixed / TAU, torch.from_numpy(values["pose_logits"])[:, 1:], rtol=0, atol=1e-5)
    twin = (torch.arange(8) + 4) % 8
    positive = F.cosine_matrix(x).gather(1, twin.unsqueeze(1)).squeeze(1) / TAU
    total = F.log_negatives(mixed, torch.ones_like(mixed, dtype=torch.bool), TAU)
    loss = F.contrastive_term(positive, total, "all").mean()
    assert loss.item() == pytest.approx(values["pose_loss"].item(), abs=2e-6)


def test_group_gradients():
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    n = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    lam = torch.rand(2, 4, dtype=torch.float64)
    permutation = torch.tensor([2, 0, 1, 3])
    assert torch.autograd.gradcheck(lambda a, b: F.mixed_group_similarity(a, b, lam, permutation), (x, n))
