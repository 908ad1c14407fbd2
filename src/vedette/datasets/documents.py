"""Harmless heads of documents that a small model takes for attacks: GraphQL documents and document types.

Both came up as false alarms of the first model: storefronts send whole GraphQL fragments as a query argument, and
editors send HTML whose first leaf is a lone ``<!DOCTYPE``.
"""

from __future__ import annotations

import json
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
# What public schemas offer, and what anybody asks of it by hand or by a script: no secret, no alias, no cycle.
_ROOTS = (
    "user me viewer hero book books post posts product products country countries film films character characters "
    "movie movies artist album song repository issue issues page pages article articles category categories menu "
    "collection collections order orders cart event events ticket company job jobs city weather station recipe team "
    "match player course lesson review comments search feed notification offer shop store channel asset site human "
    "allFilms allPeople allPosts currentUser getProduct getPosts listItems launches rockets pokemon continent location"
).split()
_LEAVES = (
    "id name title email slug url description body text price currency code native capital emoji phone status date "
    "createdAt updatedAt publishedAt login bio avatarUrl image width height alt sku quantity total rating count stars "
    "year genre director language population temperature summary excerpt isActive firstName lastName username handle "
    "__typename totalCount position score duration color weight link icon label"
).split()
_BRANCHES = (
    "author friends nodes edges node items posts comments languages category tags variants images address owner "
    "company children products lineItems reviews episodes homeworld pageInfo team members location rates"
).split()
_VERBS = (
    "add create update like follow submit rate mark save rename move archive publish subscribe join vote star".split()
)
_THINGS = "Todo Post Comment Review Task Item Note Event Ticket Product Message Issue Draft List Label Vote".split()
# What accounts and carts are asked for, and what is given: the words are those of attacks, what is asked is not.
_ACCOUNT = (
    ("login signIn authenticate tokenCreate customerAccessTokenCreate createSession logIn loginUser",
     ("email password", "username password", "email password rememberMe", "user pass", "email code")),
    ("signUp signup register createUser createAccount customerCreate registerUser",
     ("email password", "name email password", "username email password", "firstName lastName email password")),
    ("forgotPassword requestPasswordReset customerRecover sendResetEmail resendCode", ("email", "username")),
    ("resetPassword confirmAccount changePassword setPassword customerReset",
     ("token password", "token newPassword", "oldPassword newPassword", "code password")),
    ("verifyEmail refreshToken activateAccount tokenVerify verifyCode acceptInvite", ("token", "refreshToken", "code")),
    ("updateUser updateProfile updateMe inviteUser customerUpdate saveSettings",
     ("name", "id name", "id email", "firstName lastName", "name phone", "username", "email")),
    ("addToCart removeFromCart updateCart cartLinesAdd createOrder addItem checkout",
     ("id quantity", "sku quantity", "cartId quantity", "productId quantity", "sku qty", "cartId", "code")),
    ("logout deletePost cancelOrder unfollow removeItem archiveTask deleteComment closeIssue signOut",
     ("", "id", "id")),
)  # fmt: skip
_GIVEN_TO = {"email": "email", "user": "login", "username": "login", "quantity": "count", "qty": "count", "id": "id",
             "cartId": "id", "productId": "id", "token": "token", "refreshToken": "token", "code": "code",
             "sku": "sku", "rememberMe": "flag"}  # fmt: skip
_ACCOUNT_LEAVES = (
    "token", "accessToken", "refreshToken", "expiresIn", "success", "ok", "message", "status", "user { id }",
    "user { id email }", "user { id name email }", "errors { field message }", "customerUserErrors { code message }",
    "account { id createdAt }", "cart { id totalQuantity }", "order { id total }", "viewer { id username }",
)  # fmt: skip
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
    """Return a GraphQL fragment, an operation, or both, as a client library would send it, at times in its JSON."""
    text = _operation(rng)
    return _in_json(text, rng) if rng.random() < 0.15 else text


