"""Pages as text: templates, what each of them is given, and what a browser may do with them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from smartmob import __version__
from smartmob.console import assets


@dataclass(frozen=True, slots=True)
class NavigationEntry:
    """An entry of the navigation."""

    name: str
    href: str
    icon: str


PLACES = (
    NavigationEntry("Overview", "/console/", "grid"),
    NavigationEntry("Timeline", "/console/timeline", "timeline"),
    NavigationEntry("Tests", "/console/tests", "flask"),
    NavigationEntry("Processes", "/console/processes", "play"),
    NavigationEntry("Commands", "/console/commands", "prompt"),
    NavigationEntry("Load", "/console/load", "target"),
    NavigationEntry("Hosts", "/console/hosts", "host"),
)
"""What the navigation shows, in its order."""


def headers(*, charts: bool) -> dict[str, str]:
    """Return what comes with a page: only files of this service are loaded, and nothing that stands in it is run.

    On a page with charts the style sheet that the library brings along is let in by its hash.
    """
    styles = "".join(f" 'sha256-{digest}'" for digest in assets.plotly_styles()) if charts else ""
    return {
        "Content-Security-Policy": f"default-src 'none'; script-src 'self'; style-src 'self'{styles}; "
        "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-store",
    }


def render(template: str, place: str, title: str, **values: Any) -> str:
    """Return a page; `place` is the name of its entry in the navigation."""
    return str(
        _templates()
        .get_template(template)
        .render(version=__version__, places=PLACES, place=place, title=title, static=static, **values)
    )


def static(name: str) -> str:
    """Return the address of a file that pages load."""
    return f"/console/static/{assets.digest()}/{name}"


@cache
def _templates() -> Any:
    # Only the few requests for pages need it.
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("smartmob.console", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
