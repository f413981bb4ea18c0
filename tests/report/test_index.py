"""The index of reports: one row an experiment, each with a link that works."""

import json
from pathlib import Path

import pytest

from gumbel.jobs.files import write_json
from gumbel.paths import StudyPaths
from gumbel.report.index import rows, write_index
from tests.report.test_page import Outline


def export(root: Path, name: str, finished: list[str], **verdicts: int) -> Path:
    """What a report exports of an experiment with one training for each of ``finished``, empty where it has not."""
    cells = [
        {"state": "done" if at else "missing", "manifest": {"finished": f"{at}T10:00:00+00:00"} if at else {}}
        for at in finished
    ]
    experiment = {"name": name, "description": f"<b>{name}</b> & more"}
    path = root / "reports" / name / "exports" / "results.json"
    write_json(path, {"schema": 1, "experiment": experiment, "verdicts": verdicts, "cells": cells})
    (root / "reports" / name / "summary.html").touch()
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    export(tmp_path, "early", ["2026-01-01", "2026-01-03"], reproduced=2, not_run=1)
    export(tmp_path, "late", ["2026-02-01", "", ""], contradicted=4)
    export(tmp_path, "none", [""])
    return tmp_path


def test_a_row_says_when_the_last_training_ended_how_many_are_done_and_what_was_found(folder):
    found = {row.name: row for row in rows()}
    assert list(found) == ["late", "early", "none"]
    assert [found[name].finished for name in found] == ["2026-02-01", "2026-01-03", ""]
    assert [(found[name].done, found[name].cells) for name in found] == [(1, 3), (2, 2), (0, 1)]
    assert found["early"].verdicts["reproduced"] == 2


def test_the_page_links_to_every_report_and_escapes_its_texts(folder):
    write_index()
    text = (folder / "reports" / "index.html").read_text()
    outline = Outline(text)
    links = [values["href"] for tag, values in outline.tags if tag == "a"]
    assert links == ["late/summary.html", "early/summary.html", "none/summary.html"]
    assert all((folder / "reports" / link).exists() for link in links)
    assert "<b>late</b> & more" in outline.text
    assert "Studies" not in outline.text
    assert not [tag for tag, _ in outline.tags if tag == "script"]
    words = " ".join(outline.text.split())
    assert "2 reproduced" in words
    assert "1 not run" in words


def test_studies_are_linked_below(folder):
    for name in ("tail", "other"):
        page = StudyPaths(name).report
        page.parent.mkdir()
        page.touch()
    write_index()
    outline = Outline((folder / "reports" / "index.html").read_text())
    links = [values["href"] for tag, values in outline.tags if tag == "a"]
    assert links[-2:] == ["study-other/study.html", "study-tail/study.html"]
    assert all((folder / "reports" / link).exists() for link in links)


@pytest.mark.parametrize("damage", ["{", json.dumps({"schema": 1}), ""])
def test_a_damaged_export_hides_no_other_experiment(folder, damage):
    (folder / "reports" / "late" / "exports" / "results.json").write_text(damage)
    assert [row.name for row in rows()] == ["early", "none"]
