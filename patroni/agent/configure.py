"""From the configuration to what each room takes: the rooms define their records, this maps onto them and decides nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping

from patroni.config.keys_postgresql import EVENTS, USER_OPTIONS
from patroni.config.reader import Values, section
from patroni.config.settings import Configuration
from patroni.config.value import Address
from patroni.postgres.config import Credentials, PostgresConfig
from patroni.rest.config import ClientConfig, RestConfig, ServerTokens, TlsConfig, VerifyClient
from patroni.rest.config import Credentials as RestCredentials


def postgres_config(configuration: Configuration) -> PostgresConfig:
    """Build the record of the room that drives Postgres."""
    values, written = configuration.values, section(configuration.effective, "postgresql")
    bootstrap = section(configuration.effective, "bootstrap")
    listen = values.get("postgresql.listen", Address)
    connect = values.find("postgresql.connect_address", Address)
    methods = _methods(values)
    return PostgresConfig(
        name=configuration.name,
        scope=configuration.scope,
        listen_host=",".join(host or "*" for host in listen.hosts),
        port=listen.port,
        connect_host=connect.host if connect else None,
        connect_port=connect.port if connect else None,
        data_dir=values.get("postgresql.data_dir", str),
        config_dir=values.find("postgresql.config_dir", str),
        config_base_name=values.get("postgresql.config_base_name", str),
        bin_dir=values.find("postgresql.bin_dir", str),
        bin_names={str(usual): str(own) for usual, own in section(written, "bin_name").items() if own},
        database=values.get("postgresql.database", str),
        use_unix_socket=values.get("postgresql.use_unix_socket", bool),
        use_unix_socket_repl=values.get("postgresql.use_unix_socket_repl", bool),
        pgpass=values.find("postgresql.pgpass", str),
        krbsrvname=values.find("postgresql.krbsrvname", str),
        pg_ctl_timeout_s=float(values.get("postgresql.pg_ctl_timeout", float)),
        superuser=_user(values, "superuser") or Credentials(),
        replication=_user(values, "replication") or Credentials(),
        rewind=_user(values, "rewind"),
        dynamic_parameters=section(section(configuration.dynamic.values, "postgresql"), "parameters"),
        local_parameters=section(section(configuration.local.values, "postgresql"), "parameters"),
        pg_hba=tuple(values.get("postgresql.pg_hba", list)),
        pg_ident=tuple(values.get("postgresql.pg_ident", list)),
        custom_conf=values.find("postgresql.custom_conf", str) or None,
        recovery_conf=values.get("postgresql.recovery_conf", dict),
        use_slots=values.get("postgresql.use_slots", bool),
        initdb=bootstrap.get("initdb"),
        bootstrap_pg_hba=tuple(values.get("bootstrap.pg_hba", list)),
        post_bootstrap=values.find("bootstrap.post_bootstrap", str) or values.find("bootstrap.post_init", str) or None,
        basebackup=written.get("basebackup"),
        rewind_options=written.get("rewind"),
        use_pg_rewind=values.get("postgresql.use_pg_rewind", bool),
        create_replica_methods=methods,
        replica_methods={name: section(written, name) for name in methods if section(written, name)},
        callbacks=_callbacks(values),
        pre_promote=values.find("postgresql.pre_promote", str) or None,
        before_stop=values.find("postgresql.before_stop", str) or None,
    )


def _methods(values: Values) -> tuple[str, ...]:
    """Return how replicas are made; the old name is read where the new one is empty (contract/configuration.md §3.6.5)."""
    for name in ("create_replica_methods", "create_replica_method"):
        found = values.find(f"postgresql.{name}", list)
        if found:
            return tuple(found)
    return ("basebackup",)


def _callbacks(values: Values) -> dict[str, str]:
    found = {event: values.find(f"postgresql.callbacks.{event}", str) for event in EVENTS}
    return {event: command for event, command in found.items() if command}


def _user(values: Values, user: str) -> Credentials | None:
    """Return a section of `postgresql.authentication`; None where nothing is written in it."""
    found = {name: values.find(f"postgresql.authentication.{user}.{name}", str) for name in ("username", "password")}
    options = {name: values.find(f"postgresql.authentication.{user}.{name}", str) for name in USER_OPTIONS}
    kept = {name: text for name, text in options.items() if text}
    if not any(found.values()) and not kept:
        return None
    return Credentials(username=found["username"] or None, password=found["password"] or None, options=kept)


def rest_config(configuration: Configuration) -> RestConfig:
    """Build the record of the REST API's server."""
    values = configuration.values
    listen = values.get("restapi.listen", Address)
    return RestConfig(
        host=None if listen.host in ("", "*") else listen.host,
        port=listen.port,
        connect_address=values.find("restapi.connect_address", str) or "",
        authentication=_rest_credentials(
            values.find("restapi.authentication.username", str), values.find("restapi.authentication.password", str)
        ),
        tls=_tls(values),
        allowlist=tuple(values.get("restapi.allowlist", list)),
        allowlist_include_members=values.get("restapi.allowlist_include_members", bool),
        http_extra_headers=_headers(values.get("restapi.http_extra_headers", dict)),
        https_extra_headers=_headers(values.get("restapi.https_extra_headers", dict)),
        request_queue_size=values.get("restapi.request_queue_size", int),
        server_tokens=ServerTokens(values.get("restapi.server_tokens", str)),
    )


def client_config(configuration: Configuration) -> ClientConfig:
    """Build the record of the client towards peers."""
    client = configuration.client
    return ClientConfig(
        credentials=_rest_credentials(client.username, client.password),
        certfile=client.certfile,
        keyfile=client.keyfile,
        keyfile_password=client.keyfile_password,
        cacert=client.cacert,
    )


def own_directories(configuration: Configuration) -> tuple[str, ...]:
    """Return the directories, besides the data directory, that the agent writes into and makes where they are missing."""
    files = [configuration.values.find("postgresql.pgpass", str)]
    if configuration.store.kind == "local":
        files.append(str(configuration.store.values["path"]))
    return tuple(dict.fromkeys(os.path.dirname(file) for file in files if file))


def _rest_credentials(username: str | None, password: str | None) -> RestCredentials | None:
    if username is None or password is None:
        return None
    return RestCredentials(username=username, password=password)


def _tls(values: Values) -> TlsConfig | None:
    certfile = values.find("restapi.certfile", str)
    if certfile is None:
        return None
    return TlsConfig(
        certfile=certfile,
        keyfile=values.find("restapi.keyfile", str),
        keyfile_password=values.find("restapi.keyfile_password", str),
        cafile=values.find("restapi.cafile", str),
        ciphers=values.find("restapi.ciphers", str),
        verify_client=VerifyClient(values.get("restapi.verify_client", str)),
    )


def _headers(written: Mapping[str, object]) -> dict[str, str]:
    return {str(name): str(value) for name, value in written.items()}
