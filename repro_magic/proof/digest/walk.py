"""The walk over a value: visits each object once, with an explicit stack, bounded and interruptible."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from blake3 import blake3

from repro_magic.introspection.foreign import kind_of
from repro_magic.proof.digest.model import Gap
from repro_magic.proof.digest.parts import Missing, Own, Parts, several
from repro_magic.proof.digest.plain_values import encoder_of, tagged
from repro_magic.rng.user_generators import global_generators
from repro_magic.runtime.interrupts import interruptible, is_users, is_waiting

# Visiting more objects than this would take minutes and gigabytes. Plain values do not count.
_MOST_OBJECTS = 10_000_000
# Members of a set are visited separately, so objects in a cycle may be visited many times.
_MOST_REVISITS = 100_000
# Checking for Ctrl-C, and calling the hash function, cost more than visiting an object, so both are done in batches.
_OBJECTS_BETWEEN_CHECKS, _BATCH = 1024, 4096


class TooLargeError(Exception):
    """The value holds more objects than the walk visits."""


class _Frame:
    """A value whose parts the walk is visiting."""

    __slots__ = ("bits", "dependent", "depends", "depth", "gaps", "hasher", "is_own", "parts", "step", "steps", "value")

    def __init__(self, value: object, parts: Parts, depth: int, gaps: int, dependent: int) -> None:
        self.value, self.parts, self.depth = value, parts, depth
        self.is_own = parts.is_own
        self.gaps, self.dependent = gaps, dependent  # their numbers before this value
        self.steps = iter(parts.steps)
        self.step: object = ""
        self.depends = False  # whether the digest depends on the path
        self.hasher: Any = None  # most values have few parts, which are hashed at once
        tag = parts.tag.encode("utf-8", "surrogatepass")
        self.bits = [len(tag).to_bytes(8, "little"), tag]

    def add(self, bits: bytes) -> None:
        self.bits += (len(bits).to_bytes(8, "little"), bits)
        if len(self.bits) >= _BATCH and not self.parts.is_set:
            self.hasher = self.hasher or blake3()
            self.hasher.update(b"".join(self.bits))
            self.bits.clear()

    def digest(self) -> bytes:
        if self.parts.is_set:
            members = sorted(zip(self.bits[2::2], self.bits[3::2], strict=True))
            self.bits[2:] = itertools.chain.from_iterable(members)
        rest = b"".join(self.bits)
        if self.hasher is None:
            return bytes(blake3(rest).digest())
        self.hasher.update(rest)
        return bytes(self.hasher.digest())


class Walk:
    """A pass over a value. Neither depth nor an exception in the value's code ends it.

    Each object has its own digest, so shared parts are visited once. The digest of an object in a cycle depends on the
    path to it. A set drops such digests, because the order of its members is arbitrary.

    Attributes:
        gaps: the parts that could not be digested so far.
        has_own: whether the value holds something that counts in `Digest.own` only.
    """

    def __init__(self, visitor_for: Callable[[object], Visitor], *, is_whole: bool = False) -> None:
        """Start a walk.

        Args:
            visitor_for: returns the visitor for a value.
            is_whole: whether libraries' private data counts.
        """
        self.gaps: list[Gap] = []
        self.has_own = False
        self._visitor_for, self._is_whole = visitor_for, is_whole
        # Id -> digest, the object (to keep its id unique), whether the digest depends on the path.
        self._known: dict[int, tuple[bytes, object, bool]] = {}
        self._open: dict[int, int] = {}  # id -> depth of the values whose parts are being visited
        self._stack: list[_Frame] = []
        self._dependent: list[int] = []
        self._visited = self._revisits = 0
        self._globals: set[int] | None = None

    @interruptible
    def over(self, value: object) -> bytes:
        """Walk over a value, and return its digest."""
        bits = self._enter(value)
        while self._stack:
            frame = self._stack[-1]
            if bits is not None:
                self._add(frame, bits)
            try:
                bits = self._advance(frame)
            except TooLargeError:
                raise
            except BaseException as error:  # noqa: BLE001 - code of any class runs here
                bits = self._leave_broken(error)
        return bits or b""

    def _advance(self, frame: _Frame) -> bytes | None:
        """Continue with a value's parts: None when a part has parts itself, the value's digest at the end."""
        for step, part in frame.steps:
            encode = encoder_of(type(part))
            if encode is not None:
                if not frame.is_own or self._is_whole:
                    frame.add(encode(part))
                continue
            frame.step = step
            bits = self._enter(part)
            if bits is None:
                return None
            self._add(frame, bits)
        return self._leave(frame.digest())

    def _add(self, frame: _Frame, bits: bytes) -> None:
        frame.add(bits)
        if frame.parts.is_set:
            self._revisits += len(self._dependent) - frame.dependent
            while len(self._dependent) > frame.dependent:
                self._known.pop(self._dependent.pop(), None)
            if self._revisits > _MOST_REVISITS:
                raise TooLargeError(f"members of sets refer to each other in more than {_MOST_REVISITS:,} ways")

    def _enter(self, value: object) -> bytes | None:
        """The digest of a value without parts; None for a value with parts, which is now on top of the stack."""
        encode = encoder_of(type(value))
        if encode is not None:
            return encode(value)
        key = id(value)
        if key in self._open:
            depth = self._open[key]
            self._mark_dependent()
            return tagged(b"inside", str(len(self._stack) - depth).encode())
        if key in self._known:
            bits, _, is_dependent = self._known[key]
            if is_dependent:
                self._mark_dependent()
            return bits
        content = self._content_of(value)
        if type(content) is bytes:
            self._known[key] = content, value, False
            return content
        self._push(value, content)  # type: ignore[arg-type]
        return None

    def _push(self, value: object, parts: Parts) -> None:
        frame = _Frame(value, parts, len(self._stack), len(self.gaps), len(self._dependent))
        self.has_own |= frame.is_own
        frame.is_own |= bool(self._stack) and self._stack[-1].is_own
        if type(value) is not Parts:
            self._open[id(value)] = frame.depth
        self._stack.append(frame)

    def _mark_dependent(self) -> None:
        if self._stack:
            self._stack[-1].depends = True

    def _leave(self, bits: bytes) -> bytes:
        """Pop the top value, whose digest is complete."""
        frame = self._stack.pop()
        if type(frame.value) is not Parts:
            del self._open[id(frame.value)]
            self._known[id(frame.value)] = bits, frame.value, frame.depends
            if frame.depends:
                self._dependent.append(id(frame.value))
        if frame.depends:
            self._mark_dependent()
        if frame.parts.is_set:
            self.gaps[frame.gaps :] = sorted(self.gaps[frame.gaps :], key=lambda gap: (gap.path, gap.kind, gap.why))
        return bits

    def _leave_broken(self, error: BaseException) -> bytes:
        """Pop a value whose parts raised an error; the parts visited so far do not count."""
        if is_users(error):
            raise error
        while type(self._stack[-1].value) is Parts and len(self._stack) > 1:  # a group of parts of the value below
            self._stack.pop()
        frame = self._stack[-1]
        frame.depends = True
        bits = self._leave(_gap_bits(frame.value))
        del self.gaps[frame.gaps :]
        self._record_gap(frame.value, _failure_reason(error))
        return bits

    def _content_of(self, value: object) -> bytes | Parts:
        if type(value) is Parts:
            return value
        if type(value) is Own:
            self.has_own = True
            return several("own", value.value) if self._is_whole else tagged(b"own", b"")
        if type(value) is Missing:
            self.gaps.append(Gap(self._path(), value.kind, value.why))
            self._mark_dependent()
            return tagged(b"gap", value.kind.encode())
        self._count()
        try:
            return self._visitor_for(value)(self, value)
        except BaseException as error:
            if is_users(error):
                raise
            return self.gap(value, _failure_reason(error))

    def _count(self) -> None:
        self._visited += 1
        if self._visited % _OBJECTS_BETWEEN_CHECKS == 0 and is_waiting():
            raise KeyboardInterrupt
        if self._visited > _MOST_OBJECTS:
            raise TooLargeError(f"it holds more than {_MOST_OBJECTS:,} objects")

    def gap(self, value: object, why: str) -> bytes:
        """Record that the visited value has nothing to compare."""
        self._record_gap(value, why)
        return _gap_bits(value)

    def _record_gap(self, value: object, why: str) -> None:
        self.gaps.append(Gap(self._path(), kind_of(value), why))
        self._mark_dependent()  # the gap's path depends on how the walk got here

    def _path(self) -> str:
        return "".join(frame.parts.written(frame.step) for frame in self._stack)

    def is_global(self, value: object) -> bool:
        """Whether a value is a library's global generator, whose state is not part of the object that holds it."""
        if self._globals is None:
            self._globals = {id(generator) for generator in global_generators()}
        return id(value) in self._globals


# Returns the bytes or the parts of a value.
Visitor = Callable[[Walk, Any], bytes | Parts]


def _failure_reason(error: BaseException) -> str:
    return f"looking at it failed: {kind_of(error).rpartition('.')[2]}"


def _gap_bits(value: object) -> bytes:
    return tagged(b"gap", kind_of(value).encode())
