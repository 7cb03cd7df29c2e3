"""Files that commands write: each is complete, or does not exist."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from smartmob.errors import InvalidInput

_PART = ".part"


@contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """Yield a file that replaces `target` at the end of the block; raises InvalidInput."""
    part = target.with_name(target.name + _PART)
    try:
        with part.open("wb") as file:
            yield file
        part.replace(target)
    except OSError as error:
        raise InvalidInput(f"cannot write {target}: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)
