"""Everything that touches mmdet."""

import warnings

# mmengine 0.10.7, the last release, asks setuptools for versions; requirements.txt pins one that still answers
warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
