"""The globals that a pickle names, and the same pickle in the instructions that `torch.load(weights_only=True)` reads.

Nothing is executed: `pickletools` lists the instructions, and their effect on the stack is followed. torch's `weights_only` reads
those of protocol 2. `torch.save(..., pickle_protocol=4)` writes others, and `torch.save(model)` before torch 1.6 wrote the source
code of each class beside it; both can be rewritten in the older instructions.
"""

from __future__ import annotations

import _compat_pickle
import itertools
import pickle
import pickletools
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

from resnets.weights.readers.inert_classes import Inert, InertDict, InertGetter, InertList, InertPartial, InertTensor

MAX_NAME_LENGTH = (
    1000  # characters of a module or a name; one string may occur in many names, which are all written out
)

_MODULE = "module"  # the first of the four items of a reference to a class with its source code
_DAMAGED = (
    ValueError,
    IndexError,
    KeyError,
    EOFError,
    OverflowError,
    TypeError,
    struct.error,
    RecursionError,
    MemoryError,
)
_STAND_INS = {"builtins.getattr": InertGetter, "functools.partial": InertPartial}
_SIMPLE = {"FRAME": b"", "EMPTY_SET": pickle.EMPTY_LIST, "ADDITEMS": pickle.APPENDS, "FROZENSET": pickle.TUPLE}


class Name(str):
    """The full name of a global on the stack of a pickle, or of the object that it makes.

    `module_and_name` has both as the pickle writes them.
    """

    module_and_name: tuple[str, str]

    @property
    def raw(self) -> str:
        return ".".join(self.module_and_name)


def find_globals(file: BinaryIO, pickles: int = 1) -> tuple[dict[Name, type], bytes]:
    """The globals that consecutive pickles name, each with an inert class for it; and the pickles in older instructions.

    Both end early where the file is damaged: torch then reports what is wrong.
    """
    found_globals: dict[Name, type] = {}
    output = b""
    for _ in range(pickles):
        start = file.tell()
        try:
            output += _Rewriter(found_globals).of(file)
        except _DAMAGED:
            file.seek(start)
            return found_globals, output + file.read()
    return found_globals, output


def first_names(file: BinaryIO, most: int) -> Iterator[str]:
    """The globals among the first `most` instructions of a pickle of protocol 0 or 1, which writes each name out.

    No stack is followed, so this takes time and memory in proportion to what is read, whatever the file holds.
    """
    try:
        for code, argument, _ in itertools.islice(pickletools.genops(file), most):
            if code.name in ("GLOBAL", "INST"):
                yield _python3_name(*str(argument).split(" ", 1))
    except _DAMAGED:
        return


def is_old(text: bytes) -> bool:
    """Whether this is an undamaged pickle of protocol 0 or 1, which torch does not read."""
    if text.startswith(pickle.PROTO):
        return False
    try:
        return sum(1 for _ in pickletools.genops(text)) > 1
    except _DAMAGED:
        return False


