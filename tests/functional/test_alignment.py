import pytest
import torch

from functional import oracles
from pcfrl_lightning import functional as F

SIZES = [(4, 3), (4, 16), (6, 5), (8, 8), (10, 3), (12, 16), (16, 4), (16, 16)]


def features(m, d, seed=0, dtype=torch.float64):
    return torch.randn(m, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def off_diagonal(matrix):
    return matrix[~torch.eye(len(matrix), dtype=torch.bool)]


@pytest.mark.parametrize(("m", "d"), SIZES)
def test_neighborhood_consistency_is_the_sum_of_eq_5(m, d):
    x = features(m, d)
    torch.testing.assert_close(
        off_diagonal(F.pair_alignment(x, 1.0, "sum") - F.cosine_matrix(x)),
        off_diagonal(oracles.neighborhood(x)),
        rtol=0,
        atol=1e-12,
    )


@pytest.mark.parametrize("mode", ["mean", "sum"])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 10.0])
@pytest.mark.parametrize(("m", "d"), SIZES)
def test_pair_alignment_equals_the_triple_loop(m, d, alpha, mode):
    x = features(m, d, seed=m)
    expected = oracles.alignment(x, alpha, mode)
    torch.testing.assert_close(
        off_diagonal(F.pair_alignment(x, alpha, mode)), off_diagonal(expected), rtol=0, atol=1e-11
    )


@pytest.mark.parametrize(("rows", "m", "d"), [(2, 12, 3), (3, 12, 16), (12, 12, 3), (12, 12, 16), (2, 16, 16)])
def test_local_anchors_against_the_global_batch_give_the_rows_of_the_whole(rows, m, d):
    x = F.normalize(features(m, d))
    weight = F.neighborhood_weight(10.0, m)
    local = F.alignment_scores(x[:rows], x, x[:rows] @ x.T, weight)
    torch.testing.assert_close(local, F.pair_alignment(x)[:rows], rtol=0, atol=1e-12)


def test_two_views_have_no_neighbors():
    x = features(2, 5)
    torch.testing.assert_close(F.pair_alignment(x)[0, 1], F.cosine_matrix(x)[0, 1])


def test_alpha_zero_is_the_cosine():
    x = features(8, 5)
    torch.testing.assert_close(F.pair_alignment(x, alpha=0.0), F.cosine_matrix(x))


def test_identical_features_align_at_one_plus_alpha():
    pa = F.pair_alignment(torch.ones(6, 4, dtype=torch.float64), alpha=10.0)
    torch.testing.assert_close(off_diagonal(pa), torch.full((30,), 11.0, dtype=torch.float64))


def test_zero_rows_stay_zero_with_a_zero_gradient():
    x = torch.zeros(4, 3, requires_grad=True)
    y = F.normalize(x)
    y.sum().backward()
    assert torch.equal(y, torch.zeros(4, 3))
    assert torch.equal(x.grad, torch.zeros(4, 3))
    assert torch.equal(F.pair_alignment(x), torch.zeros(4, 4))


def test_unknown_neighborhood_is_refused():
    with pytest.raises(ValueError, match="neighborhood must be"):
        F.pair_alignment(features(4, 3), neighborhood="median")


@pytest.mark.parametrize("d", [2, 6])
def test_gradients(d):
    x = features(6, d).requires_grad_()
    for function in (F.normalize, F.cosine_matrix, F.pair_alignment):
        assert torch.autograd.gradcheck(function, x)
    assert torch.autograd.gradcheck(lambda a: F.cosine_matrix(a[:2], a), x)
    unit = F.normalize(x.detach()).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: F.alignment_scores(v[:1], v, v[:1] @ v.T, 2.5), unit)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_result_is_at_least_float32_under_autocast(dtype):
    x = features(8, 16).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pa = F.pair_alignment(x)
    assert pa.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(pa, F.pair_alignment(x.to(pa.dtype)), rtol=0, atol=1e-6)
