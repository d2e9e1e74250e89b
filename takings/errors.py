"""Every error that Takings raises on purpose; the leaves stand beside what raises them.

TakingsError
├── Invalid       the request itself is wrong: change it, then send it again
├── NotFound      no such thing, or not yours (the two look the same)
├── Conflict      the state forbids it now: look, then decide
├── Refused       a rule or a bank says no: sending it again will not help
├── Unavailable   nothing was lost: send the same again later
└── Corrupt       the books disagree with themselves: stop and look

A leaf is a sentence: its docstring is the message, its keyword arguments are the facts that fill
it, and its name is its stable code (``UnknownCurrency`` → ``unknown_currency``).  What a person can
do about it is the second paragraph of the docstring, ``remedy``.
"""

import inspect
import re
from typing import Any, ClassVar


class TakingsError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "takings_error"
    param: ClassVar[str | None] = None  # the request's field that the error is about

    _sentences: ClassVar[tuple[str, str]] = ("Something went wrong.", "")

    def __init_subclass__(cls) -> None:
        cls.code = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        text, _, remedy = inspect.cleandoc(cls.__doc__ or "").partition("\n\n")
        cls._sentences = " ".join(text.split()), " ".join(remedy.split())

    def __init__(self, **facts: Any) -> None:
        self.facts = facts
        message, remedy = self._sentences
        self.message, self.remedy = message.format(**facts), remedy.format(**facts)
        super().__init__(self.message)


class Invalid(TakingsError):
    """The request is wrong."""


class NotFound(TakingsError):
    """There is no {kind} {id}.

    Look for a slip in the name, or make it first.
    """


class Conflict(TakingsError):
    """The state forbids it now."""


class Refused(TakingsError):
    """A rule says no."""


class Unavailable(TakingsError):
    """Try the same again later."""


class Corrupt(TakingsError):
    """The books disagree with themselves."""
