"""A small grammar language in which payload generators are written: text files of productions, drawn at random.

A grammar file holds rules; a rule is a line ``@name`` followed by its productions, one per line, indented by two
spaces. Everything in a production is literal but the groups between « and »:

    «name»            draw rule `name`; else the variable or the primitive (`primitives`) so named
    «a¦b¦c»           one of the alternatives, which may hold groups themselves; empty ones are allowed
    «v=name»          draw `name`, write it and bind it to `v`;  «v:=name» binds without writing
    «name*2-5~, »     two to five draws of `name`, joined by ", "
    «fn(text)»        draw `text`, then apply the transform `fn`, e.g. base64
    ×3 text           the production has weight 3;  ε is the empty production

A rule marked ``@name !split`` keeps about an eighth of its productions out of training, none that has a weight, since
those are what everybody sends: which ones is decided by a hash of rule and text, so that it does not change when others
are added. Drawing with ``split="train"`` never uses them,
``"holdout"`` uses only them in such rules, ``"all"`` does not look.

Drawing is deterministic for one `random.Random` state. Cost is linear in the text drawn; recursion is cut at a fixed
depth by taking a rule's shortest production.
"""

from __future__ import annotations

import random
import re
import zlib
from bisect import bisect
from collections.abc import Callable, Mapping
from importlib import resources
from itertools import accumulate
from typing import Literal

from vedette.datasets import primitives, transforms

Split = Literal["train", "holdout", "all"]

_MAX_DEPTH = 60
_HOLDOUT_SHARE = 8  # one production in eight
_NAME = re.compile(r"[a-z_][a-z0-9_]*\Z")
_BIND = re.compile(r"([a-z_][a-z0-9_]*)(:?=)(.*)\Z", re.DOTALL)
_REPEAT = re.compile(r"([a-z_][a-z0-9_]*)\*(\d+)(?:-(\d+))?(?:~(.*))?\Z", re.DOTALL)
_CALL = re.compile(r"([a-z_][a-z0-9_]*)\((.*)\)\Z", re.DOTALL)
_WEIGHT = re.compile(r"×(\d+) (.*)\Z", re.DOTALL)
_SPECIAL = {"lf": "\n", "crlf": "\r\n", "cr": "\r", "tab": "\t", "sp": " ", "nul": "\x00", "ff": "\x0c", "vt": "\x0b"}


class Draw:
    """The state of one draw: source of chance, split, bound variables and depth."""

    __slots__ = ("bound", "depth", "rng", "split")

    def __init__(self, rng: random.Random, split: Split) -> None:
        self.rng = rng
        self.split = split
        self.bound: dict[str, str] = {}
        self.depth = 0


Node = Callable[[Draw], str]


class Rule:
    """The weighted productions of one rule, compiled, for each split."""

    def __init__(self, name: str, productions: list[tuple[int, str, Node]], *, held: bool) -> None:
        self.name = name
        self.texts = [text for _, text, _ in productions]
        self._shortest = min(productions, key=lambda item: len(item[1]))[2]
        self._tables: dict[str, tuple[list[int], list[Node]]] = {"all": _table(productions)}
        out = [item for item in productions if held and item[0] == 1 and is_held_out(name, item[1])]
        kept = [item for item in productions if item not in out]
        self._tables["holdout"] = _table(out) if out else self._tables["all"]
        self._tables["train"] = _table(kept) if kept else self._tables["all"]

    def __call__(self, draw: Draw) -> str:
        if draw.depth > _MAX_DEPTH:
            return self._shortest(draw)
        weights, nodes = self._tables[draw.split]
        draw.depth += 1
        text = nodes[bisect(weights, draw.rng.randrange(weights[-1]))](draw)
        draw.depth -= 1
        return text


class Grammar:
    """The rules of one file (and of those it includes); `draw` expands one of them."""

    def __init__(self, text: str) -> None:
        self.rules: dict[str, Rule] = {}
        for name, held, productions in _read_rules(text):
            compiled = [(weight, body, _sequence(body, self.rules)) for weight, body in productions]
            self.rules[name] = Rule(name, compiled, held=held)

    def draw(self, rng: random.Random, rule: str = "start", split: Split = "all") -> str:
        """Return one text of `rule`."""
        return self.rules[rule](Draw(rng, split))


def load_grammar(*names: str) -> Grammar:
    """Return the grammar made of the package's data files `names`, in that order; later rules win."""
    folder = resources.files("vedette.datasets") / "data"
    return Grammar("\n".join((folder / f"{name}.grammar").read_text(encoding="utf-8") for name in names))


