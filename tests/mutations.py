"""Seeded mutations of what pila reads: JSON, safetensors, CSV, videos, prompts and answers.

Each takes a generator of random numbers and a sound input, and gives a `Mutant`. The same numbers
give the same one.
"""

import json
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SAFETENSORS = (
    *("length", "dtype", "shape", "offsets", "gone", "renamed", "cut", "more", "empty", "flipped"),
    *("metadata", "not finite", "header", "no tensors"),
)
NESTED = 100_000
"""Brackets in a text that nests too deep."""
DIGITS = 5_000
NESTED_LISTS: list[Any] = []
for _ in range(200):
    NESTED_LISTS = [NESTED_LISTS]
ODD_STRINGS = (
    "",
    " ",
    "\x00",
    "\ud800",
    "../../../etc/passwd",
    "a" * 70_000,
    "é" * 300,
    "NaN",
    "-1",
)
ODD_NUMBERS = (0, -1, 10**9, 2**63, -(2**64), 1e308, 0.5, float("nan"), float("inf"), 10**400)
ODD_VALUES = (
    *(None, True, False, [], {}, [None], [1, "a", None], {"a": {"b": []}}, NESTED_LISTS),
    *ODD_STRINGS,
    *ODD_NUMBERS,
)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A changed input.

    Attributes:
        kind: what was done to it.
        content: what it is now.
        same: whether it means what the sound one means, so that the result must be the same.
    """

    kind: str
    content: bytes
    same: bool = False


def of_json(draw: random.Random, sound: bytes) -> Mutant:
    """A JSON object that is changed in one place, or a text that is none any more."""
    kind = draw.choice(("value", "value", "value", "value", "key", "no key", "text", "same"))
    value = json.loads(sound)
    if kind == "text":
        return _text(draw, sound)
    if kind == "same":
        return _same_json(draw, value)
    inner = draw.choice(_objects(value))
    name = draw.choice([*inner] or [""])
    if kind == "value":
        inner[name] = draw.choice(ODD_VALUES)
    elif kind == "key":
        inner[draw.choice(ODD_STRINGS) or "_"] = inner.get(name)
    else:
        inner.pop(name, None)
    return Mutant(f"{kind} {name}", dumped(value))


def bad_ones(path: Path, read: Callable[[], Any], *, count: int, seed: int = 0) -> list[str]:
    """Mutations of a JSON file after which `read` raises anything but an InputError of one line.

    One of them is a folder of that name. The file is as it was afterwards.
    """
    from pila.errors import InputError

    sound, draw, bad = path.read_bytes(), random.Random(f"{seed} {path.name}"), []
    for number in range(count):
        kind = "folder"
        path.unlink()
        if number:
            mutant = of_json(draw, sound)
            kind = mutant.kind
            path.write_bytes(mutant.content)
        else:
            path.mkdir()
        try:
            read()
        except InputError as error:
            if "\n" in str(error) or len(str(error)) > 1_500:
                bad.append(f"{kind}: {len(str(error))} characters: {str(error)[:200]!r}")
        except Exception as error:
            bad.append(f"{kind}: {type(error).__name__}: {str(error)[:200]}")
        finally:
            if path.is_dir():
                path.rmdir()
                path.touch()
            path.write_bytes(sound)
    return bad


def dumped(value: Any) -> bytes:
    """JSON with all that a file may hold: lone surrogates, and numbers of thousands of digits."""
    text = json.dumps(value).replace(str(10**400), "9" * DIGITS)
    return text.encode("utf-8", "surrogatepass")


def _objects(value: Any) -> list[dict[str, Any]]:
    """A value's objects, itself first."""
    inner = list(value.values()) if isinstance(value, dict) else value
    found = [value] if isinstance(value, dict) else []
    if isinstance(inner, list):
        found += [o for each in inner for o in _objects(each)]
    return found


def _same_json(draw: random.Random, value: Any) -> Mutant:
    how = draw.choice(("byte order mark", "white space", "order"))
    if how == "byte order mark":
        return Mutant(how, b"\xef\xbb\xbf" + dumped(value), same=True)
    if how == "order" and isinstance(value, dict):
        value = dict(reversed(value.items()))
    return Mutant(how, json.dumps(value, indent=7).encode() + b"\r\n\r\n", same=True)


