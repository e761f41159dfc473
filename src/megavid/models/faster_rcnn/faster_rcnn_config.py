"""Configuration of Faster R-CNN and of the methods that are based on it."""

from __future__ import annotations

from pydantic import Field

from megavid.models.base.detector_config import DetectorConfig, MethodConfig, MethodConfigT
from megavid.models.faster_rcnn.backbone import MOST_CHANNELS, BackboneConfig
from megavid.models.faster_rcnn.box_head import HeadConfig
from megavid.models.faster_rcnn.preprocess import InputConfig
from megavid.models.faster_rcnn.rpn import RPNConfig


class RoIMethodConfig(MethodConfig):
    """Base class for the settings of a method based on Faster R-CNN.

    Attributes:
        hidden: Width of the RoI features, D.
    """

    hidden: int = Field(ge=1, le=MOST_CHANNELS)


class FasterRCNNConfig(DetectorConfig[MethodConfigT]):
    """Configuration of a method based on Faster R-CNN.

    Attributes:
        input: Size and normalization of the network's input.
        backbone: Trunk and conv5.
        rpn: Anchors and proposals.
        head: RoI pooling and post-processing.
    """

    input: InputConfig
    backbone: BackboneConfig
    rpn: RPNConfig
    head: HeadConfig