def _in_json(text: str, rng: random.Random) -> str:
    """The body of a POST: the operation with its variables and its name, alone or in a batch."""
    body: dict[str, object] = {"query": text}
    if rng.random() < 0.7:
        values = (str(rng.randint(1, 999)), rng.randint(1, 99), rng.choice(_WORDS), True, {rng.choice(_WORDS): 1})
        names = rng.sample(("id", "first", "input", "i", "slug", "after", "where", "q", "locale"), rng.randint(0, 3))
        body["variables"] = {name: rng.choice(values) for name in names}
    if rng.random() < 0.4:
        body["operationName"] = rng.choice((None, rng.choice(_ROOTS).title() + "Query"))
    if rng.random() < 0.3:
        body = dict(reversed(body.items()))
    separators = rng.choice((None, (",", ":")))
    if rng.random() < 0.1:  # as clients send them together, each of them another
        others = [{"query": _operation(rng), "variables": {}} for _ in range(rng.choice((0, 1, 1, 2, 3, 4)))]
        return json.dumps([body, *others], separators=separators)
    return json.dumps(body, separators=separators)


def _operation(rng: random.Random) -> str:
    name = rng.choice(_WORDS).title() + rng.choice(_WORDS).title()
    fragment = f"fragment {name} on {name}{rng.choice(('', '_v2', 'Type'))}{{{_selection(rng, 3)}}}"
    draw = rng.random()
    if draw < 0.06:
        return _deep(rng)
    if draw < 0.11:
        return _side_by_side(rng)
    if draw < 0.5:
        return _plain(rng)
    if draw < 0.6:
        return fragment
    if draw < 0.8:
        return _with_arguments(rng)
    operation = rng.choice(_DOCUMENTS).format(name=name, word=rng.choice(_WORDS), fields=_selection(rng, 3))
    return rng.choice((operation, f"{operation} {fragment}"))


def _plain(rng: random.Random) -> str:
    """An operation without variables, as people type it and as static pages and scripts send it."""
    space = rng.choice((" ", " ", "", "\n  "))
    kind = rng.choice(("", "", "query", "query", "query", "mutation", "mutation", "subscription"))
    if kind == "mutation" and rng.random() < 0.6:
        root, tree = _account(rng), f"{{{space}{' '.join(rng.sample(_ACCOUNT_LEAVES, rng.randint(1, 3)))}{space}}}"
    elif kind == "mutation":
        thing = rng.choice(_THINGS)
        close = ")" if rng.random() < 0.5 else "})"
        opening = "(" if close == ")" else f"({rng.choice(('input', 'data', thing.lower()))}: {{"
        given = ", ".join(_argument(rng) for _ in range(rng.randint(1, 3)))
        root, tree = f"{rng.choice(_VERBS)}{thing}{opening}{given}{close}", ""
    else:
        arguments = ", ".join(_argument(rng) for _ in range(rng.choice((1, 1, 1, 2, 2, 3))))
        if rng.random() < 0.3:  # what most ask for: one by its number or its name
            colon, number = rng.choice((": ", ":")), rng.randint(1, 9999)
            arguments = "id" + colon + rng.choice((str(number % 99), str(number), f'"{number}"', "$id"))
        root, tree = rng.choice(_ROOTS) + (f"({arguments})" if rng.random() < 0.6 else ""), ""
    tree = tree or _tree(rng, rng.choice((0, 0, 1, 1, 2)), space)
    roots = [f"{root}{rng.choice((' ', space))}{tree}"]
    if rng.random() < 0.06:  # two of a kind side by side
        pair = rng.choice((("a", "b"), ("left", "right"), ("first", "second"), ("old", "new"), ("one", "two")))
        thing = rng.choice(_ROOTS)
        roots = [f"{name}: {thing}(id: {rng.randint(1, 99)}) {tree}" for name in pair]
    elif rng.random() < 0.15:
        roots.append(f"{rng.choice(_ROOTS)} {_tree(rng, 1, space)}")
    title = f" {rng.choice(('Get', 'List', 'Find', 'Load', ''))}{rng.choice(_ROOTS).title()}" if kind else ""
    head = kind + rng.choice(("", title)) + (" " if kind and space else "")
    return f"{head}{{{space}{(space or ' ').join(roots)}{space}}}"


