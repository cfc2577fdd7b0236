"""Hooks in foreign code that its users cannot feel.

A Python function is hooked without being replaced: the function object stays, and only its code is swapped. Whoever
holds the function, imported it under another name, pickles it, compares it, scripts it or asks `inspect` about it has
the very same object as before. The new code has the old one's name, file, first line, parameters and free variables; it
calls our hooks, which it holds among its constants, and the old code.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any
from weakref import WeakSet

Hook = Callable[..., object]
_BEFORE, _ORIGINAL, _AFTER, _AROUND = (f"repro_magic {role}" for role in ("before", "original", "after", "around"))
_RUNS_LATER = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_swapped: WeakSet[CodeType] = WeakSet()


class uncompiled:  # noqa: N801 - used as a function; contextlib's own frames would be compiled
    """Keep `torch.compile` from compiling what a hook calls: a function that it runs piece by piece may call the hook.

    Example:
        >>> with uncompiled():
        ...     pass
    """

    __slots__ = ("_before", "_switch")

    def __enter__(self) -> None:
        """Turn Dynamo off on this thread, if it was ever imported."""
        self._switch = getattr(sys.modules.get("torch._dynamo.eval_frame"), "set_eval_frame", None)
        if self._switch is not None:
            self._before = self._switch(None)

    def __exit__(self, *_: object) -> None:
        """Turn it on again if it was."""
        if self._switch is not None:
            self._switch(self._before)


class Hooked:
    """A function whose calls a hook sees, until `down`.

    Example:
        >>> def double(x):
        ...     return 2 * x
        >>> hooked = Hooked(double, before=print)
        >>> double(4)
        4
        8
        >>> hooked.down()
        >>> double(4)
        8
    """

    def __init__(
        self,
        function: FunctionType,
        *,
        before: Hook | None = None,
        after: Hook | None = None,
        around: Hook | None = None,
    ) -> None:
        """Swap the code.

        Args:
            function: a plain one: no generator, no coroutine.
            before: called with the values of all parameters, in order, before the function's own code.
            after: called with the same values once that has returned.
            around: called in place of the function's own code, with that as a function and the caller's arguments.

        Raises:
            TypeError: `function` is no plain function.
        """
        if type(function) is not FunctionType or function.__code__.co_flags & _RUNS_LATER:
            raise TypeError(f"{function!r} cannot be hooked")
        self._function, self._code = function, function.__code__
        original = FunctionType(
            self._code, function.__globals__, function.__name__, function.__defaults__, function.__closure__
        )
        original.__kwdefaults__ = function.__kwdefaults__
        roles = {_BEFORE: before, _ORIGINAL: original, _AFTER: after, _AROUND: around}
        self._ours = _with(self._code, {role: value for role, value in roles.items() if value is not None})
        _swapped.add(self._ours)
        keep_from_dynamo()
        function.__code__ = self._ours

    def down(self) -> None:
        """Put the code back, unless other code has taken its place meanwhile."""
        if self._function.__code__ is self._ours:
            self._function.__code__ = self._code


class Patch:
    """An attribute of somebody's module or object that holds ours, until `down`.

    Args:
        owner: the module or object.
        name: the attribute.
        make: makes what stands there from the original.

    Attributes:
        original: what stood there before.
        ours: what stands there now.

    Raises:
        AttributeError: `owner` has no such attribute.

    Example:
        >>> import types
        >>> settings = types.SimpleNamespace(rate=1)
        >>> patch = Patch(settings, "rate", lambda rate: rate + 1)
        >>> settings.rate
        2
        >>> patch.down()
        >>> settings.rate
        1
    """

    def __init__(self, owner: object, name: str, make: Callable[[Any], Any]) -> None:
        """Put ours there."""
        self._owner, self._name = owner, name
        self._is_inherited = name not in vars(owner)
        self.original = getattr(owner, name)
        self.ours = make(self.original)
        setattr(owner, name, self.ours)

    def down(self) -> None:
        """Put the original back, unless other code has put something else there meanwhile."""
        if vars(self._owner).get(self._name) is not self.ours:
            return
        if self._is_inherited:
            delattr(self._owner, self._name)
        else:
            setattr(self._owner, self._name, self.original)


def keep_from_dynamo() -> None:
    """Let `torch.compile` compile the functions' own code, as ever, and not the code that was swapped in before it."""
    skip: Any = getattr(sys.modules.get("torch._dynamo.eval_frame"), "skip_code", None)
    for code in _swapped if skip is not None else ():
        skip(code)


def is_swapped_in(code: CodeType) -> bool:
    """Whether a frame with this code is a hooked function's, which calls the function's own code."""
    return code in _swapped


def _with(code: CodeType, values: dict[str, Any]) -> CodeType:
    """The code to swap in; Python compiles no functions as constants, so they are put in afterwards."""
    made = _compiled(code, frozenset(values))
    constants = tuple(values.get(one, one) if isinstance(one, str) else one for one in made.co_consts)
    return made.replace(co_consts=constants, co_name=code.co_name, co_qualname=code.co_qualname, co_flags=code.co_flags)


