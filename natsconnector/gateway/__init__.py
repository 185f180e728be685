"""A client of the OpenFaaS gateway."""

from natsconnector.gateway.client import GatewayClient
from natsconnector.gateway.credentials import BasicAuth, CredentialsFault
from natsconnector.gateway.system import GatewayFault, SystemClient

__all__ = ["BasicAuth", "CredentialsFault", "GatewayClient", "GatewayFault", "SystemClient"]
