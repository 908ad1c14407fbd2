"""Regular expressions compiled to C: what the build hook writes patterns.h with.

Each pattern is read by Python's own parser of regular expressions and becomes a chain of C functions, one for each
node, that backtracks as `re` does; so both take the same texts, and tests hold them to it. What makes it fast: a table
of first characters for each alternation, character classes as tables, and no set-up for a call. Classes are asked of
`re` itself, so that case folding and categories are the same for every code point.

Runs without Vedette's dependencies, as it is run before they are installed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

from vedette.native.rules import Rules

_MOST_BRANCHES = 64  # bits of a mask
_ONE_CHARACTER = (op.LITERAL, op.NOT_LITERAL, op.IN, op.ANY)
_NON_ASCII = 128  # index of the entry for every character beyond ASCII


class Classes:
    """Character classes, each written once."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._names: dict[tuple[tuple[int, int], ...], str] = {}

    def add(self, ranges: tuple[tuple[int, int], ...]) -> str:
        """Return the name of the class that holds the code points of `ranges`."""
        name = self._names.get(ranges)
        if name is None:
            name = self._names[ranges] = f"k{len(self._names)}"
            self.lines += self._written(name, ranges)
        return name

    @staticmethod
    def _written(name: str, ranges: tuple[tuple[int, int], ...]) -> list[str]:
        table = "".join("1" if _holds(ranges, code) else "0" for code in range(128))
        wide = [(max(low, 128), high) for low, high in ranges if high >= 128]
        if not wide:
            beyond = "0"
        elif wide == [(128, 0x10FFFF)]:
            beyond = "1"
        elif len(wide) <= 3:
            beyond = " || ".join(f"(c >= {low}u && c <= {high}u)" for low, high in wide)
        else:
            beyond = f"in_ranges({name}_w, {len(wide)}, c)"
        lines = [f"static const uint8_t {name}_t[128] = {{{','.join(table)}}};"]
        if beyond.startswith("in_ranges"):
            pairs = ",".join(f"{{{low}u,{high}u}}" for low, high in wide)
            lines.append(f"static const uint32_t {name}_w[][2] = {{{pairs}}};")
        lines.append(f"static inline int {name}(uint32_t c) {{ return c < 128 ? {name}_t[c] : ({beyond}); }}")
        return lines


def _holds(ranges: tuple[tuple[int, int], ...], code: int) -> bool:
    return any(low <= code <= high for low, high in ranges)


@cache
def _every_character() -> str:
    return "".join(map(chr, range(0x110000)))


def class_of(source: str, flags: int) -> tuple[tuple[int, int], ...]:
    """Return the code points that the one-character pattern `source` takes, as ranges; asks `re`."""
    found = [match.span() for match in re.compile(f"(?:{source})+", flags | re.DOTALL).finditer(_every_character())]
    return tuple((start, end - 1) for start, end in found)


_CLASS_CACHE: dict[tuple[str, int], tuple[tuple[int, int], ...]] = {}
_CATEGORIES = {
    op.CATEGORY_DIGIT: r"\d", op.CATEGORY_NOT_DIGIT: r"\D", op.CATEGORY_SPACE: r"\s", op.CATEGORY_NOT_SPACE: r"\S",
    op.CATEGORY_WORD: r"\w", op.CATEGORY_NOT_WORD: r"\W",
}  # fmt: skip


def source_of_class(code: Any, argument: Any) -> str:
    """A node for one character -> a pattern for the same."""
    if code is op.LITERAL:
        return f"[{_escaped(argument)}]"
    if code is op.NOT_LITERAL:
        return f"[^{_escaped(argument)}]"
    inside = ""
    for kind, what in argument:
        if kind is op.NEGATE:
            inside += "^"
        elif kind is op.LITERAL:
            inside += _escaped(what)
        elif kind is op.RANGE:
            inside += f"{_escaped(what[0])}-{_escaped(what[1])}"
        else:
            inside += _CATEGORIES[what]
    return f"[{inside}]"


def _escaped(code: int) -> str:
    return f"\\U{code:08x}"


