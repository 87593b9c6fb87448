"""`pcfrl neighbours`: the nearest pictures by each feature, in one pass, and a sheet of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from pcfrl_lightning.cli import neighbours
from pcfrl_lightning.embedding import Job, open_input
from pcfrl_lightning.embedding.nearest import nearest
from pcfrl_lightning.errors import DataError, UsageError
from pcfrl_lightning.figures.neighbours import is_neighbour_sheet, neighbour_sheet, save_neighbour_sheet
from tiny import tiny_model


def left_and_top(images):
    """Two features: brightness of the halves beside each other, and of those above each other."""
    values = images.float().mean(1)
    return {
        "f_f": torch.stack([values[:, :, :4].mean((1, 2)), values[:, :, 4:].mean((1, 2))], 1),
        "f_p": torch.stack([values[:, :4].mean((1, 2)), values[:, 4:].mean((1, 2))], 1),
    }


@pytest.fixture
def squares(folder):
    """Pictures of four quarters at random, one of them twice, and one that cannot be read."""
    generator, root = np.random.default_rng(0), folder / "squares"
    (root / "person").mkdir(parents=True)
    for number in range(40):
        quarters = np.kron(generator.integers(0, 255, (2, 2), dtype=np.uint8), np.ones((4, 4), np.uint8))
        for copy in ("", "_copy") if number == 7 else ("",):
            Image.fromarray(quarters).save(root / "person" / f"{number:02d}{copy}.png")
    (root / "bad.png").touch()
    return root


def jobs(*texts):
    inputs = {text: open_input(text) for text in texts}
    return Job(inputs, left_and_top, 8, ("f_f", "f_p"), batch_size=7)


def test_the_nearest_are_those_of_a_search_through_all(squares):
    queries = [f"squares/person/{number:02d}.png" for number in (7, 20)]
    found, unreadable = nearest(jobs("squares"), jobs(*queries), 5)
    assert unreadable == ["bad.png: empty file"]
    names = sorted(path.name for path in squares.glob("person/*.png"))
    pictures = np.stack([np.asarray(Image.open(squares / "person" / name).convert("RGB")) for name in names])
    features = left_and_top(torch.from_numpy(pictures).permute(0, 3, 1, 2))
    for query, each in zip(("07.png", "20.png"), found, strict=True):
        for feature, vectors in features.items():
            vectors = torch.nn.functional.normalize(vectors.double())
            distances = 1 - vectors @ vectors[names.index(query)]
            same = [name for name in names if name.split("_")[0].removesuffix(".png") == query[:2]]
            order = [name for _, name in sorted(zip(distances.tolist(), names, strict=True)) if name not in same]
            assert [one.name for one in each.neighbours[feature]] == [f"person/{name}" for name in order[:5]]
            expected = [distances[names.index(name)] for name in order[:5]]
            np.testing.assert_allclose([one.distance for one in each.neighbours[feature]], expected, atol=1e-6)
            assert each.median[feature] == pytest.approx(distances.quantile(0.5).item(), abs=1e-5)
            first = each.neighbours[feature][0]
            assert np.array_equal(first.picture, pictures[names.index(first.name.removeprefix("person/"))])


@pytest.mark.parametrize(("where", "named"), [(0, "squares/person/07.png"), (1, "person/00.png")])
def test_features_that_are_not_finite_name_their_picture(squares, where, named):
    calls = iter(range(100))

    def extract(images):
        return {name: value / (next(calls) // 2 != where) for name, value in left_and_top(images).items()}

    job = replace(jobs("squares"), extract=extract)
    with pytest.raises(UsageError, match=rf"f_f is not finite for {named}"):
        nearest(job, jobs("squares/person/07.png"), 5)


def test_a_folder_without_a_query(squares, folder):
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match="query empty: no images or videos found"):
        nearest(jobs("squares"), jobs("empty"), 5)


def test_many_copies_of_the_query_take_no_place(squares):
    for number in range(5):
        (squares / f"{number}.png").write_bytes((squares / "person/07.png").read_bytes())
    for size in (7, 64):
        job = replace(jobs("squares"), batch_size=size)
        (found,), _ = nearest(job, jobs("squares/person/07.png"), 38)
        assert {name: len(near) for name, near in found.neighbours.items()} == {"f_f": 38, "f_p": 38}
    with pytest.raises(DataError, match=r"query squares/0.png: squares/person/07.png has no other picture"):
        nearest(jobs("squares/person/07.png"), jobs("squares/0.png"), 3)


def test_nothing_overlaps_on_the_sheet_and_it_says_what_is_where(squares):
    found, _ = nearest(jobs("squares"), jobs("squares/person/07.png", "squares/person/20.png"), 5)
    figure = neighbour_sheet(found, "a title of $x^{$ faces")
    figure.canvas.draw()
    boxes = [axis.get_window_extent() for axis in figure.axes]
    boxes += [text.get_window_extent() for text in [*figure.texts, *(t for axis in figure.axes for t in axis.texts)]]
    assert len(figure.axes) == 2 * (1 + 2 * 5)
    for number, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[:number])
    texts = [text.get_text() for axis in figure.axes for text in axis.texts]
    assert texts.count("query") == 2
    assert "person/07" in texts
    assert any(text.get_text().startswith("$F_p$  pose\nmedian ") for text in figure.texts)


def test_where_no_picture_can_be_written_is_said_first(folder, command, capsys):
    (folder / "sheet.png").mkdir()
    assert command("neighbours", "absent.ckpt", "absent", "--query", "absent.jpg", "--out", "sheet.png") == 2
    assert "--out sheet.png is a folder" in capsys.readouterr().err
    (folder / "file").touch()
    assert "file" in command("neighbours", "absent.ckpt", "absent", "--query", "absent.jpg", "--out", "file/sheet.png")


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_a_sheet_replaces_a_sheet_and_nothing_else(squares, folder, command, capsys, recwarn, suffix):
    found, _ = nearest(jobs("squares"), jobs("squares/person/07.png"), 2)
    found[0].neighbours["f_f"][0] = found[0].neighbours["f_f"][0]._replace(name="\u4eba\U0001f642.png")  # in no font
    for _ in range(2):
        save_neighbour_sheet(found, "t", folder / f"sheet.{suffix}")
    assert is_neighbour_sheet(folder / f"sheet.{suffix}")
    assert not recwarn.list
    face = folder / f"face.{suffix}"
    face.write_bytes((squares / "person/07.png").read_bytes())
    before = face.read_bytes()
    assert command("neighbours", "absent.ckpt", "squares", "--query", face, "--out", face) == 2
    assert "is there and no sheet of this command" in capsys.readouterr().err
    assert face.read_bytes() == before


def test_the_command_writes_a_picture(faces, folder, capsys):
    model = tiny_model()
    torch.save({"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams)}, "x.ckpt")
    query = ["--query", "faces/3.png", "faces/4.png"]
    assert neighbours.main(["x.ckpt", "faces", *query, "--out", "new/sheet.png", "--count", "3"]) == 0
    assert "wrote new/sheet.png: 2 queries, f_s, f_f, f_p; 0 left out" in capsys.readouterr().out
    with Image.open("new/sheet.png") as picture:
        assert min(picture.size) > 500
    (folder / "faces/bad.png").touch()
    assert neighbours.main(["x.ckpt", "faces", *query, "--out", "sheet.svg", "--feature", "f_p"]) == 1
    assert "left out: bad.png: empty file" in capsys.readouterr().err
    with pytest.raises(DataError, match=r"query faces/bad\.png: empty file"):
        neighbours.main(["x.ckpt", "faces", "--query", "faces/bad.png", "--out", "sheet.png"])
    with pytest.raises(SystemExit):
        neighbours.main(["x.ckpt", "faces", *query, "--out", "sheet.txt"])
    assert "ends in .png, .svg or .pdf" in capsys.readouterr().err
