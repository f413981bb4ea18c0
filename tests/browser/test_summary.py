"""The report in a real browser: it loads alone, works with pointer and keyboard, and keeps its data."""

import csv
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

KINDS = ["complete", "reproduction", "partial", "failed", "seeds"]
Pages, Open = Callable[[str], Path], Callable[..., Any]


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_opens_without_errors_or_requests(pages: Pages, open_page: Open, kind: str) -> None:
    page = open_page(pages(kind))
    assert page.locator("h1").is_visible()
    page.mouse.wheel(0, 20_000)


def test_all_categories_of_lvis_fit_six_megabytes(pages: Pages, open_page: Open) -> None:
    path = pages("complete")
    assert path.stat().st_size < 6_000_000
    page = open_page(path)
    assert page.locator("#category-table tbody tr").count() == 1203


@pytest.mark.parametrize(
    ("kind", "scheme", "width"),
    [
        ("complete", "light", 1280),
        ("complete", "dark", 360),
        ("failed", "dark", 1280),
        ("reproduction", "light", 360),
        ("seeds", "dark", 1280),
        ("partial", "light", 360),
    ],
)
def test_axe_finds_no_violation(pages: Pages, open_page: Open, kind: str, scheme: str, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page = open_page(pages(kind), color_scheme=scheme, viewport={"width": width, "height": 800})
    if kind == "complete":  # 30 rows stand for 1203: axe takes a minute for all
        page.evaluate("document.querySelectorAll('#category-table tbody tr:nth-child(n+31)').forEach(r => r.remove())")
    found = axe.Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    assert [
        (one["id"], node["html"][:200], node["failureSummary"][:300]) for one in found for node in one["nodes"]
    ] == []


@pytest.mark.parametrize("kind", ["complete", "partial", "reproduction"])
def test_nothing_is_wider_than_the_window(pages: Pages, open_page: Open, kind: str) -> None:
    page = open_page(pages(kind))
    for width in (360, 768, 1280, 2560):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [360, 1400])
def test_every_verdict_is_in_view_without_scrolling_sideways(pages: Pages, open_page: Open, width: int) -> None:
    page = open_page(pages("complete"), viewport={"width": width, "height": 900})
    outcomes = page.locator("#claims td.verdict .outcome")
    assert outcomes.count() > 20
    ends = outcomes.evaluate_all(
        "all => all.map(one => [one, one.closest('.scroll')].map(part => part.getBoundingClientRect().right))"
    )
    assert all(outcome <= table <= width for outcome, table in ends)


@pytest.mark.parametrize("kind", KINDS)
def test_every_link_within_a_page_has_a_target(pages: Pages, open_page: Open, kind: str) -> None:
    script = "[...document.querySelectorAll('a[href^=\"#\"]')].filter(a => !document.querySelector(a.hash)).length"
    assert open_page(pages(kind)).evaluate(script) == 0


@pytest.mark.parametrize("kind", ["complete", "partial"])
def test_the_layout_does_not_jump(pages: Pages, open_page: Open, kind: str) -> None:
    page = open_page(pages(kind))
    page.evaluate(
        "window.shift = 0; new PerformanceObserver(list => { for (const e of list.getEntries()) shift += e.value; })"
        ".observe({type: 'layout-shift', buffered: true})"
    )
    for _ in range(10):
        page.mouse.wheel(0, 1500)
        page.wait_for_timeout(20)
    assert page.evaluate("shift") < 0.02


def column(page: Any, table: str, place: int) -> list[str]:
    script = (
        "([id, k]) => [...document.querySelectorAll(`#${id} tbody tr`)].filter(r => !r.hidden)"
        ".map(r => (r.cells[k]?.firstChild?.textContent ?? '').trim())"
    )
    return page.evaluate(script, [table, place])


def test_a_heading_sorts_numbers_both_ways_with_the_missing_last(pages: Pages, open_page: Open) -> None:
    page = open_page(pages("complete"))
    heading = page.locator("#category-table thead tr:last-child th").nth(6)
    for order in ("descending", "ascending"):
        heading.locator("button").click()
        assert heading.get_attribute("aria-sort") == order
        shown = column(page, "category-table", 6)
        numbers = [float(value) for value in shown if value != "–"]
        assert numbers == sorted(numbers, reverse=order == "descending")
        assert set(shown[len(numbers) :]) == {"–"}
        assert len(numbers) < 1203


