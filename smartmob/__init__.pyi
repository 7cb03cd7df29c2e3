"""The public names, for type checkers; the module itself imports them when they are used."""

from smartmob.embedded_service import serving as serving

__version__: str
