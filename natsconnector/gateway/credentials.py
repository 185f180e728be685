"""Who the connector is at the gateway."""

from __future__ import annotations

import os
from base64 import b64encode

USER_FILE = "basic-auth-user"
PASSWORD_FILE = "basic-auth-password"


class CredentialsFault(Exception):
    """The credentials cannot be used; the text names the file and the reason, never what it holds."""


class BasicAuth:
    """
    Basic authentication from the files ``basic-auth-user`` and ``basic-auth-password``, as OpenFaaS mounts them.

    They are read when they are first needed, and again after :meth:`forget`.

    :param directory: where the files are.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._authorization: str | None = None

    def authorization(self) -> str:
        """
        The value of an ``Authorization`` header.

        :raises CredentialsFault: a file cannot be read, or does not hold what it should.
        """
        if self._authorization is None:
            user = self._read(USER_FILE)
            if ":" in user:  # RFC 7617, 2: the first colon ends the user's name
                raise CredentialsFault(f"{self._path(USER_FILE)} holds a colon, which no user's name can have")
            password = self._read(PASSWORD_FILE)
            self._authorization = f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"
        return self._authorization

    def forget(self) -> None:
        """Read the files again when they are needed next: the gateway has refused what they held."""
        self._authorization = None

    def __repr__(self) -> str:
        return f"BasicAuth({self.directory!r})"

    def _path(self, name: str) -> str:
        return os.path.join(self.directory, name)

    def _read(self, name: str) -> str:
        path = self._path(name)
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read().strip()
        except UnicodeDecodeError:  # whose text shows a byte of it
            raise CredentialsFault(f"{path} is not UTF-8") from None
        except (OSError, ValueError) as e:
            raise CredentialsFault(f"{path} cannot be read: {getattr(e, 'strerror', None) or e}") from None
        if not text:
            raise CredentialsFault(f"{path} is empty")
        if any(ord(character) < 32 or ord(character) == 127 for character in text):
            raise CredentialsFault(f"{path} holds more than one line, or control characters")
        return text
