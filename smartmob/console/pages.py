"""The rendering of pages from templates, and the headers that restrict browsers."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from smartmob import __version__, chart_library
from smartmob.console import assets


class NavigationEntry(msgspec.Struct, frozen=True):
    """An entry of the navigation."""

    name: str
    href: str
    icon: str


NAVIGATION = (
    NavigationEntry("Overview", "/console/", "grid"),
    NavigationEntry("Timeline", "/console/timeline", "timeline"),
    NavigationEntry("Tests", "/console/tests", "flask"),
    NavigationEntry("Programs", "/console/processes", "play"),
    NavigationEntry("Jobs", "/console/commands", "prompt"),
    NavigationEntry("Load", "/console/load", "target"),
    NavigationEntry("Machines", "/console/hosts", "host"),
    NavigationEntry("Alerts", "/console/alerts", "bell"),
)
"""The entries of the navigation, in their order."""


_BELOW = ("item.html",)
"""Pages of one item whose id is not in their address."""


def headers(*, charts: bool) -> dict[str, str]:
    """Return the headers of a page: a browser loads only files of this service, and runs no inline script or style.

    On a page with charts, the style sheet that the chart library adds is allowed by its hash.
    """
    styles = "".join(f" 'sha256-{digest}'" for digest in chart_library.STYLES) if charts else ""
    return {
        "Content-Security-Policy": f"default-src 'none'; script-src 'self'; style-src 'self'{styles}; "
        "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-store",
    }


def render(template: str, section: str, title: str, **values: Any) -> str:
    """Return a page as HTML; `section` is the name of its entry in the navigation.

    A page below that entry, which shows one item by its id, has a link back to the entry.
    """
    below = values.get("id") is not None or template in _BELOW
    parent = next((entry for entry in NAVIGATION if entry.name == section and below), None)
    known = {"version": __version__, "navigation": NAVIGATION, "section": section, "title": title, "parent": parent}
    return str(_templates().get_template(template).render(**known, static=static, modules=assets.modules, **values))


def static(name: str) -> str:
    """Return the address of a static file."""
    return f"/console/static/{assets.digest()}/{name}"


@cache
def _templates() -> Any:
    # Imported late, because only requests for pages need it.
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("smartmob.console", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
