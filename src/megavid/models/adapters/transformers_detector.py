"""Detectors of transformers: RT-DETR, D-FINE, RF-DETR, DETR and other models for object detection.

Shapes: B images, Q queries, C labels of the library.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from torch import Tensor, nn
from torchvision.ops import box_convert

from megavid.core.detections import Detections
from megavid.core.errors import InputError
from megavid.core.files.json_yaml import read_json
from megavid.models.acceleration.accelerate import compute_in_float32
from megavid.models.adapters.frame_adapter import AdapterConfig, FrameAdapter
from megavid.models.adapters.outside_labels import OutsideLabels
from megavid.models.base.detector_config import DetectorConfig

_WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""Names of files of weights, in the order in which transformers looks for them. An index names several."""

_BOX_HEADS = {"bbox_embed", "bbox_predictor", "enc_bbox_head", "enc_out_bbox_embed"}
"""Names of the parts of transformers' detectors that compute boxes."""


class TransformersConfig(AdapterConfig):
    """Settings of a detector of transformers.

    Attributes:
        model: Name of the repository on the Hugging Face hub, or path of a folder.
        revision: Commit, branch or tag of the repository; None for the newest commit. Predictions record
            the commit that was used.
        max_detections: Most detections in a frame: the best pairs of query and class.
    """

    name: Literal["transformers"]
    model: str
    revision: str | None = None
    max_detections: int = Field(default=300, ge=1, le=10_000)


class TransformersDetector(FrameAdapter):
    """A detector of transformers. It gives the scores of all classes for each box.

    A query scores each class by itself (sigmoid) if its logits are as many as the labels, as in RT-DETR, and
    may then be detected as several classes. With one logit more, for "no object", it is detected as its best
    class (softmax), as in DETR. Both is what transformers' own post-processing does.

    Args:
        config: Its configuration.
        network: The model of transformers, with its weights.
        processor: The image processor that belongs to it.
        labels: Its classes.
    """

    config_type = DetectorConfig[TransformersConfig]

    def __init__(
        self, *, config: DetectorConfig, network: nn.Module, processor: Any, labels: OutsideLabels
    ) -> None:
        super().__init__(config)
        self.network = network
        self.labels = labels
        self._processor = processor
        self._most: int = config.method.max_detections
        for head in _box_heads(network):
            compute_in_float32(head)

    @property
    def architecture(self) -> str:
        """Kind of the model, such as rt_detr_v2."""
        config: Any = self.network.config
        return str(config.model_type)

    def find(self, images: Tensor) -> list[Detections]:
        """Detect in each frame of (B, 3, H, W)."""
        inputs = self._processor(images=list(images), input_data_format="channels_first", return_tensors="pt")
        output = self.network(**inputs.to(images.device))
        height, width = images.shape[2:]
        boxes = box_convert(output.pred_boxes.float(), "cxcywh", "xyxy")
        boxes = boxes * boxes.new_tensor((width, height, width, height))
        return [self._best(*one) for one in zip(output.logits.float(), boxes, strict=True)]

    def compiled_modules(self) -> list[nn.Module]:
        """Return the whole network."""
        return [self.network]

    def _best(self, logits_QC: Tensor, boxes_Q4: Tensor) -> Detections:
        """Return the best pairs of query and label in a frame."""
        count = len(self.labels.label_of)
        if logits_QC.shape[1] == count + 1:
            scores_QC = logits_QC.softmax(-1)[:, :-1]
            best, labels = scores_QC.max(-1)
            scores, queries = best.topk(min(self._most, len(best)))
            labels = labels[queries]
        else:
            scores_QC = logits_QC.sigmoid()
            scores, pairs = scores_QC.flatten().topk(min(self._most, scores_QC.numel()))
            queries, labels = pairs // count, pairs % count
        found: Detections = self.labels(boxes_Q4[queries], scores, labels, scores_QC[queries])
        return found