def test_signed_differences_sort_by_value(pages: Pages, open_page: Open) -> None:
    page = open_page(pages("complete"))
    page.locator("#category-table thead button", has_text="−").click()
    numbers = [float(v.replace("−", "-")) for v in column(page, "category-table", 7) if v != "–"]
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[-1] < 0 < numbers[0]


def test_failed_cells_sort_last_in_the_matrix(pages: Pages, open_page: Open) -> None:
    page = open_page(pages("partial"))
    page.locator("#matrix-table thead button", has_text="AP50").click()
    shown = page.locator("#matrix-table tbody tr").all_inner_texts()
    assert all(word in text for text, word in zip(shown[-5:], ("failed", *["missing"] * 4), strict=True))


def test_filters_of_the_matrix_combine(pages: Pages, open_page: Open) -> None:
    page = open_page(pages("partial"))
    page.get_by_role("region", name="Matrix of results").wait_for()
    page.locator("#matrix select").nth(0).select_option("M-X101")
    assert column(page, "matrix-table", 0) == ["M-X101"] * 4
    page.locator("#matrix select").nth(1).select_option("Gumbel")
    assert column(page, "matrix-table", 0) == ["M-X101"]
    assert page.locator("output[for=matrix-table]").inner_text() == "1 of 20 rows"


def test_the_search_finds_categories_and_their_group(pages: Pages, open_page: Open) -> None:
    page = open_page(pages("complete"))
    page.locator("#categories input").fill("ZEBRA 11")
    names = column(page, "category-table", 0)
    assert names
    assert all(name.startswith("zebra 11") for name in names)
    page.locator("#categories input").fill("")
    page.locator("#categories select").nth(0).select_option("rare")
    assert set(column(page, "category-table", 1)) == {"rare"}


def test_another_model_shows_its_own_categories(pages: Pages, open_page: Open) -> None:
    path = pages("complete")
    page = open_page(path)
    rows = list(csv.DictReader((path.parent / "fake/exports/categories.csv").open()))
    for model in ("htc_r101", "mask_rcnn_r101"):
        page.locator("#category-model").select_option(model)
        shown = column(page, "category-table", 6)
        expected = [row[f"AP {model} gumbel"] for row in rows]
        assert [value == "–" for value in shown] == [value == "" for value in expected]
        pairs = [(float(a), float(b)) for a, b in zip(shown, expected, strict=True) if b]
        assert max(abs(a - b) for a, b in pairs) <= 0.0501


def test_where_a_number_comes_from_is_told_to_the_keyboard(pages: Pages, open_page: Open) -> None:
    page = open_page(pages("reproduction"))
    told = page.locator("#origin")
    page.locator("#matrix-table td[tabindex]").first.focus()
    page.keyboard.press("ArrowRight")
    assert told.inner_text().startswith("Mask R-CNN, ResNet-50, Softmax, val, AP: AP × 100, val, n=1")
    assert "seed<k>/metrics/val/<scoring>.json" in told.inner_text()
    page.keyboard.press("ArrowDown")
    assert told.inner_text().startswith("Mask R-CNN, ResNet-50, Sigmoid, val, AP")
    page.locator("#matrix-table td[tabindex]:focus").blur()
    assert told.inner_text() == ""


@pytest.mark.parametrize("kind", ["complete", "reproduction", "seeds"])
def test_every_table_of_numbers_tells_where_they_come_from(pages: Pages, open_page: Open, kind: str) -> None:
    page = open_page(pages(kind))
    tables = page.locator("table:has(td.number)")
    assert tables.count() >= 7
    for table in tables.all():
        cell = table.locator("td[tabindex='0']")
        cell.focus()
        name, _, source = page.locator("#origin").inner_text().partition(". From ")
        assert len(name.split(", ")) > 1, name
        assert source.startswith(("results/fake/", "configs/paper/")), (name, source)


