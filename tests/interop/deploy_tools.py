"""Reads a compose file by the library `compose-spec`, and prints what it found; runs in the environment of DEPLOY."""

from __future__ import annotations

import json
import sys

from compose_spec import PyCompose


def main() -> None:
    """Check the compose file on standard input; what does not fit the specification is an error."""
    compose = PyCompose.from_yaml(sys.stdin.read())
    compose.validate()
    json.dump(compose.to_dict(), sys.stdout)


if __name__ == "__main__":
    main()
