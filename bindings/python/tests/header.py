"""Reads oarlock.h: as much of C as that file uses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[3]
INCLUDE = ROOT / "bindings" / "c" / "include"


class Prototype(NamedTuple):
    result: str
    arguments: list[str]


def _read() -> str:
    return re.sub(r"/\*.*?\*/", " ", (INCLUDE / "oarlock.h").read_text(), flags=re.S)


def _type_of(declaration: str) -> str:
    """A parameter's type without const and its name: "const char *path" is "char *"."""
    declaration = re.sub(r"\bconst\b", " ", declaration)
    match = re.fullmatch(r"\s*(\w+)\s*(\**)\s*\w*\s*", declaration)
    assert match, f"this parser does not read {declaration!r}"
    return f"{match[1]} {match[2]}".strip()


def prototypes() -> dict[str, Prototype]:
    """Every exported function."""
    found = {}
    for result, name, arguments in re.findall(r"OAR_API\s+([\w\s]*?[\s*]+)(oar_\w+)\(([^)]*)\);", _read()):
        listed = [] if arguments.strip() == "void" else [_type_of(a) for a in arguments.split(",")]
        found[name] = Prototype(_type_of(result + " x"), listed)
    return found


def structs() -> dict[str, list[str]]:
    """The members of every struct, in order."""
    found = {}
    for name, body in re.findall(r"typedef struct (\w+) \{(.*?)\} \1;", _read(), flags=re.S):
        members = []
        for member in filter(str.strip, body.split(";")):
            pointer = re.search(r"\(\*(\w+)\)", member)
            members += [pointer[1]] if pointer else [re.search(r"(\w+)(?:\[\d+\])?\s*$", one)[1] for one in member.split(",")]
        found[name] = members
    return found


def listed(name: str) -> list[list[str]]:
    """The lines of an X-macro list, as what stands between the commas."""
    body = re.search(rf"#define {name}\(X\)((?:.*\\\n)*.*\n)", _read())
    assert body, name
    return [re.split(r",\s*", line, maxsplit=3) for line in re.findall(r"\bX\((.*?)\)\s*\\?\n", body[1])]


def numbers() -> dict[str, int]:
    """Every #define of a plain number."""
    found = {}
    for name, value in re.findall(r"#define (OAR_\w+) \(?(?:\(u?int64_t\))?(-?\w+?)u?\)?\s*\n", _read()):
        found[name] = int(value, 0)
    return found
