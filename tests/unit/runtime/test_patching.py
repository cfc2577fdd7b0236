"""Nobody feels the hooks: each hooked function answers everything as it does in a process without the extension."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from pathlib import Path

from repro_magic.runtime.patching import Patch


def answered(*how: str) -> dict[str, str]:
    program = Path(__file__).with_name("asked.py")
    done = subprocess.run([sys.executable, program, *how], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


# A builtin function has no code to swap, so that its name stands for something else; that is told apart from what
# somebody took before by `is` alone.
OTHERS = {"others than before": "['os.urandom', 'os.getrandom', 'posix.urandom']"}


def test_every_hooked_function_answers_as_without_the_hooks() -> None:
    bare, hooked = answered(), answered("hooked")
    assert len(bare) > 600
    assert {what: (one, bare[what]) for what, one in hooked.items() if one != bare[what]}.keys() == OTHERS.keys()
    assert {what: hooked[what] for what in OTHERS} == OTHERS


def test_a_patch_leaves_what_other_code_has_put_there() -> None:
    owner = types.SimpleNamespace(rate=1)
    patch = Patch(owner, "rate", lambda rate: rate + 1)
    owner.rate = 9
    patch.down()
    assert owner.rate == 9


def test_a_patch_on_an_object_uncovers_its_class() -> None:
    class Shell:
        """Its instances inherit a method."""

        def show(self) -> str:
            return "plain"

    shell = Shell()
    patch = Patch(shell, "show", lambda show: lambda: f"{show()}, patched")
    assert shell.show() == "plain, patched"
    patch.down()
    assert shell.show() == "plain"
    assert vars(shell) == {}