class Compiler:
    """One pattern -> C functions. Each takes a position and returns where the match ends, -1 if there is none."""

    def __init__(self, name: str, pattern: re.Pattern[str], classes: Classes) -> None:
        self.name = name
        self.classes = classes
        self.lines: list[str] = []
        self.counters = 0
        self.groups = pattern.groups
        tree = _parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE)
        flags = tree.state.flags
        self.widths = tree.state.groupwidths
        self._made = 0
        entry = self.sequence(list(tree), flags, "ok")
        first, empty = self.first(list(tree), flags)
        self.lines.append(f"static const uint8_t {name}_f[129] = {{{','.join(map(str, first))}}};")
        self.lines.append(f"static long N({name}_at)(N(ctx) *c, long p) {{ return N({entry})(c, p); }}")
        at_end = "c->n + 1" if empty else "c->n"
        self.lines.append(
            f"static long N({name}_find)(N(ctx) *c, long p) {{\n"
            f"    for (; p < {at_end}; p++) {{\n"
            f"        if (p < c->n && !{name}_f[c->s[p] < 128 ? c->s[p] : 128]) continue;\n"
            f"        long end = N({entry})(c, p);\n"
            "        if (end >= 0) { c->end = end; return p; }\n"
            "    }\n"
            "    return -1;\n}"
        )

    def make(self, body: str) -> str:
        """Write a function with `body` and return its name."""
        name = f"{self.name}_{self._made}"
        self._made += 1
        self.lines.append(f"static long N({name})(N(ctx) *c, long p) {{ {body} }}")
        return name

    def cls(self, code: Any, argument: Any, flags: int) -> str:
        """Return the name of the class of a node for one character."""
        return self.classes.add(self.ranges(code, argument, flags))

    def ranges(self, code: Any, argument: Any, flags: int) -> tuple[tuple[int, int], ...]:
        """Code points of a node for one character."""
        if code is op.ANY:
            return ((0, 0x10FFFF),) if flags & re.DOTALL else ((0, 9), (11, 0x10FFFF))
        key = (source_of_class(code, argument), flags & re.IGNORECASE)
        if key not in _CLASS_CACHE:
            _CLASS_CACHE[key] = class_of(*key)
        return _CLASS_CACHE[key]

    def test(self, code: Any, argument: Any, flags: int, char: str) -> str:
        """C that tells whether `char` is of the class."""
        if code is op.LITERAL and not flags & re.IGNORECASE:
            return f"{char} == {argument}"
        return f"{self.cls(code, argument, flags)}({char})"

    def sequence(self, nodes: Sequence[tuple[Any, Any]], flags: int, then: str) -> str:
        """Compile `nodes`, after which `then` goes on; return the function's name."""
        for code, argument in reversed(nodes):
            then = self.node(code, argument, flags, then)
        return then

    def node(self, code: Any, argument: Any, flags: int, then: str) -> str:
        if code in _ONE_CHARACTER:
            return self.make(
                f"return p < c->n && {self.test(code, argument, flags, 'c->s[p]')} ? N({then})(c, p + 1) : -1;"
            )
        if code is op.AT:
            return self.make(f"return {self.at(argument)} ? N({then})(c, p) : -1;")
        if code is op.BRANCH:
            return self.branch(argument[1], flags, then)
        if code is op.SUBPATTERN:
            group, add, remove, inner = argument
            flags = (flags | add) & ~remove
            if group is None:
                return self.sequence(list(inner), flags, then)
            close = self.make(
                f"long was = c->g[{2 * group + 1}]; c->g[{2 * group + 1}] = p; long r = N({then})(c, p); "
                f"if (r < 0) c->g[{2 * group + 1}] = was; return r;"
            )
            body = self.sequence(list(inner), flags, close)
            return self.make(
                f"long was = c->g[{2 * group}]; c->g[{2 * group}] = p; long r = N({body})(c, p); "
                f"if (r < 0) c->g[{2 * group}] = was; return r;"
            )
        if code is op.GROUPREF:
            return self.make(
                f"long a = c->g[{2 * argument}], b = c->g[{2 * argument + 1}]; if (b - a > c->n - p) return -1; "
                f"for (; a < b; a++, p++) if (c->s[a] != c->s[p]) return -1; return N({then})(c, p);"
            )
        if code in (op.ASSERT, op.ASSERT_NOT):
            direction, inner = argument
            body = self.sequence(list(inner), flags, "ok")
            sign = ">=" if code is op.ASSERT else "<"
            if direction > 0:
                return self.make(f"return N({body})(c, p) {sign} 0 ? N({then})(c, p) : -1;")
            low, high = inner.getwidth()
            if low != high:
                raise NotImplementedError(f"{self.name}: a look-behind of varying width")
            holds = f"p >= {low} && N({body})(c, p - {low}) >= 0"
            return self.make(f"return {'' if code is op.ASSERT else '!'}({holds}) ? N({then})(c, p) : -1;")
        if code is op.ATOMIC_GROUP:
            body = self.sequence(list(argument), flags, "ok")
            return self.make(f"long q = N({body})(c, p); return q < 0 ? -1 : N({then})(c, q);")
        if code in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
            low, high, inner = argument
            return self.repeat(code, low, high, inner, flags, then)
        raise NotImplementedError(f"{self.name}: {code}")

    def repeat(self, code: Any, low: int, high: int, inner: Any, flags: int, then: str) -> str:
        unbounded = high is op.MAXREPEAT or high > 2**31
        nodes = list(inner)
        kind, what = nodes[0]
        if len(nodes) == 1 and (kind in _ONE_CHARACTER or (kind is op.GROUPREF and self.widths[what] == (1, 1))):
            is_again = kind is op.GROUPREF  # of one character
            test = f"c->s[q] == c->s[c->g[{2 * what}]]" if is_again else self.test(kind, what, flags, "c->s[q]")
            limit = "c->n" if unbounded else f"(c->n - p < {high} ? c->n : p + {high})"
            if code is op.MIN_REPEAT:
                return self.make(
                    f"long q = p, most = {limit}; for (;; q++) {{ if (q - p >= {low}) {{ long r = N({then})(c, q); "
                    f"if (r >= 0) return r; }} if (q >= most || !({test})) return -1; }}"
                )
            run = f"long q = p, most = {limit}; while (q < most && {test}) q++; if (q - p < {low}) return -1; "
            if code is op.POSSESSIVE_REPEAT or then == "ok":
                return self.make(f"{run}return N({then})(c, q);")
            return self.make(
                f"{run}for (;; q--) {{ long r = N({then})(c, q); if (r >= 0) return r; "
                f"if (q - p <= {low}) return -1; }}"
            )
        if high == 1 and low == 0 and code is not op.POSSESSIVE_REPEAT:
            body = self.sequence(nodes, flags, then)
            a, b = (body, then) if code is op.MAX_REPEAT else (then, body)
            return self.make(f"long r = N({a})(c, p); return r >= 0 ? r : N({b})(c, p);")
        if code is op.POSSESSIVE_REPEAT:
            body = self.sequence(nodes, flags, "ok")
            more = "" if unbounded else f" && n < {high}"
            return self.make(
                f"long n = 0; for (; 1{more}; n++) {{ long q = N({body})(c, p); if (q < 0 || (q == p && n >= {low})) "
                f"break; p = q; }} return n < {low} ? -1 : N({then})(c, p);"
            )
        if code is not op.MAX_REPEAT:
            raise NotImplementedError(f"{self.name}: a lazy repeat of a group")
        number = self.counters
        self.counters += 1
        again = f"{self.name}_r{number}"
        self.lines.append(f"static long N({again})(N(ctx) *c, long p);")
        body = self.sequence(nodes, flags, again)
        more = "" if unbounded else f"n < {high} && "
        self.lines.append(
            f"static long N({again})(N(ctx) *c, long p) {{\n"
            f"    long n = c->count[{number}], last = c->last[{number}];\n"
            f"    if ({more}!(n >= {low} && p == last)) {{\n"
            f"        if (++c->depth > MAX_DEPTH) {{ c->too_deep = 1; c->depth--; return -1; }}\n"
            f"        c->count[{number}] = n + 1; c->last[{number}] = p;\n"
            f"        long r = N({body})(c, p);\n"
            f"        c->depth--;\n"
            f"        if (r >= 0) return r;\n"
            f"        c->count[{number}] = n; c->last[{number}] = last;\n"
            f"    }}\n"
            f"    return n >= {low} ? N({then})(c, p) : -1;\n}}"
        )
        return self.make(
            f"long n = c->count[{number}], last = c->last[{number}]; c->count[{number}] = 0; c->last[{number}] = -1; "
            f"long r = N({again})(c, p); c->count[{number}] = n; c->last[{number}] = last; return r;"
        )

    def branch(self, branches: Sequence[Any], flags: int, then: str) -> str:
        """Compile an alternation: only alternatives that can begin with the character at hand are tried."""
        if len(branches) > _MOST_BRANCHES:
            raise NotImplementedError(f"{self.name}: more than {_MOST_BRANCHES} alternatives")
        names = [self.sequence(list(nodes), flags, then) for nodes in branches]
        masks = [0] * 129
        at_end = 0
        for index, nodes in enumerate(branches):
            first, empty = self.first(list(nodes), flags)
            for code, may in enumerate(first):
                if may or empty:
                    masks[code] |= 1 << index
            at_end |= int(empty) << index
        table = f"{self.name}_b{self._made}"
        self.lines.append(f"static const uint64_t {table}[129] = {{{','.join(f'{mask}u' for mask in masks)}}};")
        cases = " ".join(
            f"if (m & {1 << index}u) {{ long r = N({name})(c, p); if (r >= 0) return r; }}"
            for index, name in enumerate(names)
        )
        cases = cases.replace("u)", "ull)")
        return self.make(
            f"uint64_t m = p < c->n ? {table}[c->s[p] < 128 ? c->s[p] : 128] : {at_end}ull; "
            f"if (!m) return -1; {cases} return -1;"
        )

    def at(self, where: Any) -> str:
        if where in (op.AT_BEGINNING, op.AT_BEGINNING_STRING):
            return "p == 0"
        if where is op.AT_END_STRING:
            return "p == c->n"
        if where in (op.AT_BOUNDARY, op.AT_NON_BOUNDARY):
            word = self.classes.add(class_of(r"\w", 0))
            sign = "!=" if where is op.AT_BOUNDARY else "=="
            return f"(p > 0 && {word}(c->s[p - 1])) {sign} (p < c->n && {word}(c->s[p]))"
        raise NotImplementedError(f"{self.name}: {where}")

    # -- first characters ------------------------------------------------------------------------------------------

    def first(self, nodes: Sequence[tuple[Any, Any]], flags: int) -> tuple[list[int], bool]:
        """Which ASCII characters (and whether any other) a match can begin with, and whether it can be empty."""
        found = [0] * 129
        for code, argument in nodes:
            one, empty = self.first_of(code, argument, flags)
            found = [a | b for a, b in zip(found, one, strict=True)]
            if not empty:
                return found, False
        return found, True

    def first_of(self, code: Any, argument: Any, flags: int) -> tuple[list[int], bool]:
        if code in _ONE_CHARACTER:
            ranges = self.ranges(code, argument, flags)
            table = [int(_holds(ranges, char)) for char in range(128)]
            return [*table, int(any(high >= _NON_ASCII for _, high in ranges))], False
        if code is op.BRANCH:
            return self.either(argument[1], flags)
        if code is op.SUBPATTERN:
            return self.first(list(argument[3]), (flags | argument[1]) & ~argument[2])
        if code is op.ATOMIC_GROUP:
            return self.first(list(argument), flags)
        if code in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
            found, empty = self.first(list(argument[2]), flags)
            return found, empty or argument[0] == 0
        if code in (op.AT, op.ASSERT, op.ASSERT_NOT):
            return [0] * 129, True
        return [1] * 129, True

    def either(self, branches: Iterable[Any], flags: int) -> tuple[list[int], bool]:
        found, empty = [0] * 129, False
        for nodes in branches:
            one, may = self.first(list(nodes), flags)
            found = [a | b for a, b in zip(found, one, strict=True)]
            empty = empty or may
        return found, empty


