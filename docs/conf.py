"""The configuration with which Sphinx builds the documentation."""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from smartmob import __version__

project = "smartmob"
author = "the smartmob authors"
copyright = author
release = version = __version__

extensions = ["myst_parser", "smartmob_reference", "smartmob_tour"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "_ext", "_examples"]
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]

html_theme = "furo"
html_title = f"smartmob {version}"
html_theme_options: dict[str, Any] = {"source_repository": "", "top_of_page_buttons": []}
html_show_copyright = False
html_show_sphinx = False
# Commands are copied: quotes and dashes must stay what they are.
smartquotes = False


def setup(app: Any) -> None:
    """Leave out navigation and search with the tag `content`, for tests: they take half of the time of building."""
    if app.tags.has("content"):
        app.config.html_theme, app.config.html_theme_options = "basic", {}
        app.connect("builder-inited", lambda app: setattr(app.builder, "search", False))
