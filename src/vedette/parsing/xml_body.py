"""XML bodies by expat (stdlib), with everything that can expand or fetch switched off.

Entities are declared by attackers and expanded by nobody here: with a default handler set, expat hands internal
references over as text, and external ones are never opened. The document type declaration is a field of its own,
because that is where XXE lives. A document that is not well-formed is read as text too, from the place of the error on.
"""

from __future__ import annotations

from xml.parsers import expat

from vedette.parsing import decoders
from vedette.parsing.field import FieldCollector
from vedette.parsing.values import read_value

_MAX_ENTITY = 16  # characters of an entity's text: with "&a;" for each, a document grows fivefold at most


class _Stop(Exception):
    """Raised inside a handler to end the parse at a bound."""


class _Reader:
    def __init__(self, out: FieldCollector, decoded_by: tuple[str, ...]) -> None:
        self.out = out
        self.decoded_by = decoded_by
        self.path: list[str] = []
        self.text: list[str] = []
        self.doctype_read = False

    def entity(
        self, _name: str, is_parameter: bool, value: str | None, _base: str | None, *_external: str | None
    ) -> None:
        """End the parse at an entity that could grow: expat expands the ones in attributes whatever its handlers."""
        if value and not is_parameter and (len(value) > _MAX_ENTITY or "&" in value):
            raise _Stop

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
            read_value(
                self.out, "xml", f"{self.name()}@{attributes[index][:64]}", attributes[index + 1], self.decoded_by
            )

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
    data = text.encode("utf-8", "replace")
    parser = expat.ParserCreate("utf-8")

    def end_of_doctype() -> None:
        reader.doctype_read = True
        out.add("xml", "doctype", _doctype(data, parser.CurrentByteIndex + 1), decoded_by)

    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    parser.ordered_attributes = True
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.characters
    parser.CommentHandler = reader.comment
    parser.ProcessingInstructionHandler = reader.instruction
    parser.DefaultHandler = reader.other
    parser.EntityDeclHandler = reader.entity
    parser.EndDoctypeDeclHandler = end_of_doctype
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, _Stop):
        done = max(0, parser.CurrentByteIndex)
        if not reader.doctype_read and b"<!doctype" in data.lower():
            out.add("xml", "doctype", _doctype(data, done), decoded_by)
        read_value(out, "xml", "unparsed", decoders.utf8(data[max(0, done - 64) :]), decoded_by)


def _doctype(data: bytes, end: int) -> str:
    """The document type declaration: from its start, or a decoy's before it, to `end` or where it seems to end."""
    start = data.lower().find(b"<!doctype")
    opening, closing = data.find(b"[", start), data.find(b">", start)
    inside = 0 <= opening < closing
    seeming = data.find(b"]" if inside else b">", start)
    text = data[start : max(end, seeming + 1 if seeming >= 0 else len(data))]
    return decoders.utf8(text.rstrip(b"> \t\r\n") if inside else text)
