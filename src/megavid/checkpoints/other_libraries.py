"""Load detectors of other libraries by a name that starts with the library, such as "torchvision:NAME".

Boxes that any tool saved are such a detector, too: "boxes:FILE".
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from megavid.checkpoints.load_saved_boxes import load_saved_boxes
from megavid.checkpoints.published import find_source, published_weights
from megavid.checkpoints.weights import load_state, read_state_dict
from megavid.core.config import validate, with_overrides
from megavid.core.errors import InputError
from megavid.core.files.checksums import file_sha256
from megavid.models.acceleration.inference import Inference
from megavid.models.adapters.frame_adapter import FrameAdapter
from megavid.models.adapters.outside_labels import OutsideLabels
from megavid.models.adapters.torchvision_detector import (
    TorchvisionDetector,
    find_model,
    labels_of_state,
    network_of_state,
    published_network,
)
from megavid.models.adapters.transformers_detector import (
    TransformersDetector,
    commit_of,
    labels_of,
    load_network,
    weight_files,
)
from megavid.models.base.video_detector import VideoDetector


def is_outside_name(name: object) -> bool:
    """Return whether a name stands for a detector of another library."""
    return isinstance(name, str) and name.partition(":")[0] in _LOADERS and ":" in name


def size_setting(name: str | None) -> str | None:
    """Return the setting that limits the size of a detector's network input; None if there is none.

    Args:
        name: Name of a detector of another library; None for a detector of megavid.

    Returns:
        Dotted path of the setting.
    """
    if name is None:
        return "input.max_size"
    library, _, model = name.partition(":")
    has_fixed_size = model.startswith("ssd")  # of torchvision's detectors, only these
    return "method.max_size" if library == "torchvision" and not has_fixed_size else None


def load_outside_detector(
    name: str,
    *,
    weights: str | os.PathLike[str] | None,
    device: torch.device,
    overrides: Mapping[str, Any],
    inference: Inference | None,
) -> FrameAdapter:
    """Load a detector of another library.

    Args:
        name: Library and name of the detector there, such as "torchvision:ssd300_vgg16", or "boxes:" and a
            file; `is_outside_name` is true for it.
        weights: File of weights; None for those that the name stands for.
        device: Device to load onto.
        overrides: Values of the detector's configuration by dotted path, such as {"method.min_size": 480}.
        inference: Dtype and compilation; None leaves the network as it was built.

    Raises:
        InputError: There is no such detector, a library is missing, the weights cannot be downloaded, or a
            file or value is wrong.
    """
    if weights is not None:
        _check_is_file(os.fspath(weights), name)
    library, _, rest = name.partition(":")
    detector = _LOADERS[library](rest, weights, overrides).eval().to(device)
    if inference is not None:
        detector.prepare(inference)
    return detector


def describe_outside_weights(detector: VideoDetector) -> dict[str, str]:
    """Return the file name and SHA-256 of the published weights of another library's detector.

    Predictions store both, as for other weights (`describe_weights`). If the weights are in several files,
    the SHA-256 is that of the files one after another.

    Args:
        detector: A detector that `load_outside_detector` loaded without a file of weights.

    Returns:
        The description; empty for other detectors, and if a library keeps the files elsewhere.
    """
    files = []
    if isinstance(detector, TorchvisionDetector):
        settings = detector.config.method
        files = [find_model(f"{settings.model}:{settings.weights}").downloaded]
    elif isinstance(detector, TransformersDetector):
        files = weight_files(detector.network, detector.config.method)
    if not files or not all(file.is_file() for file in files):
        return {}
    names = ", ".join(file.name for file in files)
    return {"weights": names, "weights_sha256": file_sha256(*files)}


def _check_is_file(weights: str, name: str) -> None:
    """Check that weights for a detector are not given by a name or an address, as those of megavid are."""
    expected = f"{weights}: expected a file of weights for {name}"
    if weights in published_weights():
        raise InputError(f"{expected}, got the name of other weights, which `megavid weights` lists")
    if find_source(weights) is not None:
        raise InputError(f"{expected}, got an address; download it first")


def _load_torchvision(
    name: str, weights: str | os.PathLike[str] | None, overrides: Mapping[str, Any]
) -> FrameAdapter:
    model = find_model(name)
    method = {"name": "torchvision", "model": model.name, "weights": model.weights.name}
    data = with_overrides({"classes": _UNKNOWN_CLASSES, "method": method}, overrides)
    kind = TorchvisionDetector.config_type
    settings = validate(kind, data, origin=model.spelled).method
    if weights is None:
        if settings.class_names is not None:
            raise InputError(
                f"{model.spelled}: method.class_names: expected weights in a file to name classes of"
            )
        network = published_network(model)
        labels = OutsideLabels(categories=model.categories, background=0)
    else:
        network, state = network_of_state(model, read_state_dict(Path(weights)))
        load_state(network, state, origin=os.fspath(weights), target=f"torchvision:{model.name}")
        labels = labels_of_state(model, network, settings.class_names, origin=weights)
    config = validate(kind, {**data, "classes": labels.names}, origin=model.spelled)
    return TorchvisionDetector(config=config, network=network, labels=labels)


def _load_transformers(
    name: str, weights: str | os.PathLike[str] | None, overrides: Mapping[str, Any]
) -> FrameAdapter:
    origin = f"transformers:{name}"
    if weights is not None:
        raise InputError(f"{origin}: expected no file of weights, got {os.fspath(weights)}; name its folder")
    data = with_overrides(
        {"classes": _UNKNOWN_CLASSES, "method": {"name": "transformers", "model": name}}, overrides
    )
    kind = TransformersDetector.config_type
    settings = validate(kind, data, origin=origin).method
    network, processor = load_network(settings)
    labels = labels_of(network)
    data = with_overrides(data, {"classes": labels.names, "method.revision": commit_of(settings)})
    config = validate(kind, data, origin=origin)
    return TransformersDetector(config=config, network=network, processor=processor, labels=labels)


_UNKNOWN_CLASSES = ["_"]
"""Classes of a configuration that is read before the network is loaded, which knows its classes."""

_Loader = Callable[[str, str | os.PathLike[str] | None, Mapping[str, Any]], FrameAdapter]

_LIBRARY_LOADERS: Mapping[str, _Loader] = {
    "torchvision": _load_torchvision,
    "transformers": _load_transformers,
}

_LOADERS: Mapping[str, _Loader] = {**_LIBRARY_LOADERS, "boxes": load_saved_boxes}

LIBRARIES = tuple(_LIBRARY_LOADERS)
"""Libraries whose detectors can be loaded."""
