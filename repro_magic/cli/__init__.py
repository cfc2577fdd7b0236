"""The `repro-magic` command."""

from __future__ import annotations

from repro_magic.cli.verify import app

__all__ = ["app"]
