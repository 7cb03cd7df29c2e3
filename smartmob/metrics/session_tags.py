"""The tags of a session, from the description that its sender writes."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec

from smartmob.metrics.model import MAX_KEY_CHARACTERS, Tag

RUN_TAG = "run"


def tags_of(description: dict[str, Any] | str) -> dict[str, str]:
    """Return the tags in a session's description, which is an object, the JSON text of one, or any other text."""
    if isinstance(description, str):
        try:
            document = msgspec.json.decode(description)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            document = None
        if not isinstance(document, dict):
            return {"description": description} if description else {}
        description = document
    return {name: _text(value) for name, value in description.items()}


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def tag_list(tags: dict[str, str]) -> list[Tag]:
    """Return tags in the form in which sessions list them."""
    return [Tag(name, value) for name, value in tags.items()]


def run_tag(tags: dict[str, str]) -> str | None:
    """Return the name of the run in the tags of a session, or None."""
    return tags.get(RUN_TAG, "")[:MAX_KEY_CHARACTERS] or None


def run_key(scm_ref: str, tags: dict[str, str]) -> str:
    """Return a digest of the commit and the tags, which the sessions of one run have in common."""
    common = json.dumps([scm_ref, sorted(tags.items())])
    return hashlib.blake2b(common.encode(), digest_size=16, person=b"smartmob-run").hexdigest()
