"""Reads MLIR's generic form (``--mlir-print-op-generic``) into plain Python objects: enough of it for espmm's programs.

Attributes and types stay text, with the aliases at the top of the module filled in; `ir_interpreter` reads those it needs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_CLOSING = {"(": ")", "[": "]", "{": "}", "<": ">"}


@dataclass
class Block:
    """A block: its arguments (names and types) and operations."""

    arguments: list[tuple[str, str]] = field(default_factory=list)
    operations: list["Operation"] = field(default_factory=list)


@dataclass
class Operation:
    """One operation. Names of values are without ``%``; result n of several is ``name#n``."""

    name: str
    operands: list[str]
    results: list[str]
    attributes: dict[str, str]
    regions: list[list[Block]]
    operand_types: list[str]
    result_types: list[str]


def parse_module(text: str) -> dict[str, Block]:
    """The functions of a module by name, each as its one block.

    Raises:
        SyntaxError: for what is not the generic form of a module with functions of one block.
    """
    text = _fill_in_aliases(text)
    module = _Parser(text).operation()
    functions = {}
    for op in module.regions[0][0].operations:
        if op.name != "func.func" or len(op.regions[0]) != 1:
            raise SyntaxError(f"expected functions of one block in the module, got {op.name}")
        functions[op.attributes["sym_name"].strip('"')] = op.regions[0][0]
    return functions


def split_list(text: str) -> list[str]:
    """The items of a comma-separated list, brackets and strings respected."""
    parser, items = _Parser(text), []
    while parser.peek():
        items.append(parser.balanced(","))
        parser.take_if(",")
    return items


def _fill_in_aliases(text: str) -> str:
    aliases: dict[str, str] = {}

    def fill_in(line: str) -> str:
        return re.sub(r"#([A-Za-z_]\w*)(?![\w.<])", lambda match: aliases.get(match[1], match[0]), line)

    lines = []
    for line in text.splitlines():
        definition = re.match(r"#(\w+) = (.*)$", line)
        if definition:
            aliases[definition[1]] = fill_in(definition[2])
        else:
            lines.append(fill_in(line))
    return "\n".join(lines)


class _Parser:
    def __init__(self, text: str) -> None:
        self.text, self.position = text, 0

    def peek(self) -> str:
        while self.position < len(self.text) and self.text[self.position].isspace():
            self.position += 1
        return self.text[self.position : self.position + 1]

    def take_if(self, token: str) -> bool:
        self.peek()
        found = self.text.startswith(token, self.position)
        self.position += len(token) if found else 0
        return found

    def take(self, token: str) -> None:
        if not self.take_if(token):
            raise SyntaxError(f"expected {token!r}, got {self.text[self.position : self.position + 40]!r}")

    def match(self, pattern: str) -> re.Match[str]:
        self.peek()
        found = re.compile(pattern).match(self.text, self.position)
        if not found:
            raise SyntaxError(f"expected {pattern}, got {self.text[self.position : self.position + 40]!r}")
        self.position = found.end()
        return found

    def balanced(self, stop: str) -> str:
        """The text up to a character of `stop` that stands outside of brackets and strings."""
        self.peek()
        start, open_brackets = self.position, []
        while self.position < len(self.text):
            char = self.text[self.position]
            if self.text.startswith("->", self.position):
                self.position += 2
                continue
            if char == '"':
                self.match(r'"(?:[^"\\]|\\.)*"')
                continue
            if not open_brackets and char in stop:
                break
            if char in _CLOSING:
                open_brackets.append(_CLOSING[char])
            elif open_brackets and char == open_brackets[-1]:
                open_brackets.pop()
            self.position += 1
        return self.text[start : self.position].strip()

    def values(self) -> list[str]:
        """``(%a, %b#1)``"""
        self.take("(")
        names = []
        while not self.take_if(")"):
            names.append(self.match(r"%([\w#]+)")[1])
            self.take_if(",")
        return names

    def attributes(self, closing: str) -> dict[str, str]:
        entries = {}
        while not self.take_if(closing):
            key = self.match(r'"?([\w.]+)"?')[1]
            entries[key] = self.balanced(",}") if self.take_if("=") else "unit"
            self.take_if(",")
        return entries

    def types(self) -> list[str]:
        """``(type, type)`` or one type."""
        if not self.take_if("("):
            return [self.match(r"[^\s(),<]+")[0] + (self._angle() if self.peek() == "<" else "")]
        listed = []
        while not self.take_if(")"):
            listed.append(self.balanced(",)"))
            self.take_if(",")
        return listed

    def _angle(self) -> str:
        start = self.position
        self.take("<")
        self.balanced(">")
        self.take(">")
        return self.text[start : self.position]

    def region(self) -> list[Block]:
        self.take("{")
        blocks = []
        while not self.take_if("}"):
            block = Block()
            if self.peek() == "^":
                self.match(r"\^\w+")
                if self.take_if("("):
                    while not self.take_if(")"):
                        name = self.match(r"%(\w+):")[1]
                        block.arguments.append((name, self.balanced(",)")))
                        self.take_if(",")
                self.take(":")
            while self.peek() not in ("}", "^", ""):
                block.operations.append(self.operation())
            blocks.append(block)
        return blocks

    def operation(self) -> Operation:
        results: list[str] = []
        if self.peek() == "%":
            name, count = self.match(r"%(\w+)(?::(\d+))?\s*=").groups()
            results = [f"{name}#{i}" for i in range(int(count))] if count else [name]
        op_name = self.match(r'"([\w.]+)"')[1]
        operands = self.values()
        attributes = self.attributes("}>") if self.take_if("<{") else {}
        regions = []
        if self.take_if("("):
            while not self.take_if(")"):
                regions.append(self.region())
                self.take_if(",")
        if self.take_if("{"):
            attributes.update(self.attributes("}"))
        self.take(":")
        operand_types = self.types()
        self.take("->")
        return Operation(op_name, operands, results, attributes, regions, operand_types, self.types())