def _text(draw: random.Random, sound: bytes) -> Mutant:
    ways: dict[str, Callable[[], bytes]] = {
        "empty": lambda: b"",
        "cut": lambda: sound[: draw.randrange(len(sound))],
        "twice": lambda: sound + sound,
        "UTF-16": lambda: sound.decode(errors="replace").encode("utf-16"),
        "Latin-1": lambda: b'{"caf\xe9": 1}',
        "more behind": lambda: sound + b"}",
        "array": lambda: b"[" + sound + b"]",
        "deep": lambda: b"[" * NESTED,
        "deep objects": lambda: b'{"a":' * NESTED,
        "number": lambda: b"9" * DIGITS,
        "null": lambda: b"null",
        "zeros": lambda: bytes(len(sound)),
        "bytes": lambda: draw.randbytes(64),
        "flipped": lambda: flipped(draw, sound),
    }
    kind = draw.choice([*ways])
    return Mutant(kind, ways[kind]())


def flipped(draw: random.Random, sound: bytes, most: int = 8) -> bytes:
    """Bytes of which a few are others."""
    changed = bytearray(sound)
    for _ in range(draw.randint(1, most)):
        if changed:
            changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def of_safetensors(draw: random.Random, sound: bytes) -> Mutant:
    """A safetensors file whose header lies, or whose content is not what the header says."""
    (length,) = struct.unpack("<Q", sound[:8])
    header, data = json.loads(sound[8 : 8 + length]), sound[8 + length :]
    names = [n for n in header if n != "__metadata__"]
    name = draw.choice(names)
    entry = header[name]
    kind = draw.choice(SAFETENSORS)
    if kind == "length":
        wrong = draw.choice((0, 1, length - 1, length + 1, 2**31, 2**63, 2**64 - 1))
        return Mutant(kind, struct.pack("<Q", wrong) + sound[8:])
    if kind == "cut":
        return Mutant(kind, sound[: draw.randrange(len(sound))])
    if kind == "more":
        return Mutant(kind, sound + draw.randbytes(64))
    if kind == "empty":
        return Mutant(kind, b"")
    if kind == "flipped":
        return Mutant(kind, flipped(draw, sound))
    if kind == "not finite":
        start, end = entry["data_offsets"]
        return Mutant(kind, _packed(header, data[:start] + b"\xff" * (end - start) + data[end:]))
    if kind == "header":
        return Mutant(kind, _packed(of_json(draw, json.dumps(header).encode()).content, data))
    if kind == "metadata":
        header["__metadata__"] = draw.choice(ODD_VALUES)
    elif kind == "gone":
        del header[name]
    elif kind == "renamed":
        header[draw.choice(ODD_STRINGS) + name] = header.pop(name)
    elif kind == "no tensors":
        header, data = {}, b""
    else:
        field = {"dtype": "dtype", "shape": "shape", "offsets": "data_offsets"}[kind]
        values = {
            "dtype": ("F64", "F16", "I8", "X", "", None, 1),
            "shape": ([], [0], [2**40, 2**40], [-1], list(reversed(entry["shape"])), "a", None),
            "data_offsets": ([0, 0], [0, 2**62], [8, 4], [-4, 4], [], None, "a"),
        }
        entry[field] = draw.choice(values[field])
    return Mutant(f"{kind} {name}", _packed(header, data))


