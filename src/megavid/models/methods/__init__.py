"""The detectors, a file each. To add one: its file, a line in `METHODS`, a YAML in `configs`.

One that lives elsewhere comes in by `outside.add_methods`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from megavid.core.config import validate
from megavid.core.errors import InputError
from megavid.models.base.detector import DetectorConfig, VideoDetector
from megavid.models.base.size_check import check_memory
from megavid.models.methods.dff import Dff
from megavid.models.methods.fgfa import Fgfa
from megavid.models.methods.mega import Mega
from megavid.models.methods.rdn import Rdn, RdnBase
from megavid.models.methods.selsa import Selsa
from megavid.models.methods.single_frame import SingleFrame

METHODS: dict[str, type[VideoDetector[Any, Any]]] = {
    "single_frame": SingleFrame,
    "dff": Dff,
    "fgfa": Fgfa,
    "rdn_base": RdnBase,
    "rdn": Rdn,
    "mega": Mega,
    "selsa": Selsa,
}


def config_type(data: Mapping[str, Any], *, origin: str) -> type[DetectorConfig[Any]]:
    """Return the type of configuration that nested values are for, which their method decides.

    Args:
        data: Nested values, as a YAML file has them.
        origin: Where the values came from, for messages.

    Raises:
        InputError: The method is unknown.
    """
    method = data.get("method")
    name = method.get("name") if isinstance(method, Mapping) else None
    if not isinstance(name, str) or name not in METHODS:
        raise InputError(
            f"{origin}: method.name: expected one of {', '.join(METHODS)}, got {name!r}; "
            "a method of one's own needs --method-module"
        )
    # The settings' type depends on the method, which a static type can't say.
    model: Any = DetectorConfig[METHODS[name].config_type]  # type: ignore[misc]
    typed: type[DetectorConfig[Any]] = model
    return typed


def detector_config(data: Mapping[str, Any], *, origin: str) -> DetectorConfig[Any]:
    """Nested values, as a YAML file has them, as a typed configuration.

    Args:
        origin: Where the values came from, for messages.

    Raises:
        InputError: An unknown method or key, or a value of the wrong type, named by its path.
    """
    return validate(config_type(data, origin=origin), data, origin=origin)


def build_detector(config: DetectorConfig[Any]) -> VideoDetector[Any, Any]:
    """Build the detector of a configuration, with random weights, for inference.

    Raises:
        InputError: It does not fit into memory, or its backbone is none that timm has.
    """
    method = METHODS[config.method.name]
    check_memory(method, config)
    return method(config).eval()