def is_held_out(rule: str, production: str) -> bool:
    """Tell whether `production` of a split rule belongs to the hold-out part."""
    return zlib.crc32(f"{rule}\x00{production}".encode()) % _HOLDOUT_SHARE == 0


def _table(productions: list[tuple[int, str, Node]]) -> tuple[list[int], list[Node]]:
    return list(accumulate(weight for weight, _, _ in productions)), [node for _, _, node in productions]


def _read_rules(text: str) -> list[tuple[str, bool, list[tuple[int, str]]]]:
    rules: list[tuple[str, bool, list[tuple[int, str]]]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("# "):
            continue
        if line.startswith("@"):
            name, _, flag = line[1:].partition(" ")
            rules.append((name, flag == "!split", []))
        elif line.startswith("  ") and rules:
            match = _WEIGHT.match(line[2:])
            weight, body = (int(match[1]), match[2]) if match else (1, line[2:])
            rules[-1][2].append((weight, "" if body == "ε" else body))
        else:
            raise ValueError(f"grammar line {number} is neither a rule nor an indented production: {line!r}")
    return rules


def _sequence(text: str, rules: Mapping[str, Rule]) -> Node:
    """Compile literal text with groups into one node."""
    nodes: list[Node] = []
    position = 0
    while (start := text.find("«", position)) >= 0:
        if start > position:
            nodes.append(_literal(text[position:start]))
        end = _closing(text, start)
        nodes.append(_group(text[start + 1 : end], rules))
        position = end + 1
    if position < len(text) or not nodes:
        nodes.append(_literal(text[position:]))
    if len(nodes) == 1:
        return nodes[0]
    return lambda draw: "".join([node(draw) for node in nodes])


def _closing(text: str, start: int) -> int:
    depth = 0
    for index in range(start, len(text)):
        depth += (text[index] == "«") - (text[index] == "»")
        if depth == 0:
            return index
    raise ValueError(f"unclosed group in {text!r}")


def _group(body: str, rules: Mapping[str, Rule]) -> Node:
    alternatives = _alternatives(body)
    if len(alternatives) > 1:
        nodes = [_sequence(alternative, rules) for alternative in alternatives]
        return lambda draw: nodes[draw.rng.randrange(len(nodes))](draw)
    if _NAME.match(body):
        return _reference(body, rules)
    if match := _REPEAT.match(body):
        return _repeat(_reference(match[1], rules), int(match[2]), int(match[3] or match[2]), match[4] or "")
    if match := _CALL.match(body):
        return _call(match[1], _sequence(match[2], rules))
    if match := _BIND.match(body):
        inner = _reference(match[3], rules) if _NAME.match(match[3]) else _sequence(match[3], rules)
        return _bind(match[1], inner, silent=match[2] == ":=")
    raise ValueError(f"cannot read group «{body}»")


def _alternatives(body: str) -> list[str]:
    parts, depth, last = [], 0, 0
    for index, char in enumerate(body):
        depth += (char == "«") - (char == "»")
        if char == "¦" and depth == 0:
            parts.append(body[last:index])
            last = index + 1
    return [*parts, body[last:]]


def _literal(text: str) -> Node:
    return lambda draw: text


def _reference(name: str, rules: Mapping[str, Rule]) -> Node:
    if name in _SPECIAL:
        return _literal(_SPECIAL[name])
    primitive = primitives.PRIMITIVES.get(name)

    def node(draw: Draw) -> str:
        if name in draw.bound:
            return draw.bound[name]
        rule = rules.get(name)
        if rule is not None:
            return rule(draw)
        if primitive is None:
            raise KeyError(f"grammar names «{name}», which is no rule, variable or primitive")
        return primitive(draw.rng)

    return node


def _repeat(node: Node, low: int, high: int, joiner: str) -> Node:
    joiner = re.sub("«([a-z]+)»", lambda match: _SPECIAL.get(match[1], ""), joiner)
    return lambda draw: joiner.join([node(draw) for _ in range(draw.rng.randint(low, high))])


def _call(name: str, inner: Node) -> Node:
    function = transforms.TRANSFORMS[name]
    return lambda draw: function(inner(draw), draw.rng)


def _bind(name: str, inner: Node, *, silent: bool) -> Node:
    def node(draw: Draw) -> str:
        draw.bound.pop(name, None)
        draw.bound[name] = text = inner(draw)
        return "" if silent else text

    return node
