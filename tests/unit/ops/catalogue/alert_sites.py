"""The names that PyTorch's compiled libraries hand to `alertNotDeterministic`, read from the libraries themselves.

A name and a dispatch label look alike ("avg_pool3d_backward_out_frame"), so strings alone cannot tell. Each call of the
function is looked up in the machine code, and of the literals loaded right before it that one is taken whose length
is loaded too (a string_view). Limits: ELF on x86-64 only, and a name put together at run time is not seen.
"""

from __future__ import annotations

import mmap
import platform
import re
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

READABLE_HERE = sys.platform == "linux" and platform.machine() == "x86_64"
FUNCTION = rb"[^\0]*alertNotDeterministic[^\0]*"
SYMBOL = np.dtype([("name", "<u4"), ("info", "<u4"), ("value", "<u8"), ("size", "<u8")])
RELOCATION = np.dtype([("at", "<u8"), ("type", "<u4"), ("symbol", "<u4"), ("addend", "<i8")])
CALL, JUMP = 0xE8, 0xE9
JUMP_THROUGH_SLOT = re.compile(rb"\xff\x25(....)", re.DOTALL)
LOAD_ADDRESS = re.compile(rb"(?=[\x48\x4c]\x8d[\x05\x0d\x15\x1d\x25\x2d\x35\x3d](....))", re.DOTALL)
WINDOW, STRIDE = 96, 2**24


class _Elf:
    """The few sections that are needed: name to address, place in the file, and size."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self.bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        table = struct.unpack_from("<Q", self.bytes, 40)[0]
        size, count, names = struct.unpack_from("<HHH", self.bytes, 58)
        heads = [struct.unpack_from("<IIQQQQ", self.bytes, table + number * size) for number in range(count)]
        self.sections = {self.text(heads[names][4] + head[0]).decode(): head[3:6] for head in heads}

    def text(self, place: int) -> bytes:
        return self.bytes[place : self.bytes.find(b"\0", place)]

    def array(self, section: str, kind: Any) -> Any:
        if section not in self.sections:
            return np.empty(0, kind)
        _, place, size = self.sections[section]
        return np.frombuffer(self.bytes, kind, size // np.dtype(kind).itemsize, place)

    def literal(self, address: int) -> bytes:
        for name, (start, place, size) in self.sections.items():
            if "rodata" in name and start <= address < start + size:
                return self.text(place + address - start)
        return b""


def _entry_points(elf: _Elf) -> list[int]:
    """Where a call of the function goes: the function, and the stubs through which other libraries reach it."""
    names = {match.start() for match in re.finditer(FUNCTION, elf.array(".dynstr", np.uint8).tobytes())}
    symbols = elf.array(".dynsym", SYMBOL)
    wanted = np.flatnonzero(np.isin(symbols["name"], list(names)))
    found = {int(value) for value in symbols["value"][wanted] if value}
    relocations = np.concatenate([elf.array(".rela.plt", RELOCATION), elf.array(".rela.dyn", RELOCATION)])
    slots = set(relocations["at"][np.isin(relocations["symbol"], wanted)].tolist()) if len(wanted) else set()
    for section in (".plt", ".plt.sec", ".plt.got"):
        code = elf.array(section, np.uint8).tobytes()
        for match in JUMP_THROUGH_SLOT.finditer(code):
            start = elf.sections[section][0]
            if start + match.end() + struct.unpack("<i", match[1])[0] in slots:
                found.add(start + match.start() // 16 * 16)  # stubs take 16 bytes
    return sorted(found)


def _calls(code: Any, address: int, targets: list[int]) -> Iterator[int]:
    """Offsets in `code` of calls of one of `targets`."""
    for start in range(0, len(code), STRIDE):
        part = code[start : start + STRIDE + 5]
        at = np.flatnonzero((part[:-4] == CALL) | (part[:-4] == JUMP))
        at = at[at < STRIDE]
        distance = sum(part[at + 1 + byte].astype(np.uint32) << np.uint32(8 * byte) for byte in range(4))
        goal = address + start + at + 5 + np.asarray(distance, np.uint32).view(np.int32)
        yield from (start + at[np.isin(goal, targets)]).tolist()


def alert_names(library: Path) -> set[str]:
    """The names in one shared library."""
    elf = _Elf(library)
    targets = _entry_points(elf)
    if not targets or ".text" not in elf.sections:
        return set()
    code, (address, _, _) = elf.array(".text", np.uint8), elf.sections[".text"]
    found = set()
    for call in _calls(code, address, targets):
        window = code[max(0, call - WINDOW) : call].tobytes()
        lengths = {struct.unpack_from("<I", window, at)[0] for at in range(len(window) - 3)}
        for match in LOAD_ADDRESS.finditer(window):
            after = address + call - len(window) + match.start() + 7
            literal = elf.literal(after + struct.unpack("<i", match[1])[0])
            if literal and len(literal) in lengths:
                found.add(literal.decode())
    return found
