"""Templates that a person can read: short lines, and elements that end in the file in which they begin."""

import re
from collections import Counter
from pathlib import Path

import pytest

from gumbel.paths import TEMPLATES

FILES = sorted(path for path in TEMPLATES.rglob("*") if path.is_file())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_line_is_longer_than_200_characters(path: Path) -> None:
    assert [number for number, line in enumerate(path.read_text().splitlines(), 1) if len(line) > 200] == []


@pytest.mark.parametrize("path", [path for path in FILES if path.suffix == ".j2"], ids=lambda path: path.name)
def test_an_element_is_closed_by_the_file_that_opens_it(path: Path) -> None:
    markup = re.sub(r"\{#.*?#\}|\{\{.*?\}\}|\{%.*?%\}|<style>.*?</style>", "", path.read_text(), flags=re.DOTALL)
    tags = re.findall(r"<(/?)([a-z][a-z0-9]*)\b[^>]*?(/?)>", markup)
    void = {"meta", "link", "img", "br", "input"}
    opened = Counter(name for closing, name, alone in tags if not closing and not alone and name not in void)
    closed = Counter(name for closing, name, _ in tags if closing)
    assert opened == closed
