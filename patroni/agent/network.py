"""The REST API and the client towards peers follow the file of a running agent (contract/configuration.md §1.9).

What cannot be used, a port that somebody else has or a certificate that cannot be read, leaves the former settings of that
part in force, with a line that says why; the next SIGHUP tries again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from patroni.agent.configure import client_config, rest_config
from patroni.agent.preflight import faults_of_certificates
from patroni.config.settings import Configuration
from patroni.rest.config import ClientConfig, RestConfig

logger = logging.getLogger(__name__)


class Network:
    """What of the network is in force; `follow` belongs to one thread that may block, `rest` may be read by any."""

    def __init__(
        self, rest: RestConfig, use_rest: Callable[[RestConfig], None], use_client: Callable[[ClientConfig], None]
    ) -> None:
        """use_…: take other settings, or raise OSError and go on with the former ones."""
        self.rest = rest
        self._use_rest = use_rest
        self._use_client = use_client

    def follow(self, configuration: Configuration) -> None:
        """Use what is configured now; certificates are read anew, even if nothing changed."""
        wanted, client = rest_config(configuration), client_config(configuration)
        faults = faults_of_certificates(wanted, client)
        for fault in faults:
            logger.error("%s; the former settings of restapi and ctl stay in force", fault)
        if faults:
            return
        try:
            if wanted != self.rest or wanted.tls is not None:
                self._use_rest(wanted)
            self.rest = wanted
        except OSError as error:
            logger.error("restapi: the former settings stay in force: %s", error)
        try:
            self._use_client(client)
        except OSError as error:
            logger.error("ctl: the former settings stay in force: %s", error)
