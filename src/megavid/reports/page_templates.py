"""Render the templates in this folder as HTML pages that need no other files."""

from __future__ import annotations

import base64
from importlib import resources
from typing import Any

import jinja2

from megavid.core.text import printable
from megavid.evaluation.bootstrap import LEVEL, RESAMPLES
from megavid.evaluation.number_text import percent, percent_interval


def render_page(template: str, **values: Any) -> str:
    """Render a template as HTML.

    Args:
        template: File name of the template in this folder.
        values: Variables of the template; text in them is escaped.
    """
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        loader=jinja2.FunctionLoader(_source),
    )
    environment.filters |= {
        "percent": percent,
        "interval": percent_interval,
        "data_uri": _data_uri,
        "plain": lambda text: printable(str(text), limit=300),
    }
    return environment.get_template(template).render(level=LEVEL, resamples=RESAMPLES, **values)


def _source(name: str) -> str:
    return (resources.files("megavid") / "reports" / name).read_text("utf-8")


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
