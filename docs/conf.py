"""The documentation's configuration: `make docs` builds it, without network, with warnings as errors.

Owns what Sphinx is told. What the pages need beyond Sphinx is in `docs/extensions`, one thing a file.

Synopsis::

    python -m sphinx -W --keep-going -n -b html docs docs/_build/html
"""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # for docs.extensions, and tests.test_tidy's table

project = "coord"
author = "coord's contributors"
version = release = installed_version("coord")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "docs.extensions.api",
    "docs.extensions.commands",
    "docs.extensions.drawings",
    "docs.extensions.names",
    "docs.extensions.not_run",
    "docs.extensions.settings",
]

# One line for each public module: its page of the reference is made of what its ``__all__`` names.
api_modules = {
    "coord": "the client",
    "recipes": "locks and all the rest",
    "coord.errors": "what can go wrong",
    "coord.testing": "servers for tests",
    "coord.blocking": "for threads",
    "coord.aio": "for asyncio",
    "pytest_coord": "the pytest plugin",
}

# What users get from a method, and never import by name.
api_besides = {
    "recipes": [
        "recipes.fence.FencedTransaction",
        "recipes.consumption.Consumption",
        "recipes.counter.Codec",
    ],
}

nitpicky = True
nitpick_ignore_regex = [  # what signatures name and nobody needs to know more of
    ("py:class", r"recipes\.grant\.Standing"),
    ("py:class", r"coord\.(server|bridge|testing)\..*"),
]
default_role = "name"  # `Lock` in a docstring is a link where it can be one
exclude_patterns = ["_build"]
root_doc = "index"
highlight_language = "default"
pygments_style = "friendly"
pygments_dark_style = "github-dark"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_use_legacy_class_based = False
python_maximum_signature_line_length = 130
add_module_names = False
toc_object_entries = False

html_theme = "furo"
html_title = "coord"
html_static_path = ["_static"]
html_css_files = ["coord.css"]
html_favicon = "_static/coord.svg"
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b6e66", "color-brand-content": "#0b6e66"},
    "dark_css_variables": {"color-brand-primary": "#57c7bb", "color-brand-content": "#57c7bb"},
}
