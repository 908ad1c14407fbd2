"""W3C extended logs (IIS, AWS CloudFront): a ``#Fields:`` line names the columns of the lines after it.

https://www.w3.org/TR/WD-logfile and the CloudFront standard-log reference. CloudFront separates by tabs and writes
header values percent-encoded once more, which is undone; paths and queries stay as logged.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from vedette.errors import MalformedInput
from vedette.parsing.log_entry import LogEntry, LogFields, assemble
from vedette.parsing.wire_text import to_bytes, to_text

_ROLES = {
    "c-ip": "client", "cs-method": "method", "cs-uri-stem": "target", "cs-uri": "target", "cs-uri-query": "query",
    "sc-status": "status", "cs-host": "host", "x-host-header": "host", "date": "date", "time": "clock",
}  # fmt: skip
_HEADER = re.compile(r"cs\(([A-Za-z0-9\-]{1,64})\)\Z")


class W3CFormat:
    """A W3C extended log. Keeps the columns that the last ``#Fields:`` line named."""

    name = "w3c"

    def __init__(self) -> None:
        self._columns: list[tuple[str, str]] = []

    def parse(self, line: str) -> LogEntry | None:
        """Return the entry in `line`, or None for a directive; raises `MalformedInput`."""
        if line.startswith("#"):
            if line.startswith("#Fields:"):
                self._columns = [_column(name) for name in line[8:].split()[:256]]
            return None
        if not self._columns:
            raise MalformedInput("no #Fields line came before", field="layout")
        tabs = "\t" in line
        values = line.split("\t") if tabs else line.split(" ")
        if len(values) < len(self._columns):
            raise MalformedInput("the line does not fit the log format", field="layout")
        fields = LogFields()
        for (role, name), value in zip(self._columns, values, strict=False):
            if role and value != "-":
                if tabs and role == "header":
                    value = to_text(unquote_to_bytes(to_bytes(value)))
                fields.put(role, name, value)
        roles = fields.roles
        if "date" in roles and "clock" in roles:
            roles["time"] = f"{roles['date']}T{roles['clock']}"
        return assemble(fields)


def _column(name: str) -> tuple[str, str]:
    if match := _HEADER.match(name):
        return ("host", "") if match[1].lower() == "host" else ("header", match[1])
    return _ROLES.get(name.lower(), ""), ""
