"""The REST API and the client towards peers follow the file of a running agent (contract/configuration.md §1.9).

What cannot be used leaves the former settings of that part in force, with a line that says why; the next SIGHUP tries again.
A certificate that cannot be read holds back all of its part, an address that somebody else has only the address.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

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
        self._is_refused = False  # what was wanted last is not what is in force
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
        if wanted != self.rest or wanted.tls is not None or self._is_refused:
            self._follow_rest(wanted)
        try:
            self._use_client(client)
        except OSError as error:
            logger.error("ctl: the former settings stay in force: %s", error)

    def _follow_rest(self, wanted: RestConfig) -> None:
        """Use these settings; where the address is refused, the others at the former one."""
        former = self.rest
        self._is_refused = False
        for each in (wanted, replace(wanted, host=former.host, port=former.port, connect_address=former.connect_address)):
            try:
                self._use_rest(each)
            except OSError as error:
                logger.error("restapi: the former settings stay in force: %s", error)
                self._is_refused = True
            else:
                self.rest = each
                return
            if (wanted.host, wanted.port) == (former.host, former.port):
                return
