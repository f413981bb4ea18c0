"""The page of a run in a real browser: readable on a telephone, in the dark, and honest when it is old."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Open = Callable[..., Any]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_axe_finds_no_violation(progress_page: Path, open_page: Open, scheme: str, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page = open_page(progress_page, color_scheme=scheme, viewport={"width": width, "height": 800})
    # The page reloads by itself on purpose: nobody has anything to lose in it
    options = {"resultTypes": ["violations"], "rules": {"meta-refresh": {"enabled": False}}}
    found = axe.Axe().run(page, options=options).response["violations"]
    assert [(one["id"], node["html"][:200]) for one in found for node in one["nodes"]] == []


def test_nothing_is_wider_than_the_window(progress_page: Path, open_page: Open) -> None:
    page = open_page(progress_page)
    for width in (360, 768, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_states_are_there_and_hostile_words_are_words(progress_page: Path, open_page: Open) -> None:
    page = open_page(progress_page, viewport={"width": 360, "height": 800})
    states = page.locator("#lines .state").all_inner_texts()
    assert {"done", "running", "failed", "interrupted"} < set(states)
    assert "<script>alert(1)</script>" in page.locator("details pre").first.inner_text()


def test_a_page_that_nobody_writes_any_more_says_so(progress_page: Path, open_page: Open, tmp_path: Path) -> None:
    assert open_page(progress_page).locator("#age").inner_text() == ""
    old = tmp_path / "old.html"
    old.write_text(re.sub(r'datetime="\d{4}', 'datetime="2020', progress_page.read_text()))
    assert "Not updated for" in open_page(old).locator("#age").inner_text()
