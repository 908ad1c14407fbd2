"""The screen and the text view as everybody calls them: by the library in C where there is one, else by their twins.

The twins, `screen` and `text_view`, say what is right; the library (native/screen.h) says the same some six times
faster and leaves to them what it cannot tell.
"""

from __future__ import annotations

from vedette.native.loader import native_module
from vedette.native.rules import Rules
from vedette.tokenization import screen, screen_signs, screen_words, text_view

_NAMES = {
    screen: "_WORD _SIGNS _NEUTRAL _COMPANY _PATH_COMPANY _DOTS _COLON _WIDE _LOADED_DOTS _SERIALISED _PLAIN_URL _PATH "
    "_SECOND_HOST _COMMAND _INCLUDED _PAIR _ACTION _NAME _DANGEROUS_NAME _DANGEROUS_PART _BREAKS_OUT _ATTRIBUTE "
    "_JSON_HEAD _QUOTED _NEVER_CALM _OF_CLIENT _WORD_BY_WORD _OF_COOKIE",
    screen_signs: "_CALM _DECLARATIONS _HOST_OF_URL INSIDE_HOST",
    screen_words: "_ADDRESS _WEAK_0 _WEAK_1",
    text_view: "_RUN _ANNOUNCES",
}
RULES = Rules(
    {name.strip("_").lower(): getattr(module, name) for module, names in _NAMES.items() for name in names.split()},
    {
        "STRONG": screen_words._STRONG,
        "COMMON": screen_words._COMMON,
        "WEAK": screen_words._WEAK,
        "PLACE": screen_words.PLACES,
        "PLACE_OF_URL": screen._PLACES_OF_URLS,
        "FILE_OF_PATH": screen._FILES_OF_PATHS,
    },
    {"LOADED_STARTS": screen._LOADED_STARTS, "DUNDERS": screen._DUNDERS},
)
_native = native_module(RULES)
_PLACES = {"path": 1, "header": 2}  # as in native/screen.h


def is_inert(text: str, location: str = "", *, whole: bool = True) -> bool:
    """As `screen.is_inert`."""
    inert = None if _native is None else _native.is_inert(text, _PLACES.get(location, 0), whole)
    return screen.is_inert(text, location, whole=whole) if inert is None else inert


def is_inert_name(text: str, location: str = "") -> bool:
    """As `screen.is_inert_name`."""
    inert = None if _native is None else _native.is_inert_name(text, location == "cookie")
    return screen.is_inert_name(text, location) if inert is None else inert


def is_loaded(text: str) -> bool:
    """As `screen.is_loaded`."""
    loaded = None if _native is None else _native.is_loaded(text)
    return screen.is_loaded(text) if loaded is None else loaded


def hot_spots(text: str, join: int = 0) -> list[tuple[int, int]]:
    """As `screen.hot_spots`."""
    spots = None if _native is None else _native.hot_spots(text, join)
    return screen.hot_spots(text, join) if spots is None else spots


def view(text: str) -> str:
    """As `text_view.view`."""
    seen = None if _native is None else _native.view(text)
    return text_view.view(text) if seen is None else seen
