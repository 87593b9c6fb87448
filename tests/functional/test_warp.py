import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity as ssim

from pcfrl_lightning.functional.warp import backward_flow, structural_similarity, warp


def test_a_flow_names_the_place_that_a_pixel_comes_from():
    image = torch.arange(16.0, dtype=torch.float64).view(1, 1, 4, 4)
    flow = torch.zeros(1, 2, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(warp(image, flow), image)
    flow[:, 0] = 0.5  # a quarter of the side: one pixel to the right
    expected = torch.tensor([[1, 2, 3, 3], [5, 6, 7, 7], [9, 10, 11, 11], [13, 14, 15, 15]], dtype=torch.float64)
    torch.testing.assert_close(warp(image, flow)[0, 0], expected)
    flow[:, 0], flow[:, 1] = 0, -0.25  # half a pixel from above
    torch.testing.assert_close(warp(image, flow)[0, 0, :, 0], torch.tensor([0.0, 2, 6, 10], dtype=torch.float64))


def test_warp_is_bilinear_by_a_loop_and_enlarges_the_flow():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 1, 6, 6, generator=generator, dtype=torch.float64)
    flow = torch.rand(1, 2, 6, 6, generator=generator, dtype=torch.float64) - 0.5
    found = warp(image, flow)[0, 0]
    for y in range(6):
        for x in range(6):
            u = min(max(x + float(flow[0, 0, y, x]) * 3, 0), 5)
            v = min(max(y + float(flow[0, 1, y, x]) * 3, 0), 5)
            left, top = min(int(u), 4), min(int(v), 4)
            a, b = u - left, v - top
            part = image[0, 0, top : top + 2, left : left + 2]
            expected = (1 - b) * ((1 - a) * part[0, 0] + a * part[0, 1]) + b * ((1 - a) * part[1, 0] + a * part[1, 1])
            assert float(found[y, x]) == pytest.approx(float(expected), abs=1e-12)
    small = torch.full((1, 2, 2, 2), 0.25, dtype=torch.float64)
    torch.testing.assert_close(warp(image, small), warp(image, torch.full_like(flow, 0.25)))
    assert torch.autograd.gradcheck(warp, (image.requires_grad_(), flow.requires_grad_()))


def test_the_backward_flow_brings_an_image_back():
    line = torch.linspace(-1, 1, 32, dtype=torch.float64)
    image = torch.stack(torch.meshgrid(line, line, indexing="ij")).unsqueeze(0)
    flow = 0.08 * torch.stack([torch.sin(2 * image[0, 0]), torch.cos(3 * image[0, 1])]).unsqueeze(0)
    inner = (..., slice(5, -5), slice(5, -5))
    back = warp(warp(image, flow), backward_flow(flow))
    assert (back - image)[inner].abs().max() < 0.005
    assert (warp(warp(image, flow), -flow) - image)[inner].abs().max() > 0.01  # without the step
    constant = torch.full((1, 2, 8, 8), 0.3)
    torch.testing.assert_close(backward_flow(constant), -constant)


def test_structural_similarity_equals_that_of_scikit_image():
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.rand(3, 3, 20, 24, generator=generator, dtype=torch.float64) for _ in range(2))
    second = 0.6 * first + 0.4 * second
    published = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = np.mean(
        [
            ssim(a.numpy(), b.numpy(), channel_axis=0, data_range=1.0, **published)
            for a, b in zip(first, second, strict=True)
        ]
    )
    assert structural_similarity(first, second).item() == pytest.approx(expected, abs=1e-9)
    assert structural_similarity(first, first).item() == pytest.approx(1.0)
