"""`python -m repro_magic` is `repro-magic`."""

from repro_magic.cli import app

if __name__ == "__main__":
    app(prog_name="repro-magic")
