"""The training corpus: every record of the data directory as the model would read it.

Records go through the same pipeline, screen and tokenizer as live traffic. A record gives a bag of windows; a benign
record's windows are all benign, an attack record is malicious in at least one of them, not in each (multiple-instance
labels), unless it has only one. Bare values are placed into requests at random, attack and benign alike, so that
neither place nor parameter name tells them apart.
"""

from __future__ import annotations

import json
import lzma
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from vedette.datasets.encoders import encode
from vedette.datasets.generate import GENERATORS, generate_attack, generate_benign
from vedette.datasets.grammar import Split
from vedette.datasets.mutators import mutate
from vedette.errors import RequestError
from vedette.http_request import HTTPRequest
from vedette.parsing.pipeline import ParsingPipeline
from vedette.parsing.record import parse_record
from vedette.tokenization.http_tokenizer import windows_of
from vedette.tokenization.native_screen import view
from vedette.training.believe import GENERATED, disbelief, doubt_harmless, is_harmless_part
from vedette.training.split import Part, group_of, part_of
from vedette.verdict import BENIGN

# Names of the slots that values are placed in; drawn alike for attacks and harmless values.
_NAMES = (
    "q s id page name user username email title text content body message comment description url link redirect next "
    "return file path filename template lang locale category cat item product sku query search keyword filter sort "
    "order date from to price color size ref source data value input param key token session hash callback action "
    "type mode view field code address city phone subject note tag tags src img image domain host debug config "
    "settings options payload cmd html json xml label summary question answer review bio about company country zip p "
    "a b c x y z v t d e f g"
).split()
_PLACES = (
    ("query",) * 7 + ("form",) * 4 + ("json",) * 5 + ("multipart", "xml", "path", "cookie", "cookie", "header", "text")
)
_HEADERS = (
    *("Referer", "User-Agent", "X-Forwarded-For", "X-Api", "Origin") * 2,
    *("Accept", "Accept-Language", "Authorization", "X-Forwarded-Host", "X-Request-Id", "X-Requested-With", "X-Custom"),
)
_AS_IT_IS = 0.5  # share of values that a header can hold and gets without escapes, as applications read it
_NAMELESS = 0.1  # share of values in the query that are all of it, cut by their own signs where these are not escaped
_RAW, _UNESCAPED = 0.15, "&=;/?:@$,'()*!|<>\"{}[]`"  # scanners escape no more than the request line needs
_AS_TARGET, _AS_AGENT, _AS_FILE, _AS_REFERER, _AS_OPTION, _AS_HOST = 0.35, 0.6, 0.5, 1.0, 0.4, 0.6
_FILE_NAME = re.compile(
    r"[^/\\\r\n\0\"<>]{1,120}\.(?:jpe?g|png|gif|webp|heic|tiff|avif|pdf|docx?|odt|pptx|xlsx?|ods|csv|txt|zip|mp[34]|mov|wav)\Z",
    re.I,
)
_AGENT = re.compile(r"(?:Mozilla|Opera|Dalvik|HbbTV|okhttp|curl)/[^\r\n\0]*\Z")
# A host of the public net, whose labels may be words of shells, systems and scripts.
_HOST = re.compile(
    r"(?:[a-z0-9-]+\.)+(?!(?:cs|go|js|mk|md|py|rb|rs|sh|so|ts)\Z)(?:com|org|net|edu|gov|info|[a-z]{2})(?::\d+)?\Z"
)
# A page on the machine of who develops it: harmless where a request says it comes from, not where one is asked to go.
_DEVELOPED = re.compile(
    r"https?://(?:localhost|(?:127|10|192\.168)\.[\d.]+|0\.0\.0\.0|[\w.-]+\.(?:local|localhost|lan|test|internal))"
    r"(?::\d+)?(?:[/?#]\S*)?\Z"
)
# Options that interfaces name with a dollar stand as names of parameters, where Mongo's operators stand too.
_OPTION = re.compile(
    r"\$(?!(?:all|and|comment|exists|expr|function|gte|lte|ne|nin|nor|not|regex|type|where)\Z)[a-z][\w.-]{2,40}\Z", re.I
)
_MUTATED = 0.4  # share of generated attacks that are mutated as well
_ENCODED = 0.2  # share of generated and of harmless values that are encoded once more
_LAYERS = (0, 0, 0, 1, 1, 2)  # encodings around a collected attack in other words
KEPT_APART = "kept apart"
_NUMBERS, _BLANKS = re.compile(r"[0-9]+"), re.compile(r"[\s'\"]+")
# Ambiguous ones, and the queries of one API, by which Mongo's operators would count as harmless everywhere.
_SKIPPED_FILES = ("ambiguous_blns", "ambiguous_sql_spider", "parse_where", "sql_bi_ambiguous")
# Which header or place the values of a file belong in, where they are not free text.
_HOME = {"user_agents": "User-Agent", "referrers": "Referer", "cookies": "Cookie", "mail_headers": "X-Mail"}


