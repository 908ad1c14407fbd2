"""Mutations keep what a payload means: SQL by running it in SQLite, shell words by a POSIX parser and `bash -n`."""

from __future__ import annotations

import json
import random
import re
import shlex
import shutil
import sqlite3
import subprocess
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from vedette.datasets import mutators
from vedette.datasets.generate import generate_attack

STATEMENTS = [
    "SELECT 7 WHERE 1=1 AND 'abc'='abc'",
    "SELECT name FROM t WHERE id = 2 OR 1=1 ORDER BY name",
    "SELECT count(*) FROM t WHERE name LIKE 'a%' OR id IN (1, 2)",
    "SELECT id FROM t WHERE id <> 2 AND id != 3",
    "SELECT 1 UNION SELECT 2 UNION SELECT 3",
    "SELECT CASE WHEN 5 > 3 THEN 'yes' ELSE 'no' END",
    "SELECT name FROM t WHERE id BETWEEN 1 AND 2 AND name IS NOT NULL",
    "SELECT 12*3 FROM t WHERE NOT id=1",
]


@pytest.fixture(scope="module")
def database() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.executescript("CREATE TABLE t (id INT, name TEXT); INSERT INTO t VALUES (1,'anna'),(2,'bob'),(3,'cid');")
    return connection


@pytest.mark.parametrize("operator", [mutators.sql_case, mutators.sql_space, mutators.sql_number, mutators.sql_string,
                                      mutators.sql_tautology, mutators.sql_comment])  # fmt: skip
@pytest.mark.parametrize("statement", STATEMENTS)
def test_mutated_sql_gives_the_same_rows(
    database: sqlite3.Connection, operator: mutators.Mutator, statement: str
) -> None:
    expected = sorted(database.execute(statement).fetchall())
    for seed in range(25):
        mutated = operator(statement, random.Random(seed))
        assert sorted(database.execute(mutated).fetchall()) == expected, mutated


def test_sql_operators_of_other_engines_are_swapped() -> None:
    drawn = {mutators.sql_operator("x' AND 1=1 OR 2<>3", random.Random(seed)) for seed in range(40)}
    assert drawn == {"x' && 1=1 OR 2<>3", "x' AND 1=1 || 2<>3", "x' AND 1=1 OR 2!=3", "x' AND 1 LIKE 1 OR 2<>3"}


@pytest.mark.parametrize("command", ["cat /etc/hostname", "ls -la /tmp", "; id", "| uname -a", "ping -c 1 localhost"])
def test_quotes_leave_the_words_that_a_shell_reads(command: str) -> None:
    for seed in range(25):
        assert shlex.split(mutators.shell_quotes(command, random.Random(seed))) == shlex.split(command)


@pytest.mark.parametrize("command", ["id", "; uname -a", "| printf done"])
def test_empty_expansions_leave_what_a_shell_runs(command: str) -> None:
    bash = shutil.which("bash")
    assert bash
    drawn = {mutators.shell_empty(command, random.Random(seed)) for seed in range(25)}
    assert len(drawn) > 5
    for text in drawn:
        assert text != command
        word = text.lstrip(";| ")
        plain = command.lstrip(";| ")
        outputs = {
            subprocess.run([bash, "-c", line], check=True, capture_output=True, text=True).stdout
            for line in (word, plain)
        }
        assert len(outputs) == 1, text


def test_carets_and_case_leave_what_cmd_reads() -> None:
    drawn = {mutators.cmd_carets("& ipconfig /all", random.Random(seed)) for seed in range(40)}
    assert len(drawn) > 8
    assert {text.replace("^", "").lower() for text in drawn} == {"& ipconfig /all"}
    assert mutators.cmd_carets('& cmd /c "ipconfig"', random.Random(1)) == '& cmd /c "ipconfig"'


def test_a_last_tag_is_left_open() -> None:
    text = "<img src=x onerror=alert(1)>"
    drawn = {mutators.html_open(text, random.Random(seed)) for seed in range(20)}
    assert all(other.startswith(text[:-1]) and not other.endswith(">") for other in drawn)
    assert mutators.html_open("<b>x</b>", random.Random(1)) == "<b>x</b>"


def test_mutated_shell_still_parses() -> None:
    bash = shutil.which("bash")
    assert bash
    commands = ["id; ls -la /tmp", "cat /etc/hostname | head -n 1", "uname -a && echo done", "$(id)", "ls /tmp & id"]
    for seed in range(10):
        for command in commands:
            mutated = command
            for operator in mutators.MUTATORS["cmdi"]:
                mutated = operator(mutated, random.Random(seed))
            assert subprocess.run([bash, "-n", "-c", mutated], check=False).returncode == 0, mutated


class _Reader(HTMLParser):
    """Collects tags with their attributes, as a browser's tokenizer names them."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


@pytest.mark.parametrize("operator", [mutators.html_case, mutators.html_entities])
def test_mutated_markup_has_the_same_tags_and_handlers(operator: mutators.Mutator) -> None:
    text = '<img src="x" onerror="alert(1)"><svg onload="confirm(2)"><a href="/x" onclick=\'go(3)\'>y</a>'
    plain = _Reader()
    plain.feed(text)
    for seed in range(25):
        mutated = _Reader()
        mutated.feed(operator(text, random.Random(seed)))
        assert mutated.seen == plain.seen


def test_paths_only_change_their_spelling() -> None:
    for seed in range(40):
        mutated = mutators.path_spelling("../../../etc/passwd", random.Random(seed))
        assert mutated.endswith("etc/passwd")
        assert mutators.path_depth("../../etc/passwd", random.Random(seed)).count("../") > 2


@pytest.mark.parametrize("family", ["sqli", "xss", "cmdi", "traversal", "ssti", "deser", "upload"])
def test_most_payloads_of_the_classic_families_change(family: str) -> None:
    rng = random.Random(8)
    changed = 0
    for _ in range(200):
        payload = generate_attack(family, rng)
        changed += mutators.mutate(payload, family, rng) != payload
    assert changed >= (80 if mutators.MUTATORS.get(family) else 0)


def test_spaces_leave_what_documents_and_queries_say() -> None:
    text, tree = '{"a": {"$ne": "b, {c}"}, "d": [1, null]}', '<!DOCTYPE a [<!ENTITY b "c d">]><a>x &b;</a>'
    query, path = 'query{users(name:"a { b"){id ...on A{name}}}', "x' or //a/b[c = 'd e'] or 'f' = 'f"
    for seed in range(25):
        rng = random.Random(seed)
        assert json.loads(mutators.json_space(text, rng)) == json.loads(text)
        assert ElementTree.fromstring(mutators.xml_space(tree, rng)).text == "x c d"
        assert _words(mutators.graphql_space(query, rng).replace(",", " ")) == _words(query)
        spaced = mutators.xpath_space(path, rng)
        assert spaced.split() == path.split()
        assert "'d e'" in spaced
    assert mutators.json_space("{{7*7}}", random.Random(1)) == "{{7*7}}"
    assert mutators.graphql_space('{"query":"{a}"}', random.Random(1)) == '{"query":"{a}"}'


def _words(text: str) -> list[str]:
    return re.findall(r"\"[^\"]*\"|'[^']*'|\w+|[^\w\s]", text)
