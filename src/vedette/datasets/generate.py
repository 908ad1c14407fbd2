"""The way in to the generators: attacks by class, hard negatives, and whole records in the dataset format."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from vedette.datasets import benign, documents, encoders, harmless, mutators
from vedette.datasets.grammar import Split
from vedette.datasets.grammars import (
    cmdi,
    codei,
    crlf,
    deser,
    graphql,
    ldapi,
    log4shell,
    nosqli,
    protopollution,
    redirect,
    shellshock,
    sqli,
    ssi,
    ssrf,
    ssti,
    traversal,
    upload,
    xpath,
    xss,
    xxe,
)  # fmt: skip


class Generator(Protocol):
    """Draws one payload, as it stands decoded in one field."""

    def __call__(self, rng: random.Random, split: Split = "all") -> str: ...


_ATTACKS: dict[str, Generator] = {
    "sqli": sqli.generate, "xss": xss.generate, "traversal": traversal.generate, "cmdi": cmdi.generate,
    "codei": codei.generate, "ssti": ssti.generate, "nosqli": nosqli.generate, "ldapi": ldapi.generate,
    "xpath": xpath.generate, "xxe": xxe.generate, "log4shell": log4shell.generate, "shellshock": shellshock.generate,
    "crlf": crlf.generate, "ssi": ssi.generate, "deser": deser.generate, "protopollution": protopollution.generate,
    "graphql": graphql.generate, "upload": upload.generate, "ssrf": ssrf.generate, "redirect": redirect.generate,
}  # fmt: skip
_HARMLESS_SHARE = 0.4
_DOCUMENT_SHARE = 0.15


def generate_benign(rng: random.Random) -> str:
    """Return one hard negative, from one of the sets of templates."""
    draw = rng.random()
    if draw < _DOCUMENT_SHARE:
        return documents.document_type(rng) if rng.random() < 0.15 else documents.graphql_document(rng)
    return harmless.generate(rng) if draw < _HARMLESS_SHARE else benign.generate(rng)


GENERATORS: dict[str, Callable[[random.Random], str]] = {**_ATTACKS, "benign": generate_benign}
"""Every generator by its class; "benign" draws hard negatives."""


def generate_attack(
    attack_class: str, rng: random.Random, *, split: Split = "all", mutate: bool = False, encode_layers: int = 0
) -> str:
    """Return one payload of `attack_class`.

    With `mutate` it is changed in a way that keeps its meaning; `encode_layers` puts that many random encodings
    around it, which the pipeline is to undo.
    """
    payload = _ATTACKS[attack_class](rng, split=split)
    if mutate:
        payload = mutators.mutate(payload, attack_class, rng)
    return encoders.encode(payload, rng, layers=encode_layers)[0] if encode_layers else payload


def generate_records(
    n: int,
    seed: int,
    *,
    attack_share: float = 0.5,
    classes: tuple[str, ...] = tuple(_ATTACKS),
    split: Split = "all",
    mutate_share: float = 0.3,
) -> Iterator[dict[str, Any]]:
    """Yield `n` whole requests in the dataset format, attacks of `classes` in turn and hard negatives."""
    rng = random.Random(seed)
    for index in range(n):
        hostile = rng.random() < attack_share
        attack_class = rng.choice(classes) if hostile else "benign"
        if hostile:
            value = generate_attack(attack_class, rng, split=split, mutate=rng.random() < mutate_share)
        else:
            value = generate_benign(rng)
        location = encoders.usual_location(attack_class, rng)
        record = encoders.place(value, rng, location=location)
        yield {"id": f"generated-{seed}-{index}", "label": "attack" if hostile else "benign", "class": attack_class,
               "kind": "request", "source": "generated", **record}  # fmt: skip
