"""The table of linkers, which are named on the command line and in Python.

To add a linker, add its file to `linking`: a `Stage`, and its settings, which extend `LinkerConfig`. Then add
a line to `LINKERS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from megavid.core.config import validate, with_overrides
from megavid.core.errors import InputError
from megavid.core.similar_names import hint_similar
from megavid.linking.linker_config import LinkerConfig
from megavid.linking.repp import ReppConfig
from megavid.linking.seq_bbox import SeqBboxConfig, SeqBboxOnlineConfig
from megavid.linking.seq_nms import SeqDiouConfig, SeqNmsConfig

LINKERS: dict[str, type[LinkerConfig]] = {
    "seq_nms": SeqNmsConfig,
    "seq_diou": SeqDiouConfig,
    "repp": ReppConfig,
    "seq_bbox": SeqBboxConfig,
    "seq_bbox_online": SeqBboxOnlineConfig,
}


def linker_config(
    name: str, overrides: Mapping[str, Any] = MappingProxyType({}), *, origin: object = "link"
) -> LinkerConfig:
    """Make the settings of a linker.

    Args:
        name: Name of the linker, a key of `LINKERS`.
        overrides: Settings that differ from the defaults, by dotted path, such as {"min_score": 0.01}.
        origin: Source of the name and the settings, as named in error messages.

    Raises:
        InputError: The linker or a setting is unknown, or a value has the wrong type or is out of range.

    Examples:
        >>> link = linker_config("seq_nms", {"rescoring": "max"})
        >>> results = list(detect_video(detector, "clip.mp4", score_threshold=0.5, link=link))
    """
    if name not in LINKERS:
        known = ", ".join(LINKERS)
        raise InputError(f"{origin}: expected one of {known}, got {name!r}{hint_similar(name, LINKERS)}")
    settings = [setting for setting in LINKERS[name].model_fields if setting != "name"]
    for path in overrides:
        setting = path.partition(".")[0]
        if setting not in settings:
            hint = hint_similar(setting, settings)
            raise InputError(
                f"{origin}: expected a setting of {name} ({', '.join(settings)}), got {setting!r}{hint}"
            )
    return validate(LINKERS[name], with_overrides({"name": name}, overrides), origin=f"{origin} {name}")


def as_linker(link: LinkerConfig | str | None) -> LinkerConfig | None:
    """Return the settings of a linker that is given by its settings or its name; None for no linker.

    Raises:
        InputError: The linker is unknown.
    """
    return linker_config(link) if isinstance(link, str) else link
