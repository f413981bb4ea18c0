"""The documentation site: ``make docs`` builds it from the pages in this folder."""

import shutil
import sys
import tomllib
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx

REPOSITORY = Path(__file__).resolve().parents[1]
#: The report of `make demo`, which becomes part of the site where it is there.
DEMO = REPOSITORY / "reports" / "mini"

sys.path.insert(0, str(REPOSITORY))

project = "Gumbel benchmark"
author = "The contributors of the Gumbel benchmark"
copyright = author
release = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4

html_theme = "furo"
html_title = project
html_math_renderer = "mathml"
# No font, script or picture is loaded from elsewhere
html_show_sphinx = False

autodoc_typehints = "signature"
autodoc_member_order = "bysource"

linkcheck_timeout = 20
linkcheck_retries = 2
# Publishers and package indices answer scripts with 403 or a page that is drawn by one
linkcheck_ignore = [r"https://www\.lvisdataset\.org", r"https://ADDRESS/.*"]

if DEMO.is_dir():
    tags.add("demo")  # noqa: F821 - Sphinx defines it


def inline_math(self, node: nodes.math) -> None:
    """MathML, which browsers draw by themselves."""
    self.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def display_math(self, node: nodes.math_block) -> None:
    self.body.append(tex2mathml(node.astext(), as_block=True))
    raise nodes.SkipNode


def copy_demo(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html" and DEMO.is_dir():
        shutil.copytree(DEMO, Path(app.outdir, "demo"), dirs_exist_ok=True)


def setup(app: Sphinx) -> None:
    app.add_html_math_renderer("mathml", (inline_math, None), (display_math, None))
    app.connect("build-finished", copy_demo)
