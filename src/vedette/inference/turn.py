"""One thread at a time runs Python beside the event loop.

Python runs one thread at a time anyway, and the lock goes to whichever waits for it. With two busy threads the event
loop, woken, loses that race every other time: on two cores a timer is up to 9 ms late once in a hundred times, with one
busy thread up to 2. So the threads that read requests take turns: who waits for its turn does not ask for the
interpreter's lock. No turn is held while compiled code runs without that lock, and a long piece of work passes the turn
on now and then, in the order in which it was asked for.
"""

from __future__ import annotations

import threading
from collections import deque

PATIENCE_S = 0.1  # after so long a turn is taken from whoever has it: it may hang


class Turn:
    """A courtesy of threads, handed over in order; `with turn:` waits at most `PATIENCE_S` for it. Not reentrant."""

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._waiting: deque[tuple[int, threading.Lock]] = deque()
        self._holder: int | None = None

    def __enter__(self) -> None:
        me, gate = threading.get_ident(), threading.Lock()
        with self._changing:
            if self._holder is None:
                self._holder = me
                return
            gate.acquire()
            self._waiting.append((me, gate))
        if gate.acquire(timeout=PATIENCE_S):
            return
        with self._changing:
            if self._holder != me:  # else it has come just now
                self._waiting.remove((me, gate))
                self._holder = me

    def __exit__(self, *_: object) -> None:
        with self._changing:
            if self._holder != threading.get_ident():  # it took too long, and another has it
                return
            self._holder = None
            if self._waiting:
                self._holder, gate = self._waiting.popleft()
                gate.release()

    @property
    def held(self) -> bool:
        """Whether this thread has the turn."""
        return self._holder == threading.get_ident()

    def pass_on(self) -> None:
        """Let those who wait go first, if this thread has the turn."""
        if self._waiting and self.held:
            self.__exit__()
            self.__enter__()

    def aside(self) -> _Aside:
        """Return a context in which a thread that has the turn lets others have it, for calls that run no Python."""
        return _Aside(self)


class _Aside:
    __slots__ = ("_held", "_turn")

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._held = False

    def __enter__(self) -> None:
        self._held = self._turn.held
        if self._held:
            self._turn.__exit__()

    def __exit__(self, *_: object) -> None:
        if self._held:
            self._turn.__enter__()


TURN = Turn()
"""That of this process, as there is one interpreter lock."""