class Bag(msgspec.Struct, array_like=True):
    """One record: its label (a class), group, origin and its distinct windows as (context, view).

    `part` is what the record does in one run, see `assign`.
    """

    label: str
    group: str
    origin: str
    windows: list[tuple[str, str]]
    part: str = "train"
    record_id: str = ""
    bare: bool = False  # a value without a request
    is_site: bool = False  # a request of people browsing
    disbelief: str | None = None  # why the label is not believed; such bags are in part "drop"


def place_value(value: str, rng: random.Random, home: str | None = None) -> HTTPRequest:
    """Put a bare value into one slot of an otherwise empty request, mostly encoded so that decoding gives it back.

    `home` is the header it belongs in, "filename" for the name of an uploaded file, "option" for the name of a
    parameter or "target" for what is itself a path, with or without a query; None draws a place.
    """
    if home == "target":
        return HTTPRequest("GET", quote(value, safe="/?&=;:,!$()*'~+@", errors="surrogatepass"))
    if home == "option":
        return HTTPRequest(
            "GET", f"/?{quote(value, safe='$')}{rng.choice(('', '=', '=1', '=true', f'={rng.choice(_NAMES)}'))}"
        )
    if home == "filename":
        name = value.replace('"', "%22").replace("\r", "%0d").replace("\n", "%0a")
        part = f'--q\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n1\r\n--q--\r\n'
        return _body("multipart/form-data; boundary=q", part)
    if home == "Cookie":
        return HTTPRequest("GET", "/", (("Cookie", value),))
    if home:
        return HTTPRequest("GET", "/", ((home, value),))
    place, name = rng.choice(_PLACES), rng.choice(_NAMES)
    is_raw = place in ("query", "form") and rng.random() < _RAW
    escaped = quote(value, safe=_UNESCAPED if is_raw else "", errors="surrogatepass")
    if place == "query" and rng.random() < _NAMELESS:
        return HTTPRequest("GET", f"/?{escaped}")
    if place == "query":
        return HTTPRequest("GET", f"/?{name}={escaped}")
    if place == "path":
        return HTTPRequest("GET", "/" + quote(value, safe="/", errors="surrogatepass"))
    if place == "cookie":
        return HTTPRequest("GET", "/", (("Cookie", f"{name}={escaped}"),))
    if place == "header":
        as_it_is = value.isascii() and value.isprintable() and value == value.strip() and rng.random() < _AS_IT_IS
        return HTTPRequest("GET", "/", ((rng.choice(_HEADERS), value if as_it_is else escaped),))
    if place == "form":
        return _body("application/x-www-form-urlencoded", f"{name}={escaped}")
    if place == "json":
        document: Any = {name: value}
        for _ in range(rng.choice((0, 0, 1, 2))):
            document = {rng.choice(_NAMES): document} if rng.random() < 0.7 else [document]
        return _body("application/json", json.dumps(document, ensure_ascii=rng.random() < 0.5))
    if place == "xml":
        text = value.replace("&", "&amp;").replace("<", "&lt;")
        return _body("text/xml", f"<r><{name}>{text}</{name}></r>")
    if place == "text":  # a mail, a log or a beacon as the whole body
        return _body("text/plain", value)
    part = f'--q\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n--q--\r\n'
    return _body("multipart/form-data; boundary=q", part)


def _body(content_type: str, text: str) -> HTTPRequest:
    return HTTPRequest("POST", "/", (("Content-Type", content_type),), text.encode("utf-8", "surrogatepass"))


