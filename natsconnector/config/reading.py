"""Reading the configuration: what flags and environment give, checked as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from natsconnector.config import checks, traces, values
from natsconnector.config.flags import PREFIX, Flag
from natsconnector.config.settings import FLAGS, Settings

# Names that are written in the other connectors' documents, but that their code does not know.
_LOOKALIKES = {
    "async_invocation": "asynchronous_invocation is the name",
    "print_sync": "print_response is the name",
    "NATS_URI": "NATS_HOST is the name",
    "NATS_CONTEXT": "contexts of the nats tool are not read, name the server and the credentials themselves",
}
_NEEDS = {
    "stream": "--stream",
    "core": "messages of core NATS: with --stream it does nothing",
    "topics": "topics: --topics or --topics-from-annotations",
    "payloads": "topics or --function-subject",
    "results": "--callback-listen",
    "replies": "--stream or --callback-listen",
    "functions": "a list of functions: topics, or --gateway-credentials",
}


class ConfigurationError(Exception):
    """Everything that is wrong with a configuration, a sentence each, with names as the user wrote them."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@dataclass(frozen=True)
class _Given:
    """A value and the name under which the user gave it."""

    name: str
    text: str


def read(flags: Mapping[str, str | None], environment: Mapping[str, str], *, is_whole: bool = True) -> Settings:
    """
    The settings that flags and environment give: flag, else ``NATSCONNECTOR_*``, else alias, else default.

    :param flags: what stands on the command line, by the flag's name; None where nothing does.
    :param is_whole: whether these are all of the connector's settings; otherwise none is refused for want of another.
    :raises ConfigurationError: with all that is wrong.
    """
    return _Reading(flags, environment, is_whole).settings()


