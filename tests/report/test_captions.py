"""Captions of the workflow's report fill in from the configuration and the wildcards."""

from types import SimpleNamespace

import jinja2
import pytest

from gumbel.paths import REPOSITORY
from tests.report import fixtures

CAPTIONS = sorted((REPOSITORY / "reports/captions").glob("*.rst"))
WILDCARDS = {
    "architecture": "htc_r101",
    "activation": "gumbel",
    "seed": "3",
    "split": "val_uniform",
    "scoring": "released",
}


@pytest.mark.parametrize("path", CAPTIONS, ids=lambda path: path.stem)
def test_a_caption_leaves_nothing_open(path) -> None:
    job = SimpleNamespace(
        config=fixtures.make_experiment().model_dump(mode="json"), wildcards=SimpleNamespace(**WILDCARDS)
    )
    text = jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(path.read_text()).render(snakemake=job)
    assert "{" not in text
    assert "fake" in text or "htc_r101" in text or path.stem == "object_distribution"