class Reader:
    """Requests -> bags, by the code path of live traffic."""

    def __init__(self) -> None:
        self._pipeline = ParsingPipeline()

    def windows(self, request: HTTPRequest) -> list[tuple[str, str]]:
        """Return the distinct (context, view) windows that the model would read, first 64."""
        windows: dict[tuple[str, str], None] = {}
        for field in self._pipeline.parse(request).fields:
            for window in windows_of(field):
                windows[(window.context, view(window.text))] = None
                if len(windows) >= 64:
                    return list(windows)
        return list(windows)

    def record(self, record: dict[str, Any], origin: str, rng: random.Random) -> list[Bag]:
        """Return the bags of one data record.

        A bare value is placed twice or more, an attack also in other words, and doubted where either place is.
        """
        if record["label"] not in ("attack", "benign"):
            return []
        label = BENIGN if record["label"] == "benign" else str(record["class"])
        value = record.get("value") if record.get("kind") == "value" else None
        if value is None:
            requests = [parse_record(json.dumps(record)).request]
        else:
            home = _HOME.get(origin.rpartition("/")[2])
            requests = [place_value(value, rng, home) for _ in range(1 if home else 2)]
        seen = [self.windows(request) for request in requests]
        doubts = doubt_harmless if label == BENIGN else disbelief
        doubt = next((why for windows in seen if (why := doubts(record, windows))), None)
        if value is not None and label != BENIGN:
            varied, _ = encode(mutate(value, label, rng), rng, layers=rng.choice(_LAYERS))
            seen.append(self.windows(place_value(varied, rng, home)))
        elif value is not None and not home and rng.random() < _ENCODED:
            seen.append(self.windows(place_value(encode(value, rng)[0], rng)))
        return [
            Bag(label, group_of(record), origin, windows, record_id=str(record.get("id", "")),
                bare=value is not None, is_site=bool(record.get("site")), disbelief=doubt)
            for windows in seen
        ]  # fmt: skip


def assign(bags: list[Bag], fold: int | None, *, calibrating: bool = True) -> None:
    """Set what each bag does in the run that leaves out `fold`. What our own grammars make always trains.

    But for the productions that they keep apart: with those, only the run that leaves out nothing is trained. Without
    `calibrating`, the sites that would calibrate the run train it too.
    """
    for bag in bags:
        label = BENIGN if bag.label == BENIGN else "attack"
        if bag.disbelief is not None:
            bag.part = "drop"
        elif bag.origin.startswith(GENERATED):
            bag.part = "test" if fold is not None and bag.group == KEPT_APART else "train"
        else:
            bag.part = part_of(label, bag.group, is_site=bag.is_site, fold=fold)
            if bag.part == "calibrate" and not calibrating:
                bag.part = "train"


def records_of(data: Path, fold: int | None) -> Iterator[tuple[dict[str, Any], Part]]:
    """Yield every record of the data directory with its part in the run that leaves out `fold`."""
    for path in files_of(data):
        for record in _records(path):
            yield record, part_of(record["label"], group_of(record), is_site=bool(record.get("site")), fold=fold)


def files_of(data: Path) -> list[Path]:
    """The files of the data directory that are read, in order."""
    return [p for p in sorted(data.glob("*/*.jsonl.xz")) if p.name.partition(".")[0] not in _SKIPPED_FILES]


def _records(path: Path) -> Iterator[dict[str, Any]]:
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def read_file(path: Path, seed: int) -> list[Bag]:
    """Return the bags of one file of the data directory. Records that cannot be read are left out."""
    origin = f"{path.parent.name}/{path.name.partition('.')[0]}"
    rng, reader, bags = random.Random(f"{seed}:{origin}"), Reader(), []
    for record in _records(path):
        try:
            bags += reader.record(record, origin, rng)
        except RequestError:
            continue
    return bags


def generate_bags(label: str, count: int, seed: int, split: Split = "train") -> list[Bag]:
    """Return `count` bags of one attack class, or of hard negatives for "benign", from our own grammars."""
    rng, reader, bags = random.Random(f"{seed}:{label}"), Reader(), []
    for _ in range(count):
        if label == BENIGN:
            value = generate_benign(rng)
        else:
            value = generate_attack(label, rng, split=split, mutate=rng.random() < _MUTATED)
        home, sent = home_of(label, value, rng), value
        if home is None and rng.random() < _ENCODED:
            sent, _ = encode(value, rng)
        windows = reader.windows(place_value(sent, rng, home))
        made = {"class": label, "kind": "value", "value": value, "source": GENERATED}
        if windows and (label == BENIGN or disbelief(made, windows) is None):
            group = KEPT_APART if split == "holdout" else label
            bags.append(Bag(label, group, f"{GENERATED}{label}", windows, bare=True))
    return bags


def home_of(label: str, value: str, rng: random.Random) -> str | None:
    """Where a generated value belongs, for `place_value`: avatar.php attacks as the name of an upload only.

    So that such names are not attacks by their place, those of harmless files stand there too.

    A path, of an attack or not, is often the path of its request; there a second slash would be its mark.
    """
    if value.startswith("/") and rng.random() < _AS_TARGET:
        return "target"
    if label == BENIGN and _AGENT.match(value) and rng.random() < _AS_AGENT:
        return "User-Agent"
    if label == BENIGN and _OPTION.match(value) and rng.random() < _AS_OPTION:
        return "option"
    if label == BENIGN and _FILE_NAME.match(value) and rng.random() < _AS_FILE:
        return "filename"
    if label == BENIGN and _HOST.match(value) and rng.random() < _AS_HOST:
        return "Host"
    if label == BENIGN and _DEVELOPED.match(value) and rng.random() < _AS_REFERER:
        return "Origin" if value.count("/") == 2 else "Referer"
    if label == "upload" and "\n" not in value and "<?" not in value:
        return "filename"
    if label == "shellshock" and rng.random() < 0.6:
        return rng.choice(("User-Agent", "Referer", "X-Api"))
    return None


