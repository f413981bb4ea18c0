"""The fault table of the documentation has a row for every fault that is tested, and no other."""

import ast
import json

from tests.slurm import table


def test_the_page_has_a_row_for_every_tested_fault():
    assert table.faults_on_the_page() == table.faults()


def test_every_test_of_a_fault_compares_the_result():
    tests = [node for node in ast.parse(table.TESTS.read_text()).body if getattr(node, "name", "").startswith("test_")]
    assert len(tests) == len(table.faults()) == len(set(table.faults()))


def test_a_fault_without_a_note_is_said_not_to_have_run(tmp_path):
    first, second, third, *_ = table.faults()
    notes = [(second, "simple", "y"), (second, "real", "z"), (third, "real", "x")]
    lines = (json.dumps({"fault": fault, "kind": kind, "happened": words}) for fault, kind, words in notes)
    (tmp_path / "notes").write_text("\n".join(lines))
    rows = table.table(tmp_path / "notes").removeprefix(table.HEAD).splitlines()
    assert rows[:3] == [
        f"| {first} |  | not run | not run |",
        f"| {second} | y / z | identical | identical |",
        f"| {third} | x | not run | identical |",
    ]
    assert len(rows) == len(table.faults())
