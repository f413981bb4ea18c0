"""Pages: their templates, style and script."""

import base64
import hashlib
import re
from collections.abc import Iterable
from itertools import groupby
from operator import attrgetter
from typing import Any

import jinja2
from markupsafe import Markup, escape

from gumbel.paths import TEMPLATES
from gumbel.words import activation_name, architecture_name, detector_name, duration, percent, scientific, share


def environment() -> jinja2.Environment:
    """Templates of ``reports/templates``: texts are escaped, and a name that is not there is an error."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    found.filters |= {"percent": percent, "duration": duration, "scientific": scientific, "share": share}
    found.filters |= {"short": _short, "code": _code, "consecutive": _consecutive}
    found.globals |= {named.__name__: named for named in (activation_name, architecture_name, detector_name)}
    return found


def _short(digest: str | None) -> str:
    return (digest or "–")[:12]


def _code(text: str) -> Markup:
    """Text with what stands between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _consecutive(rows: Iterable[Any], attribute: str) -> list[list[Any]]:
    """Rows that follow one another and have the same ``attribute``, together."""
    return [list(group) for _, group in groupby(rows, attrgetter(attribute))]


def assets(script: str) -> dict[str, Any]:
    """Style and script of a page; only the script with this hash may run on it."""
    code = (TEMPLATES / script).read_text()
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    return {"style": style(), "script": Markup(code), "script_hash": f"sha256-{digest}"}


def style() -> Markup:
    """The style of every page."""
    return Markup((TEMPLATES / "style.css").read_text())
