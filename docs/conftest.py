"""Makes a test of the examples of each page, and of those of the README, which lies outside of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs._examples.documents import ExamplesFile
from tests.shared import share

DOCS = Path(__file__).parent
README = DOCS.parent / "README.md"


class Pages:
    """Collects pages. A plugin of its own, since what a conftest.py collects ends with its folder."""

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> ExamplesFile | None:
        """Collect the pages of the documentation, and the README."""
        wanted = file_path == README or (file_path.suffix == ".md" and file_path.is_relative_to(DOCS))
        return ExamplesFile.from_parent(parent, path=file_path) if wanted else None


def pytest_configure(config: pytest.Config) -> None:
    """Register the collector, and make the folders that all workers of this run share."""
    share(config)
    config.pluginmanager.register(Pages(), "smartmob-pages")