class _Reading:
    """Reads every value that the user gave, then the defaults, which depend on those, then looks at all together."""

    def __init__(self, flags: Mapping[str, str | None], environment: Mapping[str, str], is_whole: bool) -> None:
        self._flags = flags
        self._is_whole = is_whole
        self._aliased: set[str] = set()
        self._environment = environment
        self._faults: dict[str, list[str]] = {}
        self._given: list[str] = []
        self._warnings: list[str] = []
        self._found: dict[str, Any] = {}
        self._names: dict[str, str] = {}

    def settings(self) -> Settings:
        unset = [flag for flag in FLAGS if not self._read_given(flag)]
        stream = bool(self._found.get("stream"))
        topics = any(self._found.get(name) for name in ("topics", "topics_from_annotations", "function_subjects"))
        for flag in unset:
            self._parse(flag, _Given(f"--{flag.name}", flag.default_with(stream=stream, topics=topics)))
        self._drop_weaker_logins()
        faults = [fault for flag in FLAGS for fault in self._faults.get(flag.name, ())]
        faults += checks.faults(self._found, self._names)
        if self._is_whole:
            faults += self._idle()
            self._warn_of_risks()
        try:
            self._warn_of_names()
        except ValueError as e:
            faults.append(str(e))
        if faults:
            raise ConfigurationError(faults)
        for flag in FLAGS:
            if flag.is_switch:
                self._found[flag.attribute] = bool(self._found[flag.attribute])
        sends_traces, why_not = traces.wants_traces(self._environment) if self._is_whole else (False, None)
        self._warnings += [why_not] if why_not is not None else []
        return Settings(
            **self._found, given=tuple(self._given), warnings=tuple(self._warnings), sends_traces=sends_traces
        )

    def _read_given(self, flag: Flag) -> bool:
        """Read what the user gave for a flag; False if that is nothing."""
        try:
            given = self._value_of(flag)
        except ValueError as e:
            self._faults[flag.name] = [str(e)]
            return True
        if given is None:
            return False
        self._given.append(given.name if flag.secret else f"{given.name}={given.text}")
        self._parse(flag, given)
        return True

    def _parse(self, flag: Flag, given: _Given) -> None:
        self._names[flag.attribute] = given.name
        if flag.can_be_off and given.text.lower() == "none":
            self._found[flag.attribute] = None
            return
        try:
            self._found[flag.attribute] = flag.parse(given.text)
        except ValueError as e:
            value = "" if flag.secret else f" {given.text!r}"
            self._faults[flag.name] = [f"{given.name}:{value} {e}"]

    def _value_of(self, flag: Flag) -> _Given | None:
        candidates = [
            _Given(f"--{flag.name}", self._flags.get(flag.name) or ""),
            _Given(flag.environment_name, self._environment.get(flag.environment_name, "")),
        ]
        for candidate in candidates:
            if candidate.text.strip():
                return _Given(candidate.name, candidate.text.strip())
        aliases = []
        for alias in flag.aliases:
            text = self._environment.get(alias.name, "").strip()
            if text and (alias.only_if is None or self._is_on(alias.only_if)):
                try:
                    meant = alias.means(text)
                except ValueError as e:
                    raise ValueError(f"{alias.name}: {text!r} {e}") from None
                if meant is not None:
                    aliases.append(_Given(alias.name, meant))
        self._warnings += [
            f"{aliases[0].name} and {other.name} disagree: {aliases[0].name} counts"
            for other in aliases[1:]
            if other.text != aliases[0].text
        ]
        if not aliases:
            return None
        self._aliased.add(flag.attribute)
        return aliases[0]

    def _is_on(self, name: str) -> bool:
        text = self._environment.get(name, "").strip()
        try:
            return bool(text) and values.switch(text)
        except ValueError as e:
            raise ValueError(f"{name}: {text!r} {e}") from None

    def _drop_weaker_logins(self) -> None:
        """A login that other programs' names ask for does not count beside one that our own names ask for."""
        given = [way for way in checks.WAYS_TO_LOG_IN if self._found.get(way) is not None]
        if any(way not in self._aliased for way in given):
            for way in (*given, "nats_password"):
                if way in self._aliased:
                    self._found[way] = None

    def _idle(self) -> list[str]:
        """What is wrong with settings that do nothing beside the others."""
        found, faulty = self._found, self._faults.keys()  # a faulty value is one that was given
        topics = bool(found.get("topics") or found.get("topics_from_annotations") or "topics" in faulty)
        there = {
            "stream": found.get("stream") is not None or "stream" in faulty,
            "core": found.get("stream") is None,
            "topics": topics,
            "payloads": topics or bool(found.get("function_subjects")) or "function-subject" in faulty,
            "results": found.get("callback_listen") is not None or "callback-listen" in faulty,
            "replies": any(found.get(each) for each in ("stream", "callback_listen"))
            or bool({"stream", "callback-listen"} & faulty),
            "functions": topics or found.get("gateway_credentials") is not None or "gateway-credentials" in faulty,
        }
        return [
            f"{self._names[flag.attribute]} needs {_NEEDS[flag.needs]}"
            for flag in FLAGS
            if flag.needs is not None and not there[flag.needs] and self._is_our_own(flag)
        ]

    def _is_our_own(self, flag: Flag) -> bool:
        """Whether the user gave a setting by our own name: those of other connectors are often set for all cases."""
        name = self._names.get(flag.attribute)
        is_given = self._flags.get(flag.name) or self._environment.get(flag.environment_name)
        return bool(is_given) and name is not None and flag.attribute not in self._aliased

    def _warn_of_risks(self) -> None:
        found = self._found
        is_given = any(given.partition("=")[0].endswith(("dead-letter", "DEAD_LETTER")) for given in self._given)
        if found.get("stream") is not None and found.get("dead_letter") is None and not is_given:
            self._warnings.append(
                "--stream without --dead-letter: a message that can never succeed is removed from the stream, and only"
                " a log line is left of it; --dead-letter none says that this is meant"
            )

    def _warn_of_names(self) -> None:
        """Warn of variables that look as if they were meant for the connector, but mean nothing to it."""
        known = {flag.environment_name for flag in FLAGS}
        unknown = [name for name in sorted(self._environment) if name.startswith(PREFIX) and name not in known]
        self._warnings += [f"{name} is set, and has no effect" for name in unknown]
        self._warnings += [
            f"{name} is set, and has no effect: {instead}"
            for name, instead in _LOOKALIKES.items()
            if self._environment.get(name)
        ]
        folder = self._environment.get("secret_mount_path") or self._found.get("gateway_credentials")
        if self._is_on("basic_auth") and not folder:
            self._warnings.append("basic_auth is on, but secret_mount_path does not say where the credentials are")
