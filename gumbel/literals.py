"""What a Python file says of itself, read without running it: a workflow asks it hundreds of times."""

import ast
from contextlib import suppress
from pathlib import Path
from typing import Any


def keywords(file: Path, variable: str) -> dict[str, Any]:
    """The literal keywords of the call that ``variable`` is assigned in ``file``: ``{"label": "A"}`` of
    ``variable = f(label="A", loss=a_function)``.

    Raises:
        ValueError: there is no such assignment.
    """
    for node in ast.parse(file.read_text()).body:
        call = node.value if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == variable else None
        if isinstance(call, ast.Call):
            found: dict[str, Any] = {}
            for each in call.keywords:
                with suppress(ValueError):  # no literal
                    found[str(each.arg)] = ast.literal_eval(each.value)
            return found
    raise ValueError(f"expected `{variable} = ...(...)` in {file}, found none; add it")
