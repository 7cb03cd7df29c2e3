"""The pages of the service itself: login, the page of the API, and that of an unknown address, with their scripts."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from aiohttp import web

from smartmob import __version__
from smartmob.errors import NotFound
from smartmob.kernel.http.routing import HTML

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    # With no-referrer a browser sends the login form with `Origin: null`, which the service refuses.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_SCRIPTS = ("docs.js", "login.js")


def page(template: str, status: int = 200, **values: object) -> web.StreamResponse:
    """Return a page as an answer."""
    text = _templates().get_template(template).render(version=__version__, **values)
    headers = {**_HEADERS, "Content-Security-Policy": _policy()}
    return web.Response(text=text, status=status, content_type=HTML, charset="utf-8", headers=headers)


def missing(address: str) -> web.StreamResponse:
    """Return the page for an unknown address."""
    return page("missing.html", status=404, address=address[:200])


def script(name: str) -> web.StreamResponse:
    """Return a script of these pages. Raises NotFound."""
    if name not in _SCRIPTS:
        raise NotFound(f"there is no script {name}")
    text = (Path(__file__).with_name("templates") / name).read_text(encoding="utf-8")
    return web.Response(text=text, content_type="text/javascript", charset="utf-8", headers=_HEADERS)


@cache
def _templates() -> Any:
    # Imported here because only requests for pages need it.
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("smartmob.kernel.http", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )


@cache
def _policy() -> str:
    """Return the Content-Security-Policy of the pages: only scripts of the service; the inline style by its hash."""
    style = hashlib.sha256(_templates().get_template("page.css").render().encode()).digest()
    return (
        f"default-src 'none'; script-src 'self'; connect-src 'self'; "
        f"style-src 'sha256-{base64.b64encode(style).decode()}'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )
