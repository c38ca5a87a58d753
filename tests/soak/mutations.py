"""Real files with changes, for `fuzz_readers.py`."""

from __future__ import annotations

import io
import random
import struct
import zipfile
from collections.abc import Callable

_NUMBERS = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**40, 2**62, 2**63 - 1, 2**64 - 1)


def make(reader: str, files: list[bytes]) -> Callable[[int], bytes]:
    """A function from the number of a case to its bytes."""

    def case(number: int) -> bytes:
        chance = random.Random(f"{reader}/{number}")
        data, other = chance.choice(files), chance.choice(files)
        within = data.startswith(b"PK") and chance.random() < 0.7
        return mutate_within(data, chance, other) if within else mutate(data, chance, other)

    return case


def mutate(data: bytes, chance: random.Random, other: bytes) -> bytes:
    """`data` with one to six changes; `other` lends pieces."""
    result = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        at, length = chance.randrange(len(result) + 1), min(chance.choice((1, 2, 4, 8, 16, 64, 512)), len(result))
        kind = chance.randrange(8)
        if kind == 0 and at < len(result):
            result[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            result[at : at + length] = chance.randbytes(length)
        elif kind in (2, 3):
            width = chance.choice("BHIQ")
            number = chance.choice(_NUMBERS) % 2 ** (8 * struct.calcsize(width))
            result[at : at + struct.calcsize(width)] = struct.pack(f"{chance.choice('<>')}{width}", number)
        elif kind == 4:
            del result[at : at + length]
        elif kind == 5:
            start = chance.randrange(len(result) + 1)
            result[at:at] = result[start : start + length]
        elif kind == 6:
            start = chance.randrange(len(other))
            result[at : at + length] = other[start : start + length]
        elif chance.random() < 0.3:
            del result[at:]
    return bytes(result)


def mutate_within(data: bytes, chance: random.Random, other: bytes) -> bytes:
    """A zip archive with one member changed and all checksums right."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as original, zipfile.ZipFile(target, "w") as sealed:
        chosen = chance.choice([name for name in original.namelist() if original.getinfo(name).file_size])
        for name in original.namelist():
            content = original.read(name)
            sealed.writestr(name, mutate(content, chance, other) if name == chosen else content)
    return target.getvalue()