def _deep(rng: random.Random) -> str:
    """One thing within another as pages need them, each another, five levels down, or two connections."""
    space = rng.choice((" ", " ", "", "\n  "))
    names = rng.sample(_BRANCHES, rng.randint(3, 4))
    names = [name for name in names if name not in ("edges", "nodes", "edge", "node", "pageInfo")]
    if rng.random() < 0.3:
        wrapped = rng.choice((("edges", "node"), ("nodes",)))
        names = [part for name in names[: 3 - len(wrapped)] for part in (name, *wrapped)]
    inner = " ".join(rng.sample(_LEAVES, rng.randint(1, 3)))
    for name in reversed([rng.choice(_ROOTS), *names]):
        given = f"({_argument(rng)})" if name not in ("edges", "node", "nodes") and rng.random() < 0.3 else ""
        beside = "".join(leaf + (space or " ") for leaf in rng.sample(_LEAVES, rng.choice((0, 0, 1, 2))))
        inner = f"{beside}{name}{given}{rng.choice((' ', space))}{{{space}{inner}{space}}}"
    return f"{rng.choice(('', 'query ', f'query {rng.choice(_ROOTS).title()}Page '))}{{{space}{inner}{space}}}"


def _side_by_side(rng: random.Random) -> str:
    """A few of one kind under names of their own, as a comparison or a front page asks for them."""
    space, root = rng.choice((" ", " ", "", "\n  ")), rng.choice(_ROOTS)
    names = rng.choice(
        (
            [f"{rng.choice(_WORDS)}{number}" for number in range(1, 6)],
            [f"{root}{number}" for number in range(1, 6)],
            rng.sample(_WORDS, 5),
            ["en", "de", "fr", "es", "it"],
            ["today", "week", "month", "year", "total"],
            list("abcde"),
        )
    )
    tree = _tree(rng, rng.choice((0, 0, 1)), space)
    parts = [f"{name}: {root}({_argument(rng)}) {tree}" for name in names[: rng.randint(2, 5)]]
    return f"{rng.choice(('', 'query ', 'query Compare '))}{{{space}{(space or ' ').join(parts)}{space}}}"


def _argument(rng: random.Random) -> str:
    word, number, colon = rng.choice(_WORDS), rng.randint(1, 60), rng.choice((": ", ": ", ":"))
    name, value = rng.choice(
        (("id", str(number)), ("id", f'"{number}"'), ("slug", f'"{word}-{number}"'), ("name", f'"{word}"'),
         ("code", f'"{word[:2].upper()}"'), ("first", str(number)), ("limit", str(number)), ("page", str(number)),
         ("title", f'"{word} {rng.choice(_WORDS)}"'), ("text", f'"{word} {rng.choice(_WORDS)}"'), ("first", "10"),
         ("search", f'"{word}"'), ("q", f'"{word}"'), ("query", f'"{word}"'),
         ("lang", rng.choice(("EN", "DE", "FR", '"en"'))), ("orderBy", f"{word}_ASC"),
         ("filter", f'{{{word}: {{eq: "{rng.choice(_WORDS)}"}}}}'), ("where", f'{{{word}: "{rng.choice(_WORDS)}"}}'),
         ("after", f'"{rng.randbytes(9).hex()}"'), ("episode", "EMPIRE"), ("done", "true"), ("sort", "PRICE_DESC"),
         ("stars", str(rng.randint(1, 5))), ("isActive", rng.choice(("true", "false"))))
    )  # fmt: skip
    return name + colon + value