class _Rewriter:
    """One pickle, instruction for instruction.

    Attributes:
        output: the rewritten instructions.
        starts: for each object on the stack, the position in `output` of the first instruction that makes it. Objects that are
            not needed are cut off there, since torch reads no instruction that removes an object.
        memo_positions: for each number in the memo, the position in `output` that sets it, in ascending order.
        lost: objects that were cut off and have a number in the memo.
        marks: positions of marks on the stack; searching for the last would take time in proportion to the stack.
    """

    def __init__(self, found_globals: dict[Name, type]) -> None:
        self.found_globals = found_globals
        self.output = bytearray()
        self.stack: list[Any] = []
        self.memo: dict[Any, Any] = {}
        self.starts: list[int] = []
        self.memo_positions: dict[Any, int] = {}
        self.lost: dict[Any, Any] = {}
        self.marks: list[int] = []

    def of(self, file: BinaryIO) -> bytes:
        start = file.tell()
        listed = list(pickletools.genops(file))
        end = file.tell()
        file.seek(start)
        text = file.read(end - start)
        offset = listed[0][2] or 0
        ends = [(at or 0) - offset for _, _, at in listed[1:]] + [len(text)]
        for (code, argument, at), stop in zip(listed, ends, strict=True):
            before = len(self.output)
            self._write(code.name, argument, text[(at or 0) - offset : stop])
            self._step(code, argument)
            if len(self.stack) > len(self.starts):
                self.starts.append(before)
            else:
                del self.starts[len(self.stack) :]
        return bytes(self.output)

    def _write(self, word: str, argument: Any, text: bytes) -> None:
        """Add an instruction, or older ones with the same effect."""
        if word in ("MEMOIZE", "BINPUT", "LONG_BINPUT", "PUT"):
            number = len(self.memo) if word == "MEMOIZE" else argument
            self.lost.pop(number, None)
            self._record_memo(number)
            self.output += pickle.LONG_BINPUT + struct.pack("<I", number) if word == "MEMOIZE" else text
        elif word in ("BINGET", "LONG_BINGET", "GET") and argument in self.lost:
            self.output += _instructions_for(self.lost.pop(argument))
            self._record_memo(argument)
            self.output += pickle.LONG_BINPUT + struct.pack("<I", argument)
        elif word == "STACK_GLOBAL":
            module, name = self.stack[-2:]
            self._cut(2)
            self.output += _global(module, name)
        elif word == "BINPERSID" and isinstance(top := self.stack[-1], tuple) and top[:1] == (_MODULE,):
            self._cut(1)
            self.output += _instructions_for(top[1])
        elif word == "NEWOBJ_EX":
            self._cut(1)
            self.output += pickle.NEWOBJ
        elif word in ("SHORT_BINUNICODE", "BINUNICODE8"):
            self.output += _text(argument)
        elif word in ("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"):
            self.output += _global("_codecs", "encode") + _text(argument.decode("latin1")) + _text("latin1")
            self.output += pickle.TUPLE2 + pickle.REDUCE
        else:
            self.output += _SIMPLE.get(word, text)

    def _cut(self, count: int) -> None:
        """Remove the instructions that made the last `count` objects on the stack."""
        at = self.starts[-count]
        del self.output[at:]
        while self.memo_positions:
            number, position = self.memo_positions.popitem()
            if position < at:
                self.memo_positions[number] = position
                break
            self.lost[number] = self.memo[number]

    def _record_memo(self, number: Any) -> None:
        self.memo_positions.pop(number, None)  # so that the order stays ascending
        self.memo_positions[number] = len(self.output)

    def _step(self, code: pickletools.OpcodeInfo, argument: Any) -> None:
        """Apply one instruction to the stack and the memo, as far as `found_globals` depends on it."""
        word, stack, memo, found_globals = code.name, self.stack, self.memo, self.found_globals
        if word in ("BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE"):
            memo[len(memo) if word == "MEMOIZE" else argument] = stack[-1]
            return
        if word in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(memo[argument])
            return
        before, items = code.stack_before, []
        if pickletools.stackslice in before:
            at = self.marks.pop()
            items = stack[at + 1 :]
            del stack[at:]
            before = before[: before.index(pickletools.markobject)]
        popped = [stack.pop() for _ in before][::-1]
        while self.marks and self.marks[-1] >= len(stack):  # POP removes a mark, too
            self.marks.pop()
        if word in ("GLOBAL", "INST", "STACK_GLOBAL"):
            module, name = popped if word == "STACK_GLOBAL" else argument.split(" ", 1)
            full = Name(_python3_name(module, name))
            full.module_and_name = (module, name)
            found_globals.setdefault(full, _STAND_INS.get(full, Inert))
            stack.append(full)
        elif word in ("APPEND", "APPENDS", "SETITEM", "SETITEMS"):
            if isinstance(popped[0], Name) and popped[0] not in _STAND_INS:
                found_globals[popped[0]] = InertList if word.startswith("APPEND") else InertDict
            stack.append(popped[0])
        elif word == "BUILD" and popped[0] == "functools.partial" and (kind := _class_of_partial(popped[1])):
            stack.append(kind)
        elif word in ("REDUCE", "NEWOBJ", "NEWOBJ_EX", "BUILD"):
            if popped[0] == "torch._tensor._rebuild_from_type_v2" and isinstance(kind := popped[1][1], Name):
                found_globals[kind] = InertTensor
            stack.append(popped[0])
        elif word == "BINPERSID" and isinstance(popped[0], tuple) and popped[0][:1] == (_MODULE,):
            stack.append(popped[0][1])
        elif word.startswith("TUPLE"):
            stack.append(tuple(items or popped))
        elif code.stack_after == [pickletools.pyunicode]:
            stack.append(argument)
        else:
            if word == "MARK":
                self.marks.append(len(stack))
            stack += [each if each is pickletools.markobject else None for each in code.stack_after]


def _class_of_partial(state: Any) -> Name | None:
    """The class that `functools.partial(cls.__new__, cls, ...)` makes, by the state of the partial; None for another partial."""
    arguments = state[1] if isinstance(state, tuple) and len(state) > 1 else None
    return arguments[0] if isinstance(arguments, tuple) and arguments and isinstance(arguments[0], Name) else None


def _instructions_for(value: Any) -> bytes:
    """Instructions that make a string or a global."""
    if isinstance(value, Name):
        return _global(*value.module_and_name)
    if isinstance(value, str):
        return _text(value)
    raise ValueError("neither a text nor a global")


def _text(value: str) -> bytes:
    content = value.encode("utf-8", "surrogatepass")
    return pickle.BINUNICODE + struct.pack("<I", len(content)) + content


def _global(module: Any, name: Any) -> bytes:
    if not (isinstance(module, str) and isinstance(name, str)):
        raise ValueError("a name that is not text")
    if max(len(module), len(name)) > MAX_NAME_LENGTH:
        raise ValueError("a long name")
    if "\n" in module or "\n" in name:
        raise ValueError("a name of two lines")
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def _python3_name(module: str, name: str) -> str:
    """The full name in Python 3 of a global that may have its name of Python 2."""
    module, name = _compat_pickle.NAME_MAPPING.get((module, name), (module, name))
    return f"{_compat_pickle.IMPORT_MAPPING.get(module, module)}.{name}"
