"""The instructions of a pickle: which names it wants, and the same pickle in the instructions that torch reads.

Nothing is run: `pickletools` lists instructions, and a stack is followed by their effect. `weights_only` of torch knows those of
protocol 2. `torch.save(..., pickle_protocol=4)` writes others, and `torch.save(model)` before torch 1.6 wrote the source of each
class beside the class; both have the same meaning in older instructions.
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

LONGEST = 1000  # letters of a module or a name; one text may be part of many names, which are all written out

_MODULE = "module"  # the first of the four parts of a reference to a class with its source
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
    """A name of a global on the stack of a pickle, or of what it makes; `parts` are module and name as the pickle writes them."""

    parts: tuple[str, str]

    @property
    def raw(self) -> str:
        return ".".join(self.parts)


def wanted(file: BinaryIO, pickles: int = 1) -> tuple[dict[Name, type], bytes]:
    """The globals that some pickles, one behind the other, name, with what can stand for each; and the pickles in older
    instructions, equal to those in the file where these are old already.

    What is damaged ends the list of both early: torch says what is wrong with the file itself.
    """
    found: dict[Name, type] = {}
    made = b""
    for _ in range(pickles):
        start = file.tell()
        try:
            made += _Rewriting(found).of(file)
        except _DAMAGED:
            file.seek(start)
            return found, made + file.read()
    return found, made


def first_names(file: BinaryIO, most: int) -> Iterator[str]:
    """The globals among the first `most` instructions of a pickle of protocol 0 or 1, which writes each name out.

    No stack is followed, so this takes time and memory in proportion to what is read, whatever the file holds.
    """
    try:
        for code, argument, _ in itertools.islice(pickletools.genops(file), most):
            if code.name in ("GLOBAL", "INST"):
                yield _today(*str(argument).split(" ", 1))
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


class _Rewriting:
    """One pickle, instruction for instruction.

    Attributes:
        starts: for each object on the stack, the place in `made` of the first instruction that makes it. What is not needed is
            cut off there, since torch knows no instruction that takes an object away.
        places: in `made`, where the memo gets a number, in ascending order.
        lost: what was cut off and has a number in the memo.
        marks: where on the stack there are marks; to look for the last would take time in proportion to the stack.
    """

    def __init__(self, found: dict[Name, type]) -> None:
        self.found = found
        self.made = bytearray()
        self.stack: list[Any] = []
        self.memo: dict[Any, Any] = {}
        self.starts: list[int] = []
        self.places: dict[Any, int] = {}
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
            before = len(self.made)
            self._write(code.name, argument, text[(at or 0) - offset : stop])
            self._step(code, argument)
            if len(self.stack) > len(self.starts):
                self.starts.append(before)
            else:
                del self.starts[len(self.stack) :]
        return bytes(self.made)

    def _write(self, word: str, argument: Any, text: bytes) -> None:
        """Add an instruction, or older ones with the same effect."""
        if word in ("MEMOIZE", "BINPUT", "LONG_BINPUT", "PUT"):
            number = len(self.memo) if word == "MEMOIZE" else argument
            self.lost.pop(number, None)
            self._placed(number)
            self.made += pickle.LONG_BINPUT + struct.pack("<I", number) if word == "MEMOIZE" else text
        elif word in ("BINGET", "LONG_BINGET", "GET") and argument in self.lost:
            self.made += _made_anew(self.lost.pop(argument))
            self._placed(argument)
            self.made += pickle.LONG_BINPUT + struct.pack("<I", argument)
        elif word == "STACK_GLOBAL":
            module, name = self.stack[-2:]
            self._cut(2)
            self.made += _global(module, name)
        elif word == "BINPERSID" and isinstance(top := self.stack[-1], tuple) and top[:1] == (_MODULE,):
            self._cut(1)
            self.made += _made_anew(top[1])
        elif word == "NEWOBJ_EX":
            self._cut(1)
            self.made += pickle.NEWOBJ
        elif word in ("SHORT_BINUNICODE", "BINUNICODE8"):
            self.made += _text(argument)
        elif word in ("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"):
            self.made += _global("_codecs", "encode") + _text(argument.decode("latin1")) + _text("latin1")
            self.made += pickle.TUPLE2 + pickle.REDUCE
        else:
            self.made += _SIMPLE.get(word, text)

    def _cut(self, count: int) -> None:
        """Take the instructions out that made the last `count` objects on the stack."""
        at = self.starts[-count]
        del self.made[at:]
        while self.places:
            number, place = self.places.popitem()
            if place < at:
                self.places[number] = place
                break
            self.lost[number] = self.memo[number]

    def _placed(self, number: Any) -> None:
        self.places.pop(number, None)  # so that the order stays that of the places
        self.places[number] = len(self.made)

    def _step(self, code: pickletools.OpcodeInfo, argument: Any) -> None:
        """Let the stack and the memo follow one instruction, as far as the globals in `found` are concerned."""
        word, stack, memo, found = code.name, self.stack, self.memo, self.found
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
        taken = [stack.pop() for _ in before][::-1]
        while self.marks and self.marks[-1] >= len(stack):  # POP takes a mark away, too
            self.marks.pop()
        if word in ("GLOBAL", "INST", "STACK_GLOBAL"):
            module, name = taken if word == "STACK_GLOBAL" else argument.split(" ", 1)
            full = Name(_today(module, name))
            full.parts = (module, name)
            found.setdefault(full, _STAND_INS.get(full, Inert))
            stack.append(full)
        elif word in ("APPEND", "APPENDS", "SETITEM", "SETITEMS"):
            if isinstance(taken[0], Name) and taken[0] not in _STAND_INS:
                found[taken[0]] = InertList if word.startswith("APPEND") else InertDict
            stack.append(taken[0])
        elif word == "BUILD" and taken[0] == "functools.partial" and (kind := _class_of_partial(taken[1])):
            stack.append(kind)
        elif word in ("REDUCE", "NEWOBJ", "NEWOBJ_EX", "BUILD"):
            if taken[0] == "torch._tensor._rebuild_from_type_v2" and isinstance(kind := taken[1][1], Name):
                found[kind] = InertTensor
            stack.append(taken[0])
        elif word == "BINPERSID" and isinstance(taken[0], tuple) and taken[0][:1] == (_MODULE,):
            stack.append(taken[0][1])
        elif word.startswith("TUPLE"):
            stack.append(tuple(items or taken))
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


def _made_anew(value: Any) -> bytes:
    """Instructions for a text or a global."""
    if isinstance(value, Name):
        return _global(*value.parts)
    if isinstance(value, str):
        return _text(value)
    raise ValueError("neither a text nor a global")


def _text(value: str) -> bytes:
    content = value.encode("utf-8", "surrogatepass")
    return pickle.BINUNICODE + struct.pack("<I", len(content)) + content


def _global(module: Any, name: Any) -> bytes:
    if not (isinstance(module, str) and isinstance(name, str)):
        raise ValueError("a name that is no text")
    if max(len(module), len(name)) > LONGEST:
        raise ValueError("a long name")
    if "\n" in module or "\n" in name:
        raise ValueError("a name of two lines")
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def _today(module: str, name: str) -> str:
    """The full name in Python 3 of what pickles call by its name in Python 2."""
    module, name = _compat_pickle.NAME_MAPPING.get((module, name), (module, name))
    return f"{_compat_pickle.IMPORT_MAPPING.get(module, module)}.{name}"
