"""Checks of pages by what a user sees of them: boxes, texts and drawn lines, read out of the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.async_api import Page

SETTLED = """() => [...document.querySelectorAll(".js-plotly-plot")].every((node) => {
  const drawn = node.querySelector(".main-svg");
  return drawn && Math.abs(drawn.getBoundingClientRect().width - node.clientWidth) <= 1;
})"""
"""Returns whether each chart is drawn for the present width of the window."""

FAULTS = Path(__file__).with_name("seen.js").read_text(encoding="utf-8")


async def faults_of(page: Page) -> Any:
    """Wait until the charts have the width of the window, and return what is wrong with what is seen."""
    await page.wait_for_function(SETTLED)
    return await page.evaluate(FAULTS)
