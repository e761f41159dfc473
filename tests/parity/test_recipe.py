"""The generated weights and videos are those of the recorded runs."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from tests.parity.recipe import make_video, make_weights

pytestmark = pytest.mark.parity

# Name, shape, salt, first four values and sum of magnitudes of one tensor of each kind.
TENSORS = [
    (
        "backbone.body.stem.conv1.weight",
        (64, 3, 7, 7),
        1,
        (-0.0019886766094714403, 0.001539419637992978, -0.005075166933238506, 0.00025860380264930427),
        29.040554211984954,
    ),
    (
        "backbone.body.layer1.0.bn3.weight",
        (256,),
        1,
        (0.2712624669075012, 0.2381502389907837, 0.2255977988243103, 0.23996490240097046),
        64.34674333035946,
    ),
    (
        "backbone.body.layer2.0.downsample.1.running_var",
        (512,),
        2,
        (0.9999086856842041, 0.9831520915031433, 0.9024823904037476, 0.9332641959190369),
        508.9363614320755,
    ),
    (
        "rpn.head.cls_logits.bias",
        (12,),
        1,
        (-0.544960618019104, 0.20283353328704834, 0.3223026394844055, 0.3674926459789276),
        3.8508836636319757,
    ),
    (
        "roi_heads.box.feature_extractor.l_us.1",
        (16, 1, 64),
        3,
        (0.48891887068748474, 0.3827977478504181, 0.46135589480400085, 0.12937477231025696),
        247.7923345697709,
    ),
    (
        "roi_heads.box.feature_extractor.l_Wgs.0.bias",
        (16,),
        1,
        (0.24044767022132874, 0.09003332257270813, 0.10781434178352356, 0.9385360479354858),
        7.421900272369385,
    ),
    (
        "flownet.deconv3.weight",
        (770, 128, 4, 4),
        1,
        (0.016839783638715744, -0.01207429077476263, -0.016854092478752136, -0.0007118952344171703),
        32059.79848614883,
    ),
    (
        "roi_heads.box.predictor.bbox_pred.weight",
        (124, 1024),
        4,
        (0.03716686740517616, -0.017934681847691536, -0.019571708515286446, -0.012440934777259827),
        3578.3430333798124,
    ),
]


@pytest.mark.parametrize(
    ("name", "shape", "salt", "first", "magnitude"), TENSORS, ids=[tensor[0] for tensor in TENSORS]
)
def test_generated_weights_equal_the_recorded_ones(
    name: str, shape: tuple[int, ...], salt: int, first: tuple[float, ...], magnitude: float
) -> None:
    tensor = make_weights({name: shape}, salt)[name]

    assert tensor.shape == shape
    assert tensor.dtype == np.float32
    np.testing.assert_array_equal(tensor.ravel()[:4], np.array(first, np.float32))
    assert np.abs(tensor).sum(dtype=np.float64) == pytest.approx(magnitude, rel=1e-9)


def test_a_tensor_does_not_depend_on_other_tensors() -> None:
    bias, logits = "rpn.head.conv.bias", "rpn.head.cls_logits.bias"
    both = make_weights({bias: [8], logits: [12]}, 1)

    np.testing.assert_array_equal(both[logits], make_weights({logits: [12], bias: [8]}, 1)[logits])
    assert not np.array_equal(both[logits], make_weights({logits: [12]}, 2)[logits])


def test_anchors_are_skipped() -> None:
    assert make_weights({"rpn.anchor_generator.cell_anchors.0": [12, 4]}, 1) == {}


@pytest.mark.parametrize(
    ("seed", "num_frames", "height", "width", "digest"),
    [
        (20, 30, 120, 160, "48f549909e7f6e17ea4f6bd2d011d70512cc20ed0cf446b71b0a1f55abadb4a5"),
        (31, 34, 108, 192, "2157699592c5375f6da46ce43b7efbe8fb9934f12e15c4fd6260be9f6b57d590"),
        (45, 8, 132, 100, "3ab6a521002de9c1847095b0608ff8133a5c5622fc372a13f3615fad724b975d"),
    ],
)
def test_videos_have_recorded_checksums(
    seed: int, num_frames: int, height: int, width: int, digest: str
) -> None:
    video = make_video(seed, num_frames, height, width)

    assert video.shape == (num_frames, height, width, 3)
    assert video.dtype == np.uint8
    assert hashlib.sha256(video.tobytes()).hexdigest() == digest
