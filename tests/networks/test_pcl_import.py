import json

import numpy as np
import pytest
import torch

from pcfrl_lightning import load_encoder
from pcfrl_lightning.networks import FaceBackbone, PCFRLNetwork
from pcfrl_lightning.networks.pcl_import import PCL_TO_PCFRL, from_pcl, import_pcl

TOLERANCE = 1e-4
KEYS = "pcl_state_dict_keys.json"


def recipe(keys):
    """The weights of the golden files (their README, "Weight recipe")."""
    norms = {key.rsplit(".", 1)[0] for key, _ in keys if key.endswith("running_mean")}
    state = {}
    for index, (key, shape) in enumerate(keys):
        layer, entry = key.rsplit(".", 1)
        if layer not in norms:
            state[key] = 0.05 * torch.randn(shape, generator=torch.Generator().manual_seed(1000 + index))
        elif entry in ("weight", "running_var"):
            state[key] = torch.ones(shape)
        elif entry == "num_batches_tracked":
            state[key] = torch.tensor(0)
        else:
            state[key] = torch.zeros(shape)
    return state


@pytest.fixture(scope="session")
def pcl_state():
    """A state dict in PCL's layout, made without any file: the table and our own shapes."""
    torch.manual_seed(0)
    ours = PCFRLNetwork(FaceBackbone()).state_dict()
    return {theirs: ours[key] for theirs, key in PCL_TO_PCFRL.items()}


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module.", "module._orig_mod."])
@pytest.mark.parametrize("wrapped", [True, False])
def test_golden_values(golden, tmp_path, prefix, wrapped):
    keys = json.loads((golden / "pcl_state_dict_keys.json").read_text())
    state = {prefix + key: value for key, value in recipe(keys).items()}
    torch.save({"state_dict": state, "epoch": 1000} if wrapped else state, tmp_path / "pcl.pth")
    import_pcl(tmp_path / "pcl.pth", tmp_path / "out" / "pcl.ckpt")
    network = load_encoder(tmp_path / "out" / "pcl.ckpt").eval()
    arrays = {name: torch.from_numpy(array) for name, array in np.load(golden / "pcl_forward.npz").items()}
    logits = []
    network.decoder.blocks[-1].register_forward_hook(lambda module, args, output: logits.append(output))
    with torch.no_grad():
        features = network.encode(arrays["input"])
        outputs = {
            "F_s": features.f_s,
            "F_f": features.f_f,
            "F_p": features.f_p,
            "face_projection": network.project_face(features.f_f),
            "pose_projection": network.project_pose(features.f_p),
            "reconstruction": network.reconstruct(features.f_f, features.f_p),
            "F_s_100": network.encode(arrays["input_100"]).f_s,
        }
    outputs["reconstruction_pre_tanh"] = logits[0]
    assert outputs.keys() | {"input", "input_100"} == arrays.keys()
    for name, output in outputs.items():
        torch.testing.assert_close(
            output, arrays[name], atol=TOLERANCE, rtol=0, msg=lambda text, n=name: f"{n}: {text}"
        )


def test_an_imported_checkpoint_is_used_like_any_other(golden, tmp_path):
    """Written before PyTorch 1.6 as well; embed, pose swap and the exported folder against the golden values."""
    state = {f"module.{key}": value for key, value in recipe(json.loads((golden / KEYS).read_text())).items()}
    content = {"epoch": 1001, "state_dict": state, "optimizer": {"state": {}, "param_groups": [{"lr": 1e-4}]}}
    torch.save(content, tmp_path / "pcl.pth", _use_new_zipfile_serialization=False)
    import_pcl(tmp_path / "pcl.pth", tmp_path / "pcl.ckpt")
    arrays = dict(np.load(golden / "pcl_forward.npz"))
    exported = load_encoder(tmp_path / "pcl.ckpt").save(tmp_path / "exported")
    for encoder in (load_encoder(tmp_path / "pcl.ckpt"), load_encoder(exported)):
        found = encoder.embed(torch.from_numpy(arrays["input_100"]))
        np.testing.assert_allclose(found["f_s"], arrays["F_s_100"], atol=TOLERANCE)
        images = torch.from_numpy(arrays["input"])
        same_pose = encoder.swap_pose(images, images)
        np.testing.assert_allclose(same_pose, arrays["reconstruction"].clip(0, 1), atol=TOLERANCE)


def test_table_covers_every_key_of_both_sides(golden):
    theirs = json.loads((golden / "pcl_state_dict_keys.json").read_text())
    ours = {key: list(value.shape) for key, value in PCFRLNetwork(FaceBackbone()).state_dict().items()}
    assert set(PCL_TO_PCFRL) == {key for key, _ in theirs}
    assert len(theirs) == 105
    assert sorted(PCL_TO_PCFRL.values()) == sorted(ours)
    assert dict(theirs) == {key: ours[PCL_TO_PCFRL[key]] for key in PCL_TO_PCFRL}


def test_checkpoint_is_primitive_and_says_where_it_comes_from(pcl_state, tmp_path):
    source = tmp_path / "model.pth"
    torch.save(pcl_state, source)
    import_pcl(source, tmp_path / "model.ckpt")
    checkpoint = torch.load(tmp_path / "model.ckpt", weights_only=True)
    assert checkpoint["hyper_parameters"] == {
        "backbone": {"class_path": "pcfrl_lightning.networks.FaceBackbone", "init_args": {"width": 1.0}},
        "image_size": 64,
        "projection_dim": 512,
    }
    assert checkpoint["pcfrl_import"]["source"] == "model.pth"
    assert len(checkpoint["pcfrl_import"]["sha256"]) == 64
    assert set(checkpoint["state_dict"]) == {f"network.{key}" for key in PCL_TO_PCFRL.values()}
    assert list(tmp_path.glob("*.part")) == []


def test_all_problems_in_one_message(pcl_state):
    state = dict(pcl_state)
    del state["exp_fc.0.bias"]
    state["extra.weight"] = torch.zeros(1)
    state["decoder.fc.bias"] = torch.zeros(7)
    with pytest.raises(ValueError, match="not a state dict of the public PCL model") as error:
        from_pcl(state)
    message = str(error.value)
    assert "missing exp_fc.0.bias" in message
    assert "unexpected extra.weight" in message
    assert "decoder.fc.bias has shape (7,), not (512,)" in message


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(ValueError, match="is a folder"):
        import_pcl(tmp_path / "absent.pth", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"nosuch\.pth"):
        import_pcl(tmp_path / "nosuch.pth", tmp_path / "x.ckpt")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(ValueError, match=r"text\.pth is not a file of plain tensors"):
        import_pcl(tmp_path / "text.pth", tmp_path / "x.ckpt")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(ValueError, match=r"list\.pth: expected a state dict.* found list"):
        import_pcl(tmp_path / "list.pth", tmp_path / "x.ckpt")
    torch.save({"state_dict": {"a": torch.zeros(1)}}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth: .*unexpected a"):
        import_pcl(tmp_path / "other.pth", tmp_path / "x.ckpt")
    assert not (tmp_path / "x.ckpt").exists()


class _Payload:
    def __reduce__(self):
        return (print, ("code was run",))


def test_code_in_a_checkpoint_is_not_run(tmp_path, capsys):
    torch.save({"state_dict": _Payload()}, tmp_path / "bad.pth")
    with pytest.raises(ValueError, match=r"bad\.pth"):
        import_pcl(tmp_path / "bad.pth", tmp_path / "x.ckpt")
    assert "code was run" not in capsys.readouterr().out
