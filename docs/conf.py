"""Sphinx's settings. ``python3 dev.py docs`` builds the site into docs/_build/html, without a
network.

The pages about results, the reference and the gallery are made at each build: from
benchmarks/results, from the docstrings and from examples/.
"""

from __future__ import annotations

import os
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

import ghostpoint  # noqa: E402
import reference_pages  # noqa: E402
import result_pages  # noqa: E402

os.environ["PYDATA_SPHINX_THEME_NO_VERSION_CHECK"] = "1"
# numpydoc says what is wrong with a docstring as a warning of Python's, which -W does not see
warnings.filterwarnings("error", module="numpydoc")

reference_pages.write(HERE / "reference")
result_pages.write(HERE / "results")

project = "ghostpoint"
author = "The ghostpoint developers"
copyright = "The ghostpoint developers"
release = version = ghostpoint.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "reference_pages",
]
root_doc = "index"
exclude_patterns = ["_build", "**/GALLERY_HEADER.*", "sg_execution_times.rst", "gallery/*.py", "gallery/*.ipynb"]
nitpicky = True

# Markdown
myst_enable_extensions = ["dollarmath", "amsmath", "deflist", "attrs_inline", "colon_fence"]
myst_heading_anchors = 3

# the reference: types stand in the docstrings, in words
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autosummary_generate = False
numpydoc_show_class_members = False
numpydoc_attributes_as_param_list = True
numpydoc_xref_param_type = False
viewcode_line_numbers = True

# the gallery: every script of examples/
sphinx_gallery_conf = {
    "examples_dirs": str(HERE.parent / "examples"),
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "gallery_order.ForReaders",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "capture_repr": (),
    "show_memory": False,
    "show_signature": False,
    "remove_config_comments": True,
    "image_srcset": ["2x"],
    "reference_url": {"ghostpoint": None},
    "backreferences_dir": None,
    "min_reported_time": 1e9,
}

# MathJax with all its fonts in one file, so that a page opened from the disk shows its formulas
_mathjax = find_spec("sphinx-mathjax-offline")
assert _mathjax is not None
assert _mathjax.origin is not None
mathjax_path = "tex-svg.js"

html_theme = "pydata_sphinx_theme"
html_title = "ghostpoint"
html_static_path = ["_static", str(Path(_mathjax.origin).parent / "static/mathjax/tex-svg.js")]
html_css_files = ["site.css"]
html_extra_path = [str(HERE.parent / "src/ghostpoint/explorer/page.html")]
html_show_sourcelink = False
html_show_search_summary = False  # it would be fetched, which a browser forbids for pages on the disk
html_copy_source = False
html_context = {"default_mode": "auto"}
html_sidebars = {name: [] for name in ("index", "tour", "your_network", "theory")}
html_theme_options = {
    "show_prev_next": True,
    "navigation_with_keys": False,
    "navbar_align": "left",
    "header_links_before_dropdown": 8,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "logo": {"text": "ghostpoint"},
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