def load_network(config: TransformersConfig) -> tuple[nn.Module, Any]:
    """Load a model and its image processor from the hub, its cache or a folder.

    Returns:
        The model and the image processor.

    Raises:
        InputError: transformers or a library that the model needs is missing; or the model cannot be found,
            downloaded or read, is not for object detection, or lacks weights.
    """
    name = f"transformers:{config.model}"
    folder = Path(config.model).expanduser() if config.model.startswith((".", "/", "~")) else None
    if folder is not None and not folder.is_dir():
        raise InputError(f"{name}: no such folder")
    try:
        import transformers
    except ImportError as error:
        raise InputError(f"{name}: needs the library transformers: pip install transformers") from error
    library: Any = transformers  # not all of its functions have types
    try:
        network, found = library.AutoModelForObjectDetection.from_pretrained(
            folder or config.model, revision=config.revision, output_loading_info=True
        )
        processor = library.AutoImageProcessor.from_pretrained(
            folder or config.model, revision=config.revision
        )
    except Exception as error:  # transformers and the hub raise many types of errors
        raise InputError(_reason(name, error, is_folder=folder is not None)) from error
    lacking = [*found["missing_keys"], *(key for key, *_ in found["mismatched_keys"])]
    if lacking:
        raise InputError(
            f"{name}: expected weights for the whole detector, got none for {len(lacking)} tensors, such as "
            f"{min(lacking)}"
        )
    return network.eval(), processor


def weight_files(network: nn.Module, config: TransformersConfig) -> list[Path]:
    """Return the files that `load_network` has read a model's weights from.

    Args:
        network: The model.
        config: Its configuration, with the commit of a repository on the hub as its revision.

    Returns:
        One file, or several in the order of their names; none if the hub's cache does not have them.
    """
    explicit = getattr(network.config, "transformers_weights", None)
    for name in _WEIGHT_FILES if explicit is None else (str(explicit),):
        path = _find_file(config, name)
        if path is not None and name.endswith(".index.json"):
            shards = sorted(set(read_json(path)["weight_map"].values()))
            found = [_find_file(config, shard) for shard in shards]
            return [file for file in found if file is not None]
        if path is not None:
            return [path]
    return []


def _find_file(config: TransformersConfig, name: str) -> Path | None:
    """Return the path of a file of a model, in its folder or in the cache of the hub."""
    folder = Path(config.model).expanduser()
    if folder.is_dir():
        return folder / name if (folder / name).is_file() else None
    from huggingface_hub import try_to_load_from_cache  # a part of transformers

    found = try_to_load_from_cache(config.model, name, revision=config.revision)
    return Path(found) if isinstance(found, str) else None


def labels_of(network: nn.Module) -> OutsideLabels:
    """Return the classes of a model, by the names in its configuration; a label without a name is none."""
    config: Any = network.config
    names = [config.id2label.get(label, "N/A") for label in range(config.num_labels)]
    return OutsideLabels(categories=names, background=None)


def commit_of(config: TransformersConfig) -> str | None:
    """Return the commit on the hub that a loaded model is from; None for a folder."""
    path = None if Path(config.model).expanduser().is_dir() else _find_file(config, "config.json")
    return None if path is None else path.parent.name  # the cache has a folder for each commit


def _reason(name: str, error: Exception, *, is_folder: bool) -> str:
    """Return the message for an error of transformers, whose own has several lines."""
    first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__).strip()
    if is_folder or isinstance(error, ImportError):
        return f"{name}: cannot be loaded: {first}"
    return (
        f"{name}: cannot load it from the Hugging Face hub or a folder: {first} To do without a connection, "
        "put the repository's files in a folder and give transformers:./FOLDER"
    )


def _box_heads(network: nn.Module) -> list[nn.Module]:
    """Return the parts of a network that compute boxes, without parts of such parts."""
    heads: dict[str, nn.Module] = {}
    for path, module in network.named_modules():
        inside = any(path.startswith(f"{head}.") for head in heads)
        if not inside and _BOX_HEADS & set(path.split(".")) and not isinstance(module, nn.ModuleList):
            heads[path] = module
    return list(heads.values())
