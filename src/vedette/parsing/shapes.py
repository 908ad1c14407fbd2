"""What names and values look like that need no reading, or more of it: the shapes that forms and values are told by."""

from __future__ import annotations

import re

PLAIN_NAME = re.compile(r"[A-Za-z0-9.\-\[\]]*(?:_[A-Za-z0-9.\-\[\]]+)*\Z")
DANGEROUS_NAME = re.compile(r"proto|construct|classloader", re.IGNORECASE)
# Of 8 to 11 characters without what the screen knows serialised objects and dangerous words by.
PLAIN_WORD = re.compile(
    r"(?:[A-Za-z0-9_\-]{1,7}|-?[0-9]{1,18}(?:\.[0-9]{1,18})?"
    r"|(?!(?i:ro0|wey|aced|0408|800|h4si|ga|aaea|bah)"
    r"|[A-Za-z0-9_\-]*(?i:__|proto|construct|passwd|localhost|classloader|crossdomain|confuse))[A-Za-z0-9_\-]{8,11})\Z"
)
# What may be base64 where plain words are the rule: capitals and small letters.
PACKED = re.compile(r"(?=[^A-Z]*[A-Z])(?=[^a-z]*[a-z])(?=.{12})[A-Za-z0-9+/_\-]{10,}={0,2}\Z")
NAME_OF_FORM = re.compile(r"[A-Za-z0-9_.\-\[\]]+\Z")
# A space, a quote or a sign of a language, escaped or not: in a name only where a value was cut.
CUT = re.compile(r"[\s+<>|;`$\"'(){}]|%(?:[01].|2[0247-9]|3[bce]|60|7[bcd])", re.IGNORECASE)
# A value that ends so goes on behind the ampersand: in the middle of a command line, or behind a quote.
OPEN = re.compile(r"(?:[;|`\"'(<>]|%(?:0[ad]|2[278]|3[bce]|60|7c))\Z", re.IGNORECASE)

# Headers that differ from one request of a client to its next; the others come again together.
VARYING = frozenset(
    "cookie referer content-length authorization range if-none-match if-modified-since if-range if-match date "
    "x-request-id x-correlation-id x-amzn-trace-id traceparent tracestate x-b3-traceid x-b3-spanid idempotency-key "
    "x-forwarded-for x-real-ip forwarded true-client-ip cf-connecting-ip cf-ray x-csrf-token x-xsrf-token".split()
)

# What MongoDB's queries do to a member, without their dollar sign.
OPERATORS = frozenset(
    "gt gte lt lte ne eq in nin regex where exists not or and nor mod size all elemMatch expr function accumulator "
    "func text options near within slice jsonSchema".split()
)
