"""The table of detectors, which maps a configuration to a network.

To add a method based on Faster R-CNN, add its file to `methods`, a line to `METHODS`, and two YAML files to
`configs`, for ResNet-50 and ResNet-101. `models.outside_methods.add_methods` adds methods from outside the
package.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from megavid.core.config import rename_keys, validate
from megavid.core.errors import InputError
from megavid.models.base.detector_config import DetectorConfig
from megavid.models.base.size_check import check_memory
from megavid.models.base.video_detector import VideoDetector
from megavid.models.methods.dff import Dff
from megavid.models.methods.fgfa import Fgfa
from megavid.models.methods.mega import Mega
from megavid.models.methods.rdn import Rdn, RdnBase
from megavid.models.methods.selsa import Selsa
from megavid.models.methods.single_frame import SingleFrame

METHODS: dict[str, type[VideoDetector]] = {
    "single_frame": SingleFrame,
    "dff": Dff,
    "fgfa": Fgfa,
    "rdn_base": RdnBase,
    "rdn": Rdn,
    "mega": Mega,
    "selsa": Selsa,
}


def config_type(data: Mapping[str, Any], *, origin: str) -> type[DetectorConfig]:
    """Return the type of configuration that nested values are for, which depends on their method.

    Args:
        data: Nested values, as a YAML file has them.
        origin: Source of the values, for messages.

    Raises:
        InputError: The method is unknown.
    """
    method = data.get("method")
    name = method.get("name") if isinstance(method, Mapping) else None
    if not isinstance(name, str) or name not in METHODS:
        raise InputError(
            f"{origin}: method.name: expected one of {', '.join(METHODS)}, got {name!r}; "
            "a method of your own needs --method-module"
        )
    return METHODS[name].config_type


def detector_config(data: Mapping[str, Any], *, origin: str) -> DetectorConfig:
    """Validate nested values, as a YAML file has them, as a typed configuration.

    Args:
        data: Nested values.
        origin: Source of the values, for messages.

    Raises:
        InputError: A method or key is unknown, or a value has the wrong type or range. The message has the
            path of the key or value.
    """
    return validate(config_type(data, origin=origin), data, origin=origin)


def rename_config_keys(data: Mapping[str, Any], *, origin: str) -> dict[str, Any]:
    """Return nested values with their keys renamed as this version of megavid names them.

    Args:
        data: Nested values of a detector's configuration, saved by this or an earlier version.
        origin: Source of the values, for messages.

    Raises:
        InputError: The method is unknown.
    """
    return rename_keys(config_type(data, origin=origin), data)


def build_detector(config: DetectorConfig) -> VideoDetector:
    """Build the detector of a configuration, with random weights, for inference.

    Raises:
        InputError: The detector does not fit into memory, or timm has no such backbone.
    """
    method = METHODS[config.method.name]
    check_memory(method, config)
    return method(config).eval()