def words_table(word_sets: Mapping[str, frozenset[str]]) -> list[str]:
    """Words as an open-addressed table: hash -> word and the sets that it is in."""
    flags = {name: 1 << index for index, name in enumerate(word_sets)}
    words = sorted(frozenset().union(*word_sets.values()))
    size = 1
    while size < 4 * len(words):
        size *= 2
    slots: list[tuple[str, int] | None] = [None] * size
    for word in words:
        at = fnv(word) % size
        while slots[at] is not None:
            at = (at + 1) % size
        slots[at] = (word, sum(flag for name, flag in flags.items() if word in word_sets[name]))
    longest = max(map(len, words))
    lines = [f"#define WORD_{name} {flag}u" for name, flag in flags.items()]
    lines += [f"#define WORD_SLOTS {size}u", f"#define LONGEST_WORD {longest}"]
    entries = ",".join(f'{{"{slot[0]}",{len(slot[0])},{slot[1]}}}' if slot else '{"",0,0}' for slot in slots)
    lines.append(
        f"static const struct {{ char word[{longest + 1}]; uint8_t length, flags; }} words[WORD_SLOTS] = {{{entries}}};"
    )
    return lines


def fnv(word: str) -> int:
    """FNV-1a, 32 bits."""
    value = 2166136261
    for byte in word.encode():
        value = (value ^ byte) * 16777619 & 0xFFFFFFFF
    return value


