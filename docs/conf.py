"""The site, built from the repository's root, so that links lead where they lead in a checkout.

uv run --group docs sphinx-build -W -c docs . site
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_site"))

project = "Crucible"
author = "The Crucible authors"
copyright = "The Crucible authors, MIT licence"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "captions",
    "docstrings",
    "navigation",
    "pictures",
    "reference",
]
root_doc = "docs/index"
include_patterns = [
    "CONTRIBUTING.md",
    "docs/**.md",
    "docs/**.rst",
    "packages/*/README.md",
    "packages/*/CHANGELOG.md",
]
exclude_patterns = [".*", "site", "dist", "**/.*", "**/node_modules"]
myst_heading_anchors = 4  # the anchors that GitHub gives to headings

default_role = "literal"  # in docstrings a word in single backticks is code
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 80
napoleon_google_docstring = False
napoleon_custom_sections = [("Attributes", "params_style")]
napoleon_use_rtype = False

html_theme = "furo"
html_title = "Crucible"
html_static_path = ["_site/style.css", "_site/offline.js"]
html_css_files = ["style.css"]
html_js_files = ["offline.js"]
html_extra_path = ["_site/front"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True