def _job(job: tuple[str, str, int, int]) -> list[Bag]:
    kind, argument, count, seed = job
    if kind == "file":
        return read_file(Path(argument), seed)
    return generate_bags(argument, count, seed, "holdout" if kind == KEPT_APART else "train")


_WIDEST = frozenset(("cmdi", "sqli", "traversal", "xss"))


@dataclass(frozen=True, slots=True)
class CorpusPlan:
    """How much to generate beside the files: draws per attack class, of which those with the widest grammars have
    `widest`, and draws of hard negatives.

    `kept_apart` are draws per class from the productions that are kept out of training wherever a fold is left out.
    """

    per_class: int = 40_000
    widest: int = 60_000
    kept_apart: int = 5_000
    hard_negatives: int = 360_000
    seed: int = 7
    chunk: int = 5_000

    def jobs(self, data: Path) -> list[tuple[str, str, int, int]]:
        jobs = [("file", str(path), 0, self.seed) for path in files_of(data)]
        for label, total in [
            (BENIGN, self.hard_negatives),
            *((name, self.widest if name in _WIDEST else self.per_class) for name in GENERATORS if name != BENIGN),
        ]:
            for index, start in enumerate(range(0, total, self.chunk)):
                jobs.append(("generate", label, min(self.chunk, total - start), self.seed + 1000 * index))
        jobs += [(KEPT_APART, name, self.kept_apart, self.seed) for name in GENERATORS if name != BENIGN]
        return jobs


def build(data: Path, plan: CorpusPlan, processes: int) -> Iterator[tuple[str, list[Bag]]]:
    """Yield (job name, its bags) for every file and generator, in order."""
    jobs = plan.jobs(data)
    with ProcessPoolExecutor(processes) as pool:
        for job, bags in zip(jobs, pool.map(_job, jobs), strict=True):
            yield f"{job[1].rpartition('/')[2]}", bags


class Example(NamedTuple):
    """One window with a label: what a training step sees. `bag` numbers attack records whose label is not certain."""

    context: str
    text: str
    label: str
    origin: str
    bag: int


def examples_of(bags: Iterable[Bag]) -> list[Example]:
    """Training bags -> distinct examples.

    A window that stands in benign records is never an attack by its bag alone, nor is one that shows nothing of what
    its request does; an attack bag that keeps one window is certain (bag -1), one that keeps several is left for the
    trainer to decide.
    """
    bags = [bag for bag in bags if bag.part == "train"]
    benign_texts = {text for bag in bags if bag.label == BENIGN for _, text in bag.windows}
    seen: dict[tuple[str, str, str], None] = {}
    examples: list[Example] = []
    number = 0
    for bag in bags:
        windows = bag.windows
        if bag.label != BENIGN:
            windows = [window for window in windows if window[1] not in benign_texts]
            if not bag.bare:
                windows = [window for window in windows if not is_harmless_part(bag.label, *window)]
        certain = bag.label == BENIGN or len(windows) == 1
        if not certain:
            number += 1
        for context, text in windows:
            if (key := (bag.label, context, text)) in seen:
                continue
            seen[key] = None
            examples.append(Example(context, text, bag.label, bag.origin, -1 if certain else number))
    return examples


def split_keys(bags: Iterable[Bag]) -> set[str]:
    """Return what training has seen of attacks, after decoding, as `is_copy` compares: without places."""
    return {_bare(text) for bag in bags if bag.part == "train" and bag.label != BENIGN for _, text in bag.windows}


def is_copy(windows: Sequence[tuple[str, str]], seen: set[str]) -> bool:
    """True if every window of a held-out attack stands in the training attacks, but for numbers, spaces and quotes."""
    return bool(windows) and key_of(windows) <= seen


def key_of(windows: Sequence[tuple[str, str]]) -> frozenset[str]:
    """What attacks have in common that differ in numbers, spaces, quotes and places alone."""
    return frozenset(_bare(text) for _, text in windows)


def _bare(text: str) -> str:
    return _NUMBERS.sub("0", _BLANKS.sub("", text))
