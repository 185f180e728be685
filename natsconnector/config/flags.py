"""What a setting is: one flag, its environment names, its default, and what it means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, overload

from natsconnector.config import values

T = TypeVar("T")

PREFIX = "NATSCONNECTOR_"

# The groups in which help texts and documents show the settings.
NATS = "NATS"
GATEWAY = "Gateway"
ENVELOPES = "Envelopes"
FUNCTION_SUBJECTS = "Subjects that name the function"
TOPICS = "Topics"
JETSTREAM = "JetStream"
REPLIES = "Replies"
RESULTS = "Results over NATS"
CALLS = "Calls and their limits"
RETRIES = "Retries and dead letters"
LOGS = "Logs"
ADMIN = "Health and metrics"
EMBEDDED = "Trying things out"


@dataclass(frozen=True)
class Alias:
    """An environment name that deployments of other connectors use."""

    name: str
    means: Callable[[str], str | None] = lambda text: text
    """The value of ours for its value; None when it says nothing."""
    only_if: str | None = None
    """A variable that has to be on for this one to count."""


@dataclass(frozen=True)
class Flag:
    """One setting: ``--max-inflight`` of the command line, ``NATSCONNECTOR_MAX_INFLIGHT`` of the environment."""

    name: str
    attribute: str
    """The field of :class:`~natsconnector.config.settings.Settings`."""
    parse: Callable[[str], Any]
    metavar: str
    """What stands for the value in help texts; empty for a switch."""
    default: str | None
    """As a user would write it; None when the setting is off unless given."""
    meaning: str
    group: str
    aliases: tuple[Alias, ...] = ()
    stream_default: str | None = None
    """
    The default when messages come from a stream; likewise ``topics_default``, when there are topics or subjects that
    name functions.
    """
    topics_default: str | None = None
    secret: bool = False
    """The value may hold a secret: no message repeats it."""
    needs: str | None = None
    """Without which it does nothing: one of the words that ``config.reading`` explains."""
    in_environment_only: bool = False
    """It is no flag: what stands on the command line is seen in the process list."""

    @property
    def usage(self) -> str:
        """How it is written."""
        if self.in_environment_only:
            return self.environment_name
        return f"--{self.name} {self.metavar}".strip()

    @property
    def is_list(self) -> bool:
        """Whether its value is a list, to which each further one adds."""
        return hasattr(self.parse, "is_list")

    @property
    def is_file(self) -> bool:
        """Whether its value is the path of a file."""
        return hasattr(self.parse, "is_file")

    @property
    def environment_name(self) -> str:
        return PREFIX + self.name.replace("-", "_").upper()

    @property
    def environment_names(self) -> list[str]:
        """All names in the environment that it listens to, in the order in which they count."""
        return [self.environment_name, *(alias.name for alias in self.aliases)]

    @property
    def is_switch(self) -> bool:
        return self.parse is values.switch

    @property
    def can_be_off(self) -> bool:
        """Whether the word ``none`` is a value of it."""
        if self.default is None or self.topics_default is not None:
            return True
        return hasattr(self.parse, "is_list") or hasattr(self.parse, "can_be_off")

    def default_with(self, *, stream: bool, topics: bool) -> str:
        """The value that counts when the user gave none, as a user would write it."""
        if topics and self.topics_default is not None:
            return self.topics_default
        if stream and self.stream_default is not None:
            return self.stream_default
        return self.default or "none"

    @property
    def defaults(self) -> list[tuple[str, str]]:
        """Every default, each with the condition under which it counts; the first has none."""
        found = [("", "off" if self.is_switch else self.default or "none")]
        if self.stream_default is not None:
            found.append(("with --stream ", self.stream_default))
        if self.topics_default is not None:
            found.append(("with topics or --function-subject ", self.topics_default))
        return found

    @property
    def help_text(self) -> str:
        """What it means, with its other names and its defaults, for the ``--help`` of every command."""
        defaults = "; ".join(when + value for when, value in self.defaults)
        names = ", ".join(alias.name for alias in self.aliases)
        return f"{self.meaning}{f' [also {names}]' if names else ''} [default: {defaults}]"


@overload
def setting(
    flag: str, parse: Callable[[str], T], default: str, meaning: str, *aliases: str | Alias, group: str,
    metavar: str, stream_default: str | None = None, topics_default: str | None = None, secret: bool = False,
    needs: str | None = None,
) -> T: ...  # fmt: skip
@overload
def setting(
    flag: str, parse: Callable[[str], T], default: None, meaning: str, *aliases: str | Alias, group: str,
    metavar: str, secret: bool = False, needs: str | None = None, in_environment_only: bool = False,
) -> T | None: ...  # fmt: skip
def setting(
    flag: str,
    parse: Callable[[str], Any],
    default: str | None,
    meaning: str,
    *aliases: str | Alias,
    group: str,
    metavar: str,
    stream_default: str | None = None,
    topics_default: str | None = None,
    secret: bool = False,
    needs: str | None = None,
    in_environment_only: bool = False,
) -> Any:
    """A field of :class:`~natsconnector.config.settings.Settings`; the parameters are the fields of :class:`Flag`."""
    names = tuple(Alias(alias) if isinstance(alias, str) else alias for alias in aliases)

    def flag_of(attribute: str) -> Flag:
        return Flag(
            flag, attribute, parse, metavar, default, meaning, group, names, stream_default, topics_default, secret,
            needs, in_environment_only,
        )  # fmt: skip

    return field(repr=not secret, metadata={"flag_of": flag_of})


def switch(flag: str, meaning: str, *aliases: str | Alias, group: str, needs: str | None = None) -> bool:
    """A field that is off unless the user turns it on."""
    found: Any = setting(flag, values.switch, None, meaning, *aliases, group=group, metavar="", needs=needs)
    return found  # type: ignore[no-any-return]  # a field, which becomes a value when the dataclass is made


def flags_of(settings: type) -> tuple[Flag, ...]:
    """The flags that the fields of a dataclass describe, in their order."""
    return tuple(each.metadata["flag_of"](each.name) for each in fields(settings) if "flag_of" in each.metadata)