def _packed(header: Any, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else dumped(header)
    return struct.pack("<Q", len(text)) + text + data


def of_csv(draw: random.Random, sound: bytes) -> Mutant:
    """A table whose head, cells or encoding are others."""
    lines = sound.decode().splitlines()
    row = draw.randrange(1, len(lines))
    cells = lines[row].split(",")
    cell = draw.randrange(len(cells))
    odd = draw.choice((*ODD_STRINGS, "/etc/passwd", "nowhere.mp4", '"', ",", "no_such_category"))
    ways: dict[str, Callable[[], bytes | list[str]]] = {
        "byte order mark": lambda: b"\xef\xbb\xbf" + sound,
        "line ends": lambda: "\r\n".join(lines).encode() + b"\r\n",
        "cell": lambda: _row(lines, row, [*cells[:cell], odd, *cells[cell + 1 :]]),
        "head": lambda: _row(
            lines, 0, draw.sample(["file", "text", "", "caption", "a", "x\x00"], 3)
        ),
        "no head": lambda: lines[1:],
        "head alone": lambda: lines[:1],
        "short row": lambda: _row(lines, row, cells[:cell]),
        "long row": lambda: _row(lines, row, cells * 40),
        "row twice": lambda: [*lines, lines[row]],
        "quote": lambda: _row(lines, row, ['"' + lines[row]]),
        "semicolons": lambda: sound.replace(b",", b";"),
        "tabs": lambda: sound.replace(b",", b"\t"),
        "UTF-16": lambda: sound.decode().encode("utf-16"),
        "Latin-1": lambda: sound + "é.mp4,é,\n".encode("latin-1"),
        "cut": lambda: sound[: draw.randrange(len(sound))],
        "empty": lambda: b"",
        "bytes": lambda: draw.randbytes(256),
        "flipped": lambda: flipped(draw, sound),
        "blank lines": lambda: b"\n\n".join(sound.splitlines()) + b"\n\n\n",
    }
    kind = draw.choice([*ways])
    made = ways[kind]()
    if not isinstance(made, bytes):
        made = ("\n".join(made) + "\n").encode("utf-8", "surrogatepass")
    return Mutant(kind, made, same=kind in ("byte order mark", "line ends"))


def _row(lines: list[str], row: int, cells: list[str]) -> list[str]:
    return [*lines[:row], ",".join(cells), *lines[row + 1 :]]


def of_video(draw: random.Random, sound: bytes) -> Mutant:
    """A video file that is damaged somewhere, or is none."""
    at = draw.randrange(len(sound))
    size = draw.choice((1, 4, 64, 1024))
    ways: dict[str, Callable[[], bytes]] = {
        "flipped": lambda: flipped(draw, sound, 64),
        "cut": lambda: sound[:at],
        "no start": lambda: sound[at:],
        "zeros": lambda: sound[:at] + bytes(size) + sound[at + size :],
        "ones": lambda: sound[:at] + b"\xff" * size + sound[at + size :],
        "missing": lambda: sound[:at] + sound[at + size :],
        "inserted": lambda: sound[:at] + draw.randbytes(size) + sound[at:],
        "twice": lambda: sound + sound,
        "empty": lambda: b"",
        "bytes": lambda: draw.randbytes(4096),
        "picture": lambda: b"\x89PNG\r\n\x1a\n" + sound,
        "AVI head": lambda: b"RIFF\xff\xff\xff\x7fAVI LIST" + sound,
        "box": lambda: _box(draw, sound),
    }
    kind = draw.choice([*ways])
    return Mutant(kind, ways[kind]())


def _box(draw: random.Random, sound: bytes) -> bytes:
    """One of MP4's boxes with another size."""
    names = (
        b"moov",
        b"mdat",
        b"trak",
        b"stsz",
        b"stts",
        b"stco",
        b"stsd",
        b"tkhd",
        b"avcC",
        b"mvhd",
    )
    at = sound.find(draw.choice(names)) - 4
    if at < 0:
        return flipped(draw, sound)
    size = draw.choice((0, 1, 7, 2**16, 2**31, 2**32 - 1))
    return sound[:at] + struct.pack(">I", size) + sound[at + 4 :]


def of_prompt(draw: random.Random, sound: str) -> str:
    """A prompt with characters, a length or a language that nobody counted on."""
    at = draw.randrange(len(sound) + 1)
    odd = (
        *(
            "\u202e",
            "\u0000",
            "\x1b[31m",
            "\ufeff",
            "\u0301" * 50,
            "\U0001f600",
            "\udcff",
            "\ud83d",
        ),
        *(
            "球が落ちる",
            "كرة تسقط",
            "%s%n",
            "{}",
            "{0.__class__}",
            "<script>",
            "\\",
            '"',
            "'",
            "\r\n",
        ),
        *(
            "--steps",
            "-",
            "9" * 5000,
            "the " * 3000,
            "\t",
            "a" * 20_000,
            "../..",
            "\u2028",
            "{" * 2000,
        ),
    )
    kind = draw.choice(("in", "in", "alone", "many", "none"))
    if kind == "in":
        return sound[:at] + draw.choice(odd) + sound[at:]
    if kind == "alone":
        return draw.choice(odd)
    if kind == "many":
        return "".join(
            chr(draw.choice((draw.randrange(1, 128), draw.randrange(0x110000)))) for _ in range(40)
        )
    return draw.choice(("", " ", "\n", "\u3000"))


def of_answer(draw: random.Random, sound: dict[str, Any]) -> Mutant:
    """The body of a language model's server, whose message is not what was asked for."""
    body = json.loads(json.dumps(sound))
    message = body["choices"][0]["message"]
    said = message["content"]
    odd = (
        *(
            "",
            "I cannot.",
            "<think>hm",
            "<think>hm</think>" + said,
            "```json\n" + said + "\n```",
            None,
        ),
        *(
            "{" * 200_000,
            "[" * 20_000,
            said + said,
            said[: len(said) // 2],
            "{}",
            "[]",
            "null",
            "\ud800",
        ),
        *([{"type": "text", "text": said}], [], {"a": 1}, 7, said + ' Such as {"categories": []}'),
        *("x" * 2_000_000, said.replace("}", ',"more":1}', 1), said.replace('"', "'")),
    )
    kind = draw.choice(("said", "said", "said", "body", "text"))
    if kind == "said":
        message["content"] = draw.choice(odd)
        return Mutant(kind, dumped(body))
    if kind == "body":
        return of_json(draw, json.dumps(body).encode())
    return _text(draw, json.dumps(body).encode())
