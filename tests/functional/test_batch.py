import pytest
import torch

from pcfrl_lightning import functional as F
from pcfrl_lightning.functional.batch import row_blocks, symmetric_product


def views(n, d, dtype=torch.float64):
    generator = torch.Generator().manual_seed(n)
    return tuple(torch.randn(n, d, generator=generator, dtype=torch.float64).to(dtype) for _ in range(2))


@pytest.mark.parametrize("rows", [0, 1, 127, 128, 129, 1000])
def test_blocks_cover_every_row_once(rows):
    covered = [row for part in row_blocks(rows) for row in range(rows)[part]]
    assert covered == list(range(rows))


@pytest.mark.parametrize("m", [3, 128, 300])
def test_symmetric_product(m):
    matrix, rows = torch.randn(m, m, dtype=torch.float64), torch.randn(m, 5, dtype=torch.float64)
    expected = sum((matrix[:, k : k + 1] + matrix[k : k + 1].T) * rows[k] for k in range(m))
    torch.testing.assert_close(symmetric_product(matrix, rows), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("n", "d"), [(2, 3), (5, 1), (4, 16)])
def test_batch_cosines_in_value_and_gradient(n, d):
    first, second = views(n, d)
    x = torch.cat([first, second])
    unit, length, similarity = F.batch_cosines(first, second)
    for i in range(2 * n):
        assert length[i].item() == pytest.approx(sum(v * v for v in x[i].tolist()) ** 0.5, abs=1e-12)
        torch.testing.assert_close(unit[i], x[i] / length[i], rtol=0, atol=1e-12)
        for j in range(2 * n):
            expected = torch.cosine_similarity(x[i], x[j], dim=0).item()
            assert similarity[i, j].item() == pytest.approx(expected, abs=1e-12)
    inputs = (first.requires_grad_(), second.requires_grad_())
    assert torch.autograd.gradcheck(F.batch_cosines, inputs)
    for output in range(3):  # a gradient that never arrives counts as zero
        assert torch.autograd.gradcheck(lambda a, b, o=output: F.batch_cosines(a, b)[o], inputs)


def test_batch_cosines_of_a_large_batch_equal_the_plain_products():
    first, second = (x.requires_grad_() for x in views(150, 4))
    scale = torch.randn(300, 300, dtype=torch.float64)
    (plain,) = torch.autograd.grad((F.cosine_matrix(torch.cat([first, second])) * scale).sum(), first)
    (ours,) = torch.autograd.grad((F.batch_cosines(first, second).similarity * scale).sum(), first)
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-10)


def test_zero_rows_have_no_direction_and_no_gradient():
    first = torch.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    unit, length, similarity = F.batch_cosines(first, torch.ones(2, 2))
    (grad,) = torch.autograd.grad(unit.sum() + length.sum() + similarity.sum(), first)
    assert torch.equal(unit[0], torch.zeros(2))
    assert torch.equal(length[:2], torch.tensor([0.0, 5.0]))
    assert torch.equal(similarity[0], torch.zeros(4))
    assert torch.equal(grad[0], torch.zeros(2))
    assert grad[1].abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_views_are_compared_in_float32_under_autocast(dtype):
    first, second = (x.requires_grad_() for x in views(8, 16, dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = F.batch_cosines(first, second)
        (grad,) = torch.autograd.grad(result.similarity[0, 1], first)
    exact = F.batch_cosines(first.detach().float().requires_grad_(), second.float())
    assert all(value.dtype == torch.float32 for value in result)
    torch.testing.assert_close(result.similarity, exact.similarity, rtol=0, atol=1e-6)
    assert grad.dtype == dtype


@pytest.mark.parametrize("k", [0, 1, 3])
@pytest.mark.parametrize("m", [6, 140])
def test_chosen_pairs_in_value_and_gradient(m, k):
    generator = torch.Generator().manual_seed(m)
    s = torch.randn(m, m, generator=generator, dtype=torch.float64)
    s = ((s + s.T) / 2).requires_grad_()
    columns, partner = (torch.randint(0, m, (m, c), generator=generator) for c in (2, k))
    cosine, products = F.chosen_pairs(s, columns, partner)
    square = s @ s.T
    torch.testing.assert_close(cosine, s.gather(1, columns), rtol=0, atol=0)
    torch.testing.assert_close(products, square.gather(1, partner), rtol=0, atol=1e-10)
    weights = torch.randn(m, 2, generator=generator), torch.randn(m, k, generator=generator)
    (ours,) = torch.autograd.grad((cosine * weights[0]).sum() + (products * weights[1]).sum(), s)
    plain = (s.gather(1, columns) * weights[0]).sum() + (square.gather(1, partner) * weights[1]).sum()
    (expected,) = torch.autograd.grad(plain, s)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-10)
