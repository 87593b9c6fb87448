"""Feature batches: every sample once, the same order for the same epoch, from memory or from disk."""

import pytest
import torch

from host_syncs import HostSyncs
from pcfrl_lightning.data.split import hold_out
from pcfrl_lightning.probes.features.handmade import PixelFeatures
from pcfrl_lightning.probes.features.loaders import FeatureBatches
from pcfrl_lightning.probes.features.store import cached_features, feature_moments
from pcfrl_lightning.probes.plan import Part, whole


@pytest.fixture
def part_and_table(faces, tmp_path):
    split = faces("tiny/train", {"expression": torch.arange(203)})
    table = cached_features(
        PixelFeatures(), split, ["pixels"], image_size=8, cache_dir=tmp_path, chunk_rows=50, progress=False
    )
    return whole(split, {"label": split.labels["expression"]}), table


def collect(loader, epoch=0):
    loader.set_epoch(epoch)
    batches = list(loader)
    assert len(batches) == len(loader)
    return torch.cat([b.features for b in batches]), torch.cat([b.targets["label"] for b in batches])


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
def test_each_sample_once_with_its_features(part_and_table, streamed, shuffle):
    part, table = part_and_table
    loaded = None if streamed else table.load()
    loader = FeatureBatches(part, table, loaded, 16, shuffle, seed=3, window_bytes=70 * table.dim * 4)
    features, labels = collect(loader)
    assert torch.equal(labels.sort().values, torch.arange(203))
    assert torch.equal(features, table.load()[labels])
    assert torch.equal(labels, torch.arange(203)) is not shuffle


@pytest.mark.parametrize("streamed", [False, True])
def test_order_depends_on_seed_and_epoch_only(part_and_table, streamed):
    part, table = part_and_table
    loaded = None if streamed else table.load()
    first = FeatureBatches(part, table, loaded, 16, True, seed=3)
    order = collect(first, 5)[1]
    assert not torch.equal(collect(first, 6)[1], order)
    assert torch.equal(collect(FeatureBatches(part, table, loaded, 16, True, seed=3), 5)[1], order)
    assert not torch.equal(collect(FeatureBatches(part, table, loaded, 16, True, seed=4), 5)[1], order)


def test_streaming_mixes_distant_rows_in_a_window(part_and_table):
    part, table = part_and_table
    loader = FeatureBatches(part, table, None, 16, True, seed=1, window_bytes=2**20)
    first = next(iter(loader)).targets["label"]
    assert int(first.max() - first.min()) > 100


@pytest.mark.parametrize("streamed", [False, True])
def test_pairs_come_side_by_side(part_and_table, streamed):
    part, table = part_and_table
    rows = torch.tensor([[0, 7], [5, 5], [202, 1]])
    pairs = Part(part.faces, rows, {"label": torch.arange(3)}, torch.tensor([[True, False, True]]))
    batches = list(FeatureBatches(pairs, table, None if streamed else table.load(), 2))
    assert torch.equal(batches[0].features, table.load()[[0, 7, 5, 5]])
    assert torch.equal(batches[1].features, table.load()[[202, 1]])
    assert batches[0].members.tolist() == [[True, False]]


def test_batches_are_made_where_the_features_lie(part_and_table):
    """Of an epoch only its order is copied there."""
    part, table = part_and_table
    loader = FeatureBatches(part, table, table.load().to("meta"), 16, True)
    with HostSyncs() as syncs:
        batches = list(loader)
    assert syncs.found == ["_to_copy to another device"]
    tensors = [each for batch in batches for each in (batch.features, batch.targets["label"], batch.members)]
    assert {each.device.type for each in tensors} == {"meta"}
    assert batches[-1].members.shape == (1, 203 % 16)


def test_moments_are_those_of_the_training_images_of_each_fold(part_and_table):
    part, table = part_and_table
    members = torch.rand(2, 203, generator=torch.Generator().manual_seed(0)) > 0.5
    mean, variance = feature_moments(table, part._replace(members=members).used_rows())
    for k in range(2):
        mine = table.load()[members[k]].double()
        torch.testing.assert_close(mean[k].double(), mine.mean(0), atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(variance[k].double(), mine.var(0, correction=0), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5, 0.99])
def test_held_out_groups_are_whole(fraction):
    groups = torch.randint(0, 12, (300,), generator=torch.Generator().manual_seed(0))
    held = hold_out(groups, fraction, seed=0)
    assert not set(groups[held].tolist()) & set(groups[~held].tolist())
    assert held.any()
    assert not held.all()
    assert torch.equal(held, hold_out(groups, fraction, seed=0))


def test_restrict_drops_samples_of_no_fold(part_and_table):
    part, _ = part_and_table
    members = torch.zeros(2, 203, dtype=torch.bool)
    members[0, 3], members[1, 9] = True, True
    small = part.restrict(members)
    assert small.rows.tolist() == [[3], [9]]
    assert small.targets["label"].tolist() == [3, 9]
    assert small.members.tolist() == [[True, False], [False, True]]
