import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsClassifier

from pcfrl_lightning.callbacks.online_monitor import knn_predict, ridge_predict


@pytest.fixture
def blobs():
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(4, 12, generator=generator)
    labels = torch.arange(200) % 4
    return centers[labels] + 0.9 * torch.randn(200, 12, generator=generator), labels


@pytest.mark.parametrize("neighbors", [1, 5, 20])
def test_knn_equals_scikit_learn(blobs, neighbors):
    features, labels = blobs
    train, queries = features[:120], features[120:]
    reference = KNeighborsClassifier(neighbors, metric="cosine").fit(train.numpy(), labels[:120].numpy())
    ours = knn_predict(train, labels[:120], queries, neighbors)
    assert (ours.numpy() == reference.predict(queries.numpy())).all()


@pytest.mark.parametrize("count", [120, 8])  # primal and dual
def test_ridge_equals_scikit_learn(blobs, count):
    features, labels = blobs
    train, queries, strength = features[:count], features[120:], 0.1
    ours = ridge_predict(train, labels[:count], queries, strength)
    mean, std = train.mean(0), train.std(0)
    onehot = torch.nn.functional.one_hot(labels[:count]).double()
    reference = Ridge(alpha=strength * count).fit(((train - mean) / std).double().numpy(), onehot.numpy())
    scores = reference.predict(((queries - mean) / std).double().numpy())
    assert (ours.numpy() == scores.argmax(1)).all()


@pytest.mark.parametrize("predict", [knn_predict, ridge_predict])
def test_large_numbers_of_people_are_classes_as_small_ones_are(blobs, predict):
    features, labels = blobs
    numbers = torch.tensor([3, 40, 5_000_000_000, 7_000_000_000])  # one column for each number below would not fit
    few, many = (predict(features[:120], known[:120], features[120:]) for known in (labels, numbers[labels]))
    assert (many == numbers[few]).all()
    assert (few == labels[120:]).double().mean() > 0.5
