"""What the gateway knows of its functions."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, FirstError, gatherResults
from twisted.logger import Logger
from twisted.web.http_headers import Headers

from natsconnector.gateway.credentials import BasicAuth, CredentialsFault
from natsconnector.gateway.errors import GivenUp, NoResponse, TimedOut
from natsconnector.gateway.http import USER_AGENT, GatewayHttp
from natsconnector.model.function import DeployedFunction
from natsconnector.reactors import Reactor

T = TypeVar("T")

_AT_ONCE = 8
# A name becomes part of a URL's path. Without dots: a dot separates a function from its namespace.
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,251}[A-Za-z0-9])?", re.ASCII)


class GatewayFault(Exception):
    """The gateway did not say what it was asked; ``reason`` tells the request and why, on one line."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes


class SystemClient:
    """
    The ``/system`` side of an OpenFaaS gateway.

    :param url: the gateway's base URL, without a slash at the end.
    :param credentials: what ``/system`` asks for; None when it is open.
    :param timeout_s: for one request; a list takes two of them, one after the other.
    :param ca_file: PEM file of the authorities that are trusted for ``https``; None trusts the system's.
    :param max_response_bytes: of the list of one namespace.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Reactor,
        url: str,
        *,
        credentials: BasicAuth | None,
        timeout_s: float,
        ca_file: str | None = None,
        max_response_bytes: int = 16 * 1024 * 1024,
    ) -> None:
        self._credentials = credentials
        self._timeout_s = timeout_s
        self._http = GatewayHttp(
            reactor,
            url,
            timeout_s=timeout_s,
            max_connections=_AT_ONCE,
            max_response_bytes=max_response_bytes,
            ca_file=ca_file,
        )
        self._ignored: dict[str, str] = {}

    def functions(self) -> Deferred[list[DeployedFunction]]:
        """
        All functions of all namespaces; without namespaces when the gateway knows none.

        An entry that cannot be understood is left out, with a line in the log.

        :raises GatewayFault: (in the Deferred) the gateway did not answer every request well.
        """
        return Deferred.fromCoroutine(self._functions())

    def healthy(self) -> Deferred[None]:
        """
        Fires when the gateway says on ``/healthz`` that it is well, which needs no credentials.

        :raises GatewayFault: (in the Deferred) it does not.
        """
        return Deferred.fromCoroutine(self._healthy())

    def close(self) -> Deferred[None]:
        """Close the idle connections."""
        return self._http.close()

    async def _healthy(self) -> None:
        path = "/healthz"
        answer = await self._exchange(path, None)
        if answer.status != 200:
            raise _unexpected(path, answer)

    async def _functions(self) -> list[DeployedFunction]:
        namespaces = await self._namespaces() or [""]
        limit = DeferredSemaphore(_AT_ONCE)
        lists = await _all([limit.run(self._start_list, namespace) for namespace in namespaces])
        return [function for functions in lists for function in functions]

    async def _namespaces(self) -> list[str]:
        path = "/system/namespaces"
        answer = await self._get(path)
        # Gateways with one namespace answer so, and not all of them with JSON.
        if answer.status == 404 or (answer.status == 200 and not answer.body.strip()):
            return []
        namespaces = _list(path, answer)
        for namespace in namespaces:
            if not _is_name(namespace):
                raise GatewayFault(f"GET {path}: not a namespace: {_shown(namespace)}")
        return list(dict.fromkeys(namespaces))

    def _start_list(self, namespace: str) -> Deferred[list[DeployedFunction]]:
        return Deferred.fromCoroutine(self._list_functions(namespace))

    async def _list_functions(self, namespace: str) -> list[DeployedFunction]:
        path = f"/system/functions?namespace={namespace}" if namespace else "/system/functions"
        functions, faults = [], []
        for entry in _list(path, await self._get(path)):
            try:
                functions.append(_function(entry, namespace))
            except ValueError as e:
                faults.append(f"{e}: {_shown(entry)}")
        self._tell_ignored(path, faults)
        return functions

    def _tell_ignored(self, path: str, faults: list[str]) -> None:
        """Once, not at every refresh."""
        text = faults[0] + (f" (and {len(faults) - 1} more)" if len(faults) > 1 else "") if faults else ""
        if text and text != self._ignored.get(path):
            self._log.warn(
                "GET {path}: an entry is ignored: {reason}", path=path, reason=text, event="function_ignored"
            )
        self._ignored[path] = text

    async def _get(self, path: str) -> _Answer:
        """The answer to a request with credentials; they are read again when the gateway refuses them."""
        authorization = self._authorization(path)
        answer = await self._exchange(path, authorization)
        if answer.status != 401:
            return answer
        if self._credentials is None:
            raise GatewayFault(f"GET {path}: 401: the gateway asks for credentials: set --gateway-credentials")
        self._credentials.forget()
        renewed = self._authorization(path)
        # The same once more would be refused once more.
        if renewed != authorization:
            answer = await self._exchange(path, renewed)
        if answer.status == 401:
            self._credentials.forget()
            raise GatewayFault(f"GET {path}: 401: the gateway refuses the credentials in {self._credentials.directory}")
        return answer

    def _authorization(self, path: str) -> str | None:
        try:
            return None if self._credentials is None else self._credentials.authorization()
        except CredentialsFault as e:
            raise GatewayFault(f"GET {path}: no credentials: {e}") from None

    async def _exchange(self, path: str, authorization: str | None) -> _Answer:
        headers = Headers({"User-Agent": [USER_AGENT], "Accept": ["application/json"], "Accept-Encoding": ["identity"]})
        if authorization is not None:
            headers.addRawHeader("Authorization", authorization)
        try:
            response = await self._http.get(path, headers=headers)
            return _Answer(response.code, await response.content())
        except GivenUp:
            raise CancelledError() from None
        except NoResponse as e:
            if not e.sent:
                raise GatewayFault(f"GET {path}: the gateway is unreachable: {e.reason}") from None
            reason = e.reason if isinstance(e, TimedOut) else f"did not answer: {e.reason}"
            raise GatewayFault(f"GET {path}: the gateway {reason}") from None


async def _all(started: list[Deferred[T]]) -> list[T]:
    """The results of all; when one fails, the others are given up."""
    try:
        return await gatherResults(started, consumeErrors=True)
    except FirstError as e:
        problem = e.subFailure.value
        assert problem is not None
        raise problem from None
    finally:
        for each in started:
            each.cancel()


def _list(path: str, answer: _Answer) -> list[Any]:
    if answer.status != 200:
        raise _unexpected(path, answer)
    try:
        value = json.loads(answer.body)
    except (ValueError, RecursionError):
        raise GatewayFault(f"GET {path}: the answer is not JSON: {_excerpt(answer.body)}") from None
    if value is None:  # Go's empty list
        return []
    if not isinstance(value, list):
        raise GatewayFault(f"GET {path}: the answer is not a list: {_excerpt(answer.body)}")
    return value


def _unexpected(path: str, answer: _Answer) -> GatewayFault:
    return GatewayFault(f"GET {path}: the gateway answered {answer.status}: {_excerpt(answer.body)}")


def _function(entry: Any, namespace: str) -> DeployedFunction:
    """
    :raises ValueError: it is not an entry as OpenFaaS lists them.
    """
    if not isinstance(entry, dict) or not _is_name(entry.get("name")):
        raise ValueError("it has no function's name")
    annotations = entry.get("annotations")
    if annotations is None:
        annotations = {}
    if not isinstance(annotations, dict) or not all(isinstance(value, str) for value in annotations.values()):
        raise ValueError("its annotations are not texts by name")
    return DeployedFunction(entry["name"], namespace, annotations)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _excerpt(body: bytes) -> str:
    """The beginning of a body, on one line, whatever it holds."""
    text = " ".join(body[:1000].decode("utf-8", "replace").split())
    return _shown(text) if text else "nothing"
