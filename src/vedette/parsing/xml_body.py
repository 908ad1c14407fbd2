"""XML bodies by expat (stdlib), with everything that can expand or fetch switched off.

Entities are declared by attackers and expanded by nobody here: with a default handler set, expat hands internal
references over as text, and external ones are never opened. The document type declaration is a field of its own, because
that is where XXE lives. A document that is not well-formed is read as text as well, from the place of the error on.
"""

from __future__ import annotations

import re
from xml.parsers import expat

from vedette.parsing import decoders
from vedette.parsing.field import FieldCollector
from vedette.parsing.values import read_value

_DOCTYPE = re.compile(r"<!DOCTYPE\b", re.IGNORECASE)


class _Stop(Exception):
    """Raised inside a handler to end the parse at a bound."""


class _Reader:
    def __init__(self, out: FieldCollector, decoded_by: tuple[str, ...]) -> None:
        self.out = out
        self.decoded_by = decoded_by
        self.path: list[str] = []
        self.text: list[str] = []

    def flush(self) -> None:
        if self.text:
            text = "".join(self.text).strip()
            self.text.clear()
            if text:
                read_value(self.out, "xml", self.name(), text, self.decoded_by)
                if self.out.full:
                    self.out.refuse("xml", "", "max_fields")
                    raise _Stop

    def name(self) -> str:
        return ".".join(part[:64] for part in self.path[-4:])

    def start(self, tag: str, attributes: list[str]) -> None:
        self.flush()
        if len(self.path) >= self.out.limits.max_depth:
            raise _Stop
        self.path.append(tag)
        for index in range(0, len(attributes), 2):
            read_value(self.out, "xml", f"{self.name()}@{attributes[index][:64]}", attributes[index + 1], self.decoded_by)

    def end(self, _tag: str) -> None:
        self.flush()
        self.path.pop()

    def characters(self, data: str) -> None:
        self.text.append(data)

    def comment(self, data: str) -> None:
        read_value(self.out, "xml", "comment", data.strip(), self.decoded_by)

    def instruction(self, target: str, data: str) -> None:
        read_value(self.out, "xml", "instruction", f"{target} {data}", self.decoded_by)

    def other(self, data: str) -> None:
        if data.startswith("&"):
            self.text.append(data)


def read_xml(out: FieldCollector, text: str, decoded_by: tuple[str, ...] = ()) -> None:
    """Add the texts, attributes, comments, instructions and the document type declaration of an XML document."""
    reader = _Reader(out, decoded_by)
    doctype = _DOCTYPE.search(text)
    if doctype:
        out.add("xml", "doctype", _declaration(text[doctype.start() :]), decoded_by)
    parser = expat.ParserCreate("utf-8")
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    parser.ordered_attributes = True
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.characters
    parser.CommentHandler = reader.comment
    parser.ProcessingInstructionHandler = reader.instruction
    parser.DefaultHandler = reader.other
    try:
        parser.Parse(text.encode("utf-8", "replace"), True)
    except (expat.ExpatError, _Stop):
        done = parser.CurrentByteIndex
        rest = text.encode("utf-8", "replace")[max(0, done - 64) if done > 0 else 0 :]
        read_value(out, "xml", "unparsed", decoders.utf8(rest), decoded_by)


def _declaration(text: str) -> str:
    """The document type declaration at the start of `text`: to the end of its internal subset, else to its ``>``."""
    opening, closing = text.find("["), text.find(">")
    if 0 <= opening < closing:
        end = text.find("]", opening)
        return text[: end + 1] if end >= 0 else text
    return text[: closing + 1] if closing >= 0 else text