def _account(rng: random.Random) -> str:
    """A call that logs in, signs up, or changes an account or a cart, with its arguments."""
    verbs, givens = rng.choice(_ACCOUNT)
    names, colon = rng.choice(givens).split(), rng.choice((": ", ": ", ":"))
    if not names:
        return rng.choice(verbs.split())
    are_variables = rng.random() < 0.2
    given = rng.choice((", ", ", ", ",", " ")).join(
        f"{name}{colon}{f'${name}' if are_variables else _given(name, rng)}" for name in names
    )
    opening, close = rng.choice((("(", ")"),) * 3 + (("(input: {", "})"), ("(input:{", "})"), ("(data: {", "})")))
    return f"{rng.choice(verbs.split())}{opening}{given}{close}"


def _given(argument: str, rng: random.Random) -> str:
    word, other, number = rng.choice(_WORDS), rng.choice(_WORDS), rng.randint(1, 9999)
    text = rng.choice(
        (f"{word.title()}{number}!", f"{word}-{other}", f"{word}{number}", other, f"{number}{word.upper()}")
    )
    match _GIVEN_TO.get(argument):
        case "email":
            name = rng.choice((word, f"{word}.{other}", f"{word}{number}"))
            return f'"{name}@{other}.{rng.choice(("com", "org", "io"))}"'
        case "login":
            return f'"{rng.choice((f"{word}{other}", f"{word}{number}", f"{word}_{other}"))}"'
        case "count":
            return str(rng.randint(1, 9))
        case "id":
            return rng.choice(
                (str(number), f'"{number}"', f'"{rng.randbytes(6).hex()}"', f'"gid://shop/{word.title()}/{number}"')
            )
        case "token":
            return f'"{rng.choice((rng.randbytes(8).hex(), rng.randbytes(12).hex(), f"{word}{number}"))}"'
        case "code":
            return f'"{rng.randint(1000, 999999)}"'
        case "sku":
            return f'"{word[:2].upper()}-{number}"'
        case "flag":
            return "true"
    return f'"{text}"'


def _tree(rng: random.Random, depth: int, space: str) -> str:
    parts = rng.sample(_LEAVES, rng.choice((1, 1, 2, 2, 3, 4, 5)))
    if rng.random() < 0.2:  # what everybody asks for
        parts = rng.choice(
            (["name"], ["id"], ["id", "name"], ["title"], ["__typename"], ["name", "appearsIn"], ["text"])
        )
    if rng.random() < 0.1:
        parts.append(f"{rng.choice(_LEAVES)}({_argument(rng)})")
    if rng.random() < 0.08:
        parts.append(f"... on {rng.choice(_THINGS)} {_tree(rng, 0, space)}")
    if depth and rng.random() < 0.2:  # a connection, as relays ask for it
        given = rng.choice(("", f"({rng.choice(('first', 'last'))}: {rng.randint(1, 100)})", f"({_argument(rng)})"))
        inner = f"{{{space}node {_tree(rng, depth - 1, space)}{space}}}"
        parts.append(f"{rng.choice(_BRANCHES)}{given} {{{space}edges {inner}{space}}}")
    elif depth:
        branch = rng.choice(_BRANCHES) + (f"({_argument(rng)})" if rng.random() < 0.15 else "")
        parts.append(f"{branch}{rng.choice((' ', space))}{_tree(rng, depth - 1, space)}")
    if rng.random() < 0.08:
        parts.append(rng.choice(("pageInfo { hasNextPage endCursor }", "edges { node { id } }", "totalCount",
                                 "nodes { id name }", "stargazers { totalCount }", "edges { cursor }")))  # fmt: skip
    return f"{{{space}{(space or ' ').join(parts)}{space}}}"


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
    fields = list(dict.fromkeys(fields))  # nobody asks twice
    return rng.choice((" ", "\n  ", ",")).join(fields)


def document_type(rng: random.Random) -> str:
    """Return a document type declaration without entities, alone or with the head that follows it."""
    return rng.choice(_DOCTYPES) + rng.choice(_TAILS).format(word=rng.choice(_WORDS))
