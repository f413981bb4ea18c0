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
HEAD = "| fault | what happened | simple | real |\n| --- | --- | --- | --- |\n"
KINDS = ("simple", "real")


def faults() -> list[str]:
    """What the tests call the faults that were survived, in their order."""
    calls = (node for node in ast.walk(ast.parse(TESTS.read_text())) if isinstance(node, ast.Call))
    named = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "survived"]
    return [ast.literal_eval(call.args[0]) for call in sorted(named, key=lambda call: call.lineno)]


def table(notes: Path) -> str:
    """A row for every tested fault; where one was not run on a kind of cluster, the row says so."""
    found = [json.loads(line) for line in notes.read_text().splitlines()]
    happened = {(row["fault"], row["kind"]): row["happened"] for row in found}
    return HEAD + "".join(f"| {' | '.join(_row(fault, happened))} |\n" for fault in faults())


def _row(fault: str, happened: dict[tuple[str, str], str]) -> list[str]:
    """What happened is said once where it was the same on both kinds."""
    stories = [happened[fault, kind] for kind in KINDS if (fault, kind) in happened]
    words = " / ".join(dict.fromkeys(stories))
    return [fault, words, *("identical" if (fault, kind) in happened else "not run" for kind in KINDS)]


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