def of_code_points(holds: Callable[[str], bool]) -> tuple[tuple[int, int], ...]:
    """Return the code points for which `holds`, as ranges."""
    ranges: list[tuple[int, int]] = []
    for code, char in enumerate(_every_character()):
        if holds(char):
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1] = (ranges[-1][0], code)
            else:
                ranges.append((code, code))
    return tuple(ranges)


def fold_tables(classes: Classes) -> list[str]:
    """What changes its length, or becomes ASCII, when case is folded; and what is a space."""
    named = {
        "is_space": of_code_points(str.isspace),
        "lowers_to_many": of_code_points(lambda char: len(char.lower()) != 1),
        "folds_to_many": of_code_points(lambda char: len(char.casefold()) != 1),
    }
    lines = [f"#define {name} {classes.add(ranges)}" for name, ranges in named.items()]
    for name, fold in (("lower_wide", str.lower), ("fold_wide", str.casefold)):
        ascii_ones = [
            (code, fold(char)) for code, char in enumerate(_every_character()) if code > 127 and fold(char).isascii()
        ]
        cases = " ".join(f"case {code}: return {ord(low)};" for code, low in ascii_ones if len(low) == 1)
        lines.append(f"static inline uint32_t {name}(uint32_t c) {{ switch (c) {{ {cases} default: return c; }} }}")
    return lines


