"""A client of the OpenFaaS gateway."""

from natsconnector.gateway.client import GatewayClient
from natsconnector.gateway.credentials import Credentials, CredentialsFault
from natsconnector.gateway.system import GatewayFault, SystemClient

__all__ = ["Credentials", "CredentialsFault", "GatewayClient", "GatewayFault", "SystemClient"]
