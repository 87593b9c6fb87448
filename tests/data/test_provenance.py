"""What results.json says about the data: settings of the data module, folders and archives of the images."""

import zipfile

import numpy as np

import trees
from pcfrl_lightning.data.cropping.croppers import LandmarkCrop
from pcfrl_lightning.data.images.sources import ArraySource, ConcatSource, FileSource
from pcfrl_lightning.data.images.video_frames import VideoFrames
from pcfrl_lightning.data.quality.provenance import describe_data, places
from pcfrl_lightning.data.releases.bu3dfe import BU3DFE
from pcfrl_lightning.data.releases.lfw import LFW
from pcfrl_lightning.data.releases.pcl_lists import ListedPairs


def told(data):
    return describe_data(data, data.build().values())


def test_lfw_names_its_release(tmp_path):
    trees.lfw(tmp_path, "lfw_funneled")
    assert told(LFW(tmp_path)) == {"images": None, "pairs": None, "read_from": ["lfw_funneled"]}
    for number, people in enumerate(("ABCDE", "FGHIJ"), start=1):
        with zipfile.ZipFile(tmp_path / f"lfw_a_{number}.zip", "w") as archive:
            for file in sorted((tmp_path / "lfw_funneled").rglob("*.jpg")):
                if file.name[4] in people:
                    archive.write(file, file.relative_to(tmp_path).as_posix())
    named = told(LFW(tmp_path, images="lfw_a_*.zip", pairs=str(tmp_path / "pairs.txt")))
    assert named == {"images": "lfw_a_*.zip", "pairs": "pairs.txt", "read_from": ["lfw_a_1.zip", "lfw_a_2.zip"]}


def test_settings_of_every_data_set_are_left_out(tmp_path):
    data = BU3DFE(trees.bu3dfe(tmp_path / "faces"), fold=1, folds=3, num_workers=0, seed=5)
    assert told(data) == {"fold": 1, "folds": 3, "read_from": ["faces"]}
    assert told(ListedPairs(trees.listed_pairs(tmp_path / "pairs"))) == {"pairs": "pairs.txt", "read_from": ["pairs"]}


def test_places_are_found_below_crops_and_joins(tmp_path):
    memory = ArraySource(np.zeros((1, 8, 8, 3), np.uint8))
    parts = [FileSource(tmp_path / "a", ["1.jpg"]), FileSource(tmp_path / "b" / "c", ["2.jpg"]), memory]
    cropped = LandmarkCrop().apply(ConcatSource(parts), np.array([[[0, 0], [4, 4]]] * 3, np.float32))
    assert places(cropped) == {"a", "c"}
    assert places(memory) == set()
    assert places(VideoFrames(tmp_path / "vox", ["id1/video"])) == {"vox"}
