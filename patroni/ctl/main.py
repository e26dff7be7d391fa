"""patronictl's entry: global options, the list of commands, and how errors are shown (contract/cli.md §2).

Whatever goes wrong is one line on stderr and exit status 1; a wrong command line is the usage and exit status 2.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import click

from patroni.config.environment import capture
from patroni.config.fault import ConfigError
from patroni.ctl import later
from patroni.ctl.api import ApiUnreachable
from patroni.ctl.dsn import dsn
from patroni.ctl.edit_config import edit_config
from patroni.ctl.flush import flush
from patroni.ctl.history import history
from patroni.ctl.listing import list_members, topology
from patroni.ctl.remove import remove
from patroni.ctl.show_config import show_config
from patroni.ctl.switchover import failover, switchover
from patroni.ctl.tool import Surroundings, Tool
from patroni.ctl.version import version
from patroni.ctl.why import why
from patroni.dcs import etcd3_client
from patroni.dcs.store import DcsUnavailable, Refused, StoreConfigError
from patroni.decision.lease import Instant
from patroni.version import VERSION

_LOG_LEVELS = ("PATRONI_LOG_LEVEL", "PATRONI_LOGLEVEL", "LOGLEVEL")  # the first one that is set counts (§2.5)
_COMMANDS = (dsn, edit_config, failover, flush, history, list_members, remove, show_config, switchover, topology, version, why)


@click.group(epilog=f"patroni-agent {VERSION}")
@click.option(
    "-c",
    "--config-file",
    envvar="PATRONICTL_CONFIG_FILE",
    help="YAML file, or a directory of them; that of an agent will do. Default: ~/.config/patroni/patronictl.yaml",
)
@click.option("-d", "--dcs-url", "--dcs", envvar="DCS_URL", help="[SCHEME://][HOST][:PORT][/NAMESPACE] of the store.")
@click.option("-k", "--insecure", "is_insecure", is_flag=True, help="Do not verify certificates of REST APIs.")
@click.pass_context
def ctl(context: click.Context, config_file: str | None, dcs_url: str | None, is_insecure: bool) -> None:
    """Look at clusters and act on them."""
    tool = Tool(
        Surroundings(
            config_file=config_file,
            default_config_file=os.path.join(click.get_app_dir("patroni"), "patronictl.yaml"),
            dcs_url=dcs_url,
            is_insecure=is_insecure,
            environment=capture(dict(os.environ)),
            clock=_instant,
            wall=_local_time,
        )
    )
    context.obj = tool
    context.call_on_close(tool.close)


for _command in (*_COMMANDS, *later.commands()):
    ctl.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    with _log():
        try:
            status = ctl.main(arguments, prog_name="patronictl", standalone_mode=False)
            return status if isinstance(status, int) else 0
        except click.ClickException as error:
            error.show()
            return error.exit_code
        except click.Abort:
            click.echo("Aborted!", err=True)
        except ConfigError as error:
            _complain(*error.faults)
        except (StoreConfigError, ApiUnreachable, OSError) as error:
            _complain(str(error))
        except DcsUnavailable as error:
            _complain(f"the store does not answer: {error}")
        except Refused as error:
            _complain(f"the store refused the change: {error}")
        return 1


def _complain(*lines: str) -> None:
    for line in lines:
        click.echo(f"Error: {line}", err=True)


@contextmanager
def _log() -> Iterator[None]:
    """Send log and warnings to stderr while a command runs."""
    level = next((os.environ[name] for name in _LOG_LEVELS if os.environ.get(name)), "WARNING")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s - %(levelname)s - %(message)s"))
    handler.setLevel(logging.getLevelNamesMapping().get(level.upper(), logging.WARNING))
    handler.addFilter(_concerns_us)
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(handler.level)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.setLevel(before)
        root.removeHandler(handler)


def _concerns_us(record: logging.LogRecord) -> bool:
    """Leave out what an etcd client warns those of who hold a lease: that its version renews too willingly."""
    return record.name != etcd3_client.__name__ or record.levelno != logging.WARNING


def _instant() -> Instant:
    return Instant(boot_s=time.clock_gettime(time.CLOCK_BOOTTIME), raw_s=time.clock_gettime(time.CLOCK_MONOTONIC_RAW))


def _local_time() -> datetime:
    return datetime.now().astimezone()