def patterns_h(rules: Iterable[Rules]) -> str:
    """Return the text of patterns.h for all `rules` together."""
    rules = list(rules)
    patterns = {name: pattern for one in rules for name, pattern in one.patterns.items()}
    word_sets = {name: words for one in rules for name, words in one.word_sets.items()}
    classes = Classes()
    folds = fold_tables(classes)
    compilers = [Compiler(name, pattern, classes) for name, pattern in patterns.items()]
    code = "\n".join(line for compiler in compilers for line in compiler.lines).split("\n")
    texts = []
    for name, listed in ((name, listed) for one in rules for name, listed in one.texts.items()):
        quoted = ", ".join(f'"{text}"' for text in listed)
        texts += [f"static const char *const {name}[] = {{{quoted}}};", f"#define {name}_COUNT {len(listed)}"]
    groups = [
        f"#define {name.upper()}_{group.upper()} {2 * number + 1}"
        for name, pattern in patterns.items()
        for group, number in pattern.groupindex.items()
    ]
    return "\n".join(
        [
            "/* Written by regex_to_c.py. */",
            "#ifndef PATTERNS_TABLES",
            "#define PATTERNS_TABLES",
            f"#define MAX_COUNTERS {max(1, *(compiler.counters for compiler in compilers))}",
            f"#define MAX_GROUPS {1 + max(compiler.groups for compiler in compilers)}",
            f"static const uint32_t RULES[] = {{{','.join(f'{one.checksum()}u' for one in rules)}}};",
            *(words_table(word_sets) if word_sets else ()),
            *texts,
            *groups,
            *classes.lines,
            *folds,
            *(line for line in code if line.startswith("static const")),
            "#endif",
            "#ifdef CHAR",
            *(line for line in code if not line.startswith("static const")),
            "#endif",
            "",
        ]
    )
