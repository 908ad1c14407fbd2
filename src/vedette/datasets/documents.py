"""Harmless heads of documents that a small model takes for attacks: GraphQL documents and document types.

Both came up as false alarms of the first model: storefronts send whole GraphQL fragments as a query argument, and
editors send HTML whose first leaf is a lone ``<!DOCTYPE``.
"""

from __future__ import annotations

import random

_WORDS = (
    "id name type title url slug body image link price sku qty color size total date items edges node cursor page "
    "media platform overlay style theme owner tags meta created updated status email phone city country text label "
    "value key product category brand stock rating count first last parent children locale currency discount badge "
    "video file alt width height mobile desktop header footer menu icon font "
    "user users search viewer me node nodes login account customer cart order orders post posts comment comments "
    "message messages repository issues pageInfo totalCount address addresses team project projects task events query "
    "filter session token role roles group groups job file files report query language profile settings config input "
    "result"
).split()
_DOCUMENTS = (
    "query {name}(${word}: String!, $n: Int) {{ {fields} }}",
    "query {name}{{ {fields} }}",
    "{{{fields}}}",
    "mutation {name}(${word}: Input!) {{ {fields} }}",
    "subscription {name}{{{fields}}}",
)
_TYPES = ("ID!", "ID", "String!", "String", "Int!", "Int", "Boolean", "[ID!]!", "[String!]", "Float", "Input!", "Date")
_DOCTYPES = (
    "<!DOCTYPE",
    "<!doctype",
    "<!DOCTYPE html>",
    "<!doctype html>",
    '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN"',
    '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN"',
    '<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01//EN" "http://www.w3.org/TR/html4/strict.dtd">',
    "<!DOCTYPE svg>",
)
_TAILS = (
    "",
    "\n",
    " ",
    '<html lang="en"><head><title>{word}</title>',
    '\n<html>\n<head>\n<meta charset="utf-8">',
    "<html><head><style>@media only screen and (max-width:600px){{.{word}{{width:100%!important}}}}</style></head>",
    '<html xmlns="http://www.w3.org/1999/xhtml"><head><style>body{{margin:0}} .{word} td{{padding:0}}</style>',
)


def graphql_document(rng: random.Random) -> str:
    """Return a GraphQL fragment, an operation, or both, as a client library would send it."""
    name = rng.choice(_WORDS).title() + rng.choice(_WORDS).title()
    fragment = f"fragment {name} on {name}{rng.choice(('', '_v2', 'Type'))}{{{_selection(rng, 3)}}}"
    draw = rng.random()
    if draw < 0.3:
        return fragment
    if draw < 0.65:
        return _with_arguments(rng)
    operation = rng.choice(_DOCUMENTS).format(name=name, word=rng.choice(_WORDS), fields=_selection(rng, 3))
    return rng.choice((operation, f"{operation} {fragment}"))


def _with_arguments(rng: random.Random) -> str:
    """An operation whose root fields take variables or literals, loose or without a space too many."""
    close = rng.random() < 0.5
    names = rng.sample(("q", "n", "s", "first", "after", "input", "where", *_WORDS), rng.randint(1, 3))
    colon, comma = (":", ",") if close else (": ", ", ")
    given = comma.join(f"${name}{colon}{rng.choice(_TYPES)}" for name in names)
    roots = []
    for _ in range(rng.choice((1, 1, 1, 2))):
        arguments = comma.join(f"{name}{colon}{rng.choice((f'${name}', f'${name}', _literal(rng)))}" for name in names)
        fields = " ".join(rng.sample(_WORDS, rng.randint(1, 6)))
        inner = f"{{{fields}}}" if close else f" {{ {fields} }}"
        roots.append(f"{rng.choice(_WORDS)}{rng.choice(('', 's', 'ById', 'List'))}({arguments}){inner}")
    kind = rng.choice(("query", "query", "query", "mutation", "subscription"))
    title = rng.choice(("", f" get{rng.choice(_WORDS).title()}", f" {rng.choice(_WORDS).title()}Page"))
    body = " ".join(roots)
    return f"{kind}{title}({given}){{{body}}}" if close else f"{kind}{title}({given}) {{ {body} }}"


def _literal(rng: random.Random) -> str:
    return rng.choice((str(rng.randint(1, 5000)), f'"{rng.choice(_WORDS)}"', "true", "ASC", f"[{rng.randint(1, 9)}]"))


def _selection(rng: random.Random, depth: int) -> str:
    fields = []
    for _ in range(rng.randint(2, 9)):
        word = rng.choice(_WORDS) + rng.choice(("", "", "", "_" + rng.choice(_WORDS), rng.choice(_WORDS).title()))
        draw = rng.random()
        if draw < 0.3 and depth > 0:
            arguments = rng.choice(("", " ", f"(first: {rng.randint(1, 50)})"))
            fields.append(f"{word}{arguments}{{{_selection(rng, depth - 1)}}}")
        elif draw < 0.4:
            fields.append("..." + rng.choice(_WORDS).title() + rng.choice(_WORDS))
        elif draw < 0.45:
            fields.append(word + rng.choice((":", ": ")) + rng.choice(_WORDS))
        else:
            fields.append(word)
    return rng.choice((" ", "\n  ", ",")).join(fields)


def document_type(rng: random.Random) -> str:
    """Return a document type declaration without entities, alone or with the head that follows it."""
    return rng.choice(_DOCTYPES) + rng.choice(_TAILS).format(word=rng.choice(_WORDS))