def _compiled(code: CodeType, roles: frozenset[str]) -> CodeType:
    tree = ast.parse(_source(code, roles))
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt | ast.expr | ast.arg | ast.keyword):
            node.lineno = node.end_lineno = code.co_firstlineno
            node.col_offset = node.end_col_offset = 0
    module = compile(tree, code.co_filename, "exec", dont_inherit=True)
    for _ in ("outer", "inner"):
        module = next(one for one in module.co_consts if isinstance(one, CodeType))
    return module


def _source(code: CodeType, roles: frozenset[str]) -> str:
    parameters = _Parameters(code)
    result = _call(_ORIGINAL, parameters.passed_on)
    if _AROUND in roles:
        result = _call(_AROUND, f"{_constant(_ORIGINAL)}, {parameters.passed_on}")
    if _AFTER in roles:  # a tuple keeps the order, and needs no variable beside the function's own
        result = f"({result}, {_call(_AFTER, parameters.values)})[0]"
    free = ", ".join(code.co_freevars)
    lines = [
        f"def outer({free}):",
        f" def inner({parameters.declared}):",
        *([f"  {_call(_BEFORE, parameters.values)}"] if _BEFORE in roles else []),
        f"  return {result}",
        *([f"  {free}"] if free else []),  # never reached: the new code has the same free variables
    ]
    return "\n".join(lines)


def _call(role: str, arguments: str) -> str:
    return f"{_constant(role)}({arguments})"


def _constant(role: str) -> str:
    # The compiler folds the condition away; of a bare constant that is called it would warn.
    return f"({role!r} if 1 else {role!r})"


class _Parameters:
    """A function's parameters, in the three ways in which the new code writes them."""

    def __init__(self, code: CodeType) -> None:
        by_name = code.co_argcount + code.co_kwonlyargcount
        rest = list(code.co_varnames[by_name:])
        self._first = list(code.co_varnames[: code.co_argcount])
        self._named = list(code.co_varnames[code.co_argcount : by_name])
        self._args = [rest.pop(0)] if code.co_flags & inspect.CO_VARARGS else []
        self._kwargs = [rest.pop(0)] if code.co_flags & inspect.CO_VARKEYWORDS else []
        self._position_only = code.co_posonlyargcount

    @property
    def values(self) -> str:
        """All of them, in order."""
        return ", ".join([*self._first, *self._args, *self._named, *self._kwargs])

    @property
    def declared(self) -> str:
        """As the function declares them."""
        first = self._first.copy()
        if self._position_only:
            first.insert(self._position_only, "/")
        star = [f"*{one}" for one in self._args] or (["*"] if self._named else [])
        return ", ".join([*first, *star, *self._named, *(f"**{one}" for one in self._kwargs)])

    @property
    def passed_on(self) -> str:
        """As they are passed on to the function's own code."""
        named = [f"{one}={one}" for one in self._named]
        return ", ".join(
            [*self._first, *(f"*{one}" for one in self._args), *named, *(f"**{one}" for one in self._kwargs)]
        )


def lookalike(original: Any, tell: Callable[[], object]) -> Any:  # noqa: ANN401 - a builtin function
    """What stands for a builtin function, in all modules that export it: it calls `tell` first.

    A builtin function has no code to swap. Its C entry could be exchanged through `ctypes`, but an exception, Ctrl-C
    say, cannot leave such a callback, and another interpreter of the process would run it, too. So the name is bound to
    an object that answers everything as the original does: it pickles, compares, hashes and introspects the same; only
    `type()` tells them apart, and `is` with a reference that was taken before.

    Example:
        >>> import os
        >>> found = lookalike(os.getpid, lambda: print("asked"))
        >>> found == os.getpid, hash(found) == hash(os.getpid), found.__name__, found() == os.getpid()
        asked
        (True, True, 'getpid', True)
    """
    return type(
        "builtin_function_or_method",
        (_Lookalike,),
        {"__slots__": (), "__module__": "builtins", **_methods(original, tell)},
    )()


class _Lookalike:
    __slots__ = ("__weakref__",)


def _methods(original: Any, tell: Callable[[], object]) -> dict[str, Any]:  # noqa: ANN401 - takes any function
    def call(_self: object, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the original
        tell()
        return original(*args, **kwargs)

    def is_equal(_self: object, other: object) -> Any:  # noqa: ANN401 - NotImplemented, too
        return True if type(other) is type(_self) else original == other

    return {
        "__call__": call,
        "__eq__": is_equal,
        "__hash__": lambda _self: hash(original),
        "__repr__": lambda _self: repr(original),
        "__doc__": property(lambda _self: original.__doc__),  # help() passes by the look-up of attributes
        "__dir__": lambda _self: dir(original),
        "__getattribute__": lambda _self, name: getattr(original, name),
    }
