import pytest
import torch

from pcfrl_lightning import functional as F


@pytest.mark.parametrize("setting", ["highest", "high", "medium"])
def test_products_are_float32_inside_and_the_setting_comes_back(setting):
    seen = []

    @F.full_precision
    def island(x):
        seen.append((torch.get_float32_matmul_precision(), torch.is_autocast_enabled("cpu"), x.dtype))
        if len(seen) == 2:
            raise ValueError("inside")
        return x

    torch.set_float32_matmul_precision(setting)
    try:
        with torch.autocast("cpu", torch.bfloat16):
            assert island(torch.ones(2, dtype=torch.bfloat16)).dtype == torch.float32
            assert torch.get_float32_matmul_precision() == setting
            with pytest.raises(ValueError, match="inside"):
                island(torch.ones(2))
        assert torch.get_float32_matmul_precision() == setting
    finally:
        torch.set_float32_matmul_precision("highest")
    assert seen == [("highest", False, torch.float32)] * 2


def test_a_head_scores_and_compares_in_float32():
    """The calibrator, the negatives and the pair term of a head run inside one island."""
    from pcfrl_lightning.heads import CalibratedContrast, Eq7, NPAThreshold

    seen = []

    class Watching(NPAThreshold):
        def score(self, anchors, context, similarity):
            seen.append(torch.get_float32_matmul_precision())
            return super().score(anchors, context, similarity)

    torch.set_float32_matmul_precision("high")
    try:
        CalibratedContrast(Watching(), Eq7())(torch.randn(4, 3), torch.randn(4, 3))
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert seen == ["highest"]
