"""FlowNet's weights: reading, conversion, loading into a detector."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from megavid import InputError, load_detector, load_flownet
from megavid.checkpoints.load import convert_weights
from megavid.models.methods.dff import Dff
from megavid.models.methods.fgfa import Fgfa
from tests.conftest import build_tiny
from tests.official import flownet_shapes, write_official
from tests.parity.recipe import make_weights

FLOWNET_NAMES = {
    "conv1": "flow_conv1",
    "conv2": "conv2",
    "conv3": "conv3",
    "conv3_1": "conv3_1",
    "conv4": "conv4",
    "conv4_1": "conv4_1",
    "conv5": "conv5",
    "conv5_1": "conv5_1",
    "conv6": "conv6",
    "conv6_1": "conv6_1",
    "refine5.predict": "Convolution1",
    "refine4.predict": "Convolution2",
    "refine3.predict": "Convolution3",
    "refine2.predict": "Convolution4",
    "predict": "Convolution5",
    "refine5.deconv": "deconv5",
    "refine4.deconv": "deconv4",
    "refine3.deconv": "deconv3",
    "refine2.deconv": "deconv2",
    "refine5.upsample_flow": "upsample_flow6to5",
    "refine4.upsample_flow": "upsample_flow5to4",
    "refine3.upsample_flow": "upsample_flow4to3",
    "refine2.upsample_flow": "upsample_flow3to2",
}


@pytest.mark.parametrize("form", ["state_dict", "model", "bare", "inside a model", "with a scale map"])
def test_flownet_is_read_converted_and_loaded(form: str, tmp_path: Path) -> None:
    shapes = flownet_shapes("module.flownet." if form == "inside a model" else "")
    if form == "with a scale map":
        shapes["Convolution5_scale.weight"] = [1024, 194, 1, 1]
    tensors = {name: torch.from_numpy(w) for name, w in make_weights(shapes, 1).items()}
    path = tmp_path / "flownet.ckpt"
    torch.save({form: tensors} if form in {"state_dict", "model"} else tensors, path)
    converted = tmp_path / "flownet.safetensors"
    assert convert_weights(path, converted) is None
    again = tmp_path / "again.safetensors"
    assert convert_weights(converted, again) is None
    for method in ("dff", "fgfa"):
        detector = load_detector(f"{method}_r50", device="cpu", overrides={"backbone.depth": 18})
        assert isinstance(detector, Dff | Fgfa)
        for file in (path, again):
            load_flownet(detector, file)
            prefix = "module.flownet." if form == "inside a model" else ""
            state = detector.flow.state_dict()
            assert len(state) == 2 * len(FLOWNET_NAMES)
            for ours, theirs in FLOWNET_NAMES.items():
                for part in ("weight", "bias"):
                    assert torch.equal(state[f"{ours}.{part}"], tensors[f"{prefix}{theirs}.{part}"]), ours
            for parameter in detector.flow.parameters():
                torch.nn.init.zeros_(parameter)


def test_flownet_and_detector_files_are_distinguished(official: Path, tmp_path: Path) -> None:
    path = write_official(tmp_path / "flownet.pth", flownet_shapes(), buffers=False)
    with pytest.raises(InputError, match="flownet.pth: expected a whole detector, got FlowNet's weights"):
        load_detector("dff_r50", weights=path)
    with pytest.raises(InputError, match="flownet.pth: expected no configuration for FlowNet's weights"):
        convert_weights(path, tmp_path / "out.safetensors", config="dff_r50")
    with pytest.raises(InputError, match="flownet.pth: single_frame has no flow network"):
        load_flownet(build_tiny("single_frame"), path)
    with pytest.raises(InputError, match="base.pth: expected FlowNet's weights alone"):
        load_flownet(build_tiny("dff"), official)
    with pytest.raises(
        InputError, match=r"flownet.pth: the weights don't fit.*conv1.bias \(64,\) for \(4,\)"
    ):
        load_flownet(build_tiny("fgfa"), path)
    lacking = {name: shape for name, shape in flownet_shapes().items() if name != "conv4_1.weight"}
    path = write_official(tmp_path / "lacking.pth", lacking, buffers=False)
    with pytest.raises(InputError, match=r"lacking.pth: .*1 missing \(conv4_1.weight\)"):
        convert_weights(path, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()
