"""A function that is deployed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class DeployedFunction:
    """A function as the gateway lists it."""

    name: str
    namespace: str = ""
    """Empty when the gateway has only one."""
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        """As a call names it: ``name`` or ``name.namespace``."""
        return f"{self.name}.{self.namespace}" if self.namespace else self.name