def test_the_pointer_is_told_the_row_and_the_column(pages: Pages, open_page: Open) -> None:
    page = open_page(pages("complete"))
    cell = page.locator("#category-table tbody tr").nth(2).locator("td").nth(5)
    cell.hover()
    assert cell.get_attribute("title").startswith("mug, rare, Mask AP × 100, Gumbel. From results/fake/")


def test_the_keyboard_reaches_the_claims_first(pages: Pages, open_page: Open) -> None:
    page = open_page(pages("reproduction"))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the claims"


@pytest.mark.parametrize("name", ["matrix.csv", "claims.csv", "categories.csv", "results.json", "tables.tex"])
def test_a_download_from_the_page_is_the_export_beside_it(pages: Pages, open_page: Open, name: str) -> None:
    path = pages("partial")
    page = open_page(path)
    with page.expect_download() as download:
        page.locator(f'a[download="{name}"]').click()
    content = Path(download.value.path()).read_text()
    assert content == (path.parent / "fake/exports" / name).read_text()
    assert download.value.suggested_filename == name
    if name.endswith("csv"):
        assert len(list(csv.reader(io.StringIO(content)))) > 1
    if name.endswith("json"):
        assert json.loads(content)["experiment"]["name"] == "fake"


def test_a_link_to_a_folded_section_opens_it(pages: Pages, open_page: Open) -> None:
    page = open_page(pages("reproduction"))
    assert not page.locator("#deviations details").evaluate("part => part.open")
    page.locator(".contents a", has_text="Deviations").click()
    page.wait_for_function("document.querySelector('#deviations details').open")


@pytest.mark.parametrize("width", [768, 1400])
def test_a_claim_s_link_marks_all_rows_of_the_model_below_their_headings(
    pages: Pages, open_page: Open, width: int
) -> None:
    page = open_page(pages("complete"), viewport={"width": width, "height": 900}, reduced_motion="reduce")
    page.locator("#claims td.model a", has_text="C-R101").first.click()
    page.wait_for_function("document.querySelectorAll('#matrix .marked').length == 4")
    assert set(page.locator("#matrix .marked th").all_inner_texts()) == {"C-R101"}
    page.wait_for_timeout(300)
    place = "part => part.getBoundingClientRect().top"
    row = page.locator("#matrix .marked").first.evaluate(place)
    assert 0 < row < 900
    heading = page.locator("#matrix-table thead tr").last.locator("th").first.evaluate(place)
    assert 0 < heading < row


def test_hostile_text_stays_text(pages: Pages, open_page: Open) -> None:
    page = open_page(pages("failed"))
    assert page.locator("script").count() == 1
    assert page.locator("img").count() == 0
    assert "</td></table><script>alert(1)</script><img src=x onerror=alert(2)>" in page.locator("#matrix").inner_text()
    assert page.locator("#category-table b").count() == 0


def test_only_the_page_s_own_script_may_run(pages: Pages, browser: Any) -> None:
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.goto(pages("failed").as_uri())
    page.evaluate(
        "const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s);"
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.ran = 2\">')"
    )
    page.wait_for_timeout(50)
    assert page.evaluate("window.ran") is None
    context.close()


def test_dark_mode_is_dark_and_light_is_light(pages: Pages, open_page: Open) -> None:
    def brightness(scheme: str) -> int:
        page = open_page(pages("partial"), color_scheme=scheme)
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(", ")))

    assert brightness("dark") < 100 < 700 < brightness("light")


def test_it_prints_without_controls(pages: Pages, open_page: Open) -> None:
    page = open_page(pages("complete"))
    started = time.monotonic()
    pdf = page.pdf(format="A4")
    assert pdf.startswith(b"%PDF")
    assert pdf.count(b"/Type /Page\n") < 40
    assert time.monotonic() - started < 20
    page.set_viewport_size({"width": 717, "height": 1000})  # A4 within Chromium's margins
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= 717
    assert not page.locator(".controls").first.is_visible()
    assert not page.locator("#category-table").is_visible()


def test_the_page_is_whole_without_its_script(pages: Pages, open_page: Open) -> None:
    page = open_page(pages("complete"), java_script_enabled=False)
    assert page.locator("#category-table tbody tr").count() == 1203
    assert not page.locator(".controls").first.is_visible()
