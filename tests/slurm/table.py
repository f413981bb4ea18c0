"""Make the fault table of docs/reliability.md from what the fault tests noted.

make faults FAULT_NOTES=faults.jsonl
python -m tests.slurm.table faults.jsonl
"""

import ast
import json
import re
import sys
from pathlib import Path

from gumbel.paths import REPOSITORY

PAGE = REPOSITORY / "docs" / "reliability.md"
TESTS = Path(__file__).with_name("test_faults.py")
HEAD = "| fault | what happened | result |\n| --- | --- | --- |\n"


def faults() -> list[str]:
    """What the tests call the faults that were survived, in their order."""
    calls = (node for node in ast.walk(ast.parse(TESTS.read_text())) if isinstance(node, ast.Call))
    named = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "survived"]
    return [ast.literal_eval(call.args[0]) for call in sorted(named, key=lambda call: call.lineno)]


def table(notes: Path) -> str:
    """A row for every tested fault; one that has no note was not run, and says so."""
    happened = {row["fault"]: row["happened"] for row in map(json.loads, notes.read_text().splitlines())}
    rows = ((fault, happened.get(fault, ""), "identical" if fault in happened else "not run") for fault in faults())
    return HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def faults_on_the_page() -> list[str]:
    """The first column of the table as it stands."""
    return re.findall(r"^\| (.*?) \|", _split()[1], flags=re.MULTILINE)


def main(notes: Path) -> None:
    """Put the table of ``notes`` in the place of the one on the page."""
    before, _, after = _split()
    PAGE.write_text(before + table(notes) + after)


def _split() -> tuple[str, str, str]:
    """The page up to the table, its rows, and the rest."""
    before, _, rest = PAGE.read_text().partition(HEAD)
    rows = re.match(r"(\|.*\n)*", rest)
    assert rows
    return before, rows[0], rest[rows.end() :]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
