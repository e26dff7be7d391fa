"""The keys of the stores' sections (contract/configuration.md §3.7); exactly one section is expected.

The sections reach the store's backend as mappings; what is checked here is what can be judged without it.
"""

from __future__ import annotations

from dataclasses import replace

from patroni.config.key import Apply, Key, Kind

ORDER = (
    "consul",
    "etcd",
    "etcd3",
    "exhibitor",
    "kubernetes",
    "raft",
    "zookeeper",
    "local",
)  # the first usable one wins


ETCD3 = (
    Key(
        path="etcd3.host",
        kind=Kind.ADDRESS,
        default_port=2379,
        help="One endpoint; the others are asked for.",
    ),
    Key(
        path="etcd3.port",
        kind=Kind.INTEGER,
        minimum=1,
        maximum=65535,
        help="Port of endpoints without one.",
    ),
    Key(
        path="etcd3.hosts",
        kind=Kind.LIST,
        help="Endpoints, each `host[:port]`.",
    ),
    Key(path="etcd3.url", kind=Kind.TEXT, help="One endpoint as URL."),
    Key(
        path="etcd3.proxy",
        kind=Kind.TEXT,
        help="URL of a proxy; the members are not asked for.",
    ),
    Key(
        path="etcd3.srv",
        kind=Kind.TEXT,
        help="Domain whose SRV records name the endpoints.",
    ),
    Key(
        path="etcd3.discovery_srv",
        kind=Kind.TEXT,
        layers="L",
        help="Old name of `srv`.",
    ),
    Key(
        path="etcd3.srv_domain",
        kind=Kind.TEXT,
        layers="L",
        help="Old name of `srv`.",
    ),
    Key(
        path="etcd3.srv_suffix",
        kind=Kind.TEXT,
        help="Suffix of the SRV records' service names.",
    ),
    Key(
        path="etcd3.use_proxies",
        kind=Kind.FLAG,
        default=False,
        help="The endpoints are proxies: ask for no members.",
    ),
    Key(
        path="etcd3.protocol",
        kind=Kind.WORD,
        words=("http", "https"),
        help="How to speak with the endpoints.",
    ),
    Key(path="etcd3.username", kind=Kind.TEXT, apply=Apply.LIVE, help="User."),
    Key(
        path="etcd3.password",
        kind=Kind.TEXT,
        apply=Apply.LIVE,
        help="Its password.",
    ),
    Key(
        path="etcd3.cacert",
        kind=Kind.PATH,
        help="Authorities that the endpoints are checked with.",
    ),
    Key(path="etcd3.cert", kind=Kind.PATH, help="Client certificate."),
    Key(
        path="etcd3.key",
        kind=Kind.PATH,
        help="Its key; absent: inside `cert`.",
    ),
)
# The two have the same keys.
ETCD = tuple(replace(key, path=key.path.replace("etcd3.", "etcd.")) for key in ETCD3)

CONSUL = (
    Key(
        path="consul.host",
        kind=Kind.ADDRESS,
        default_port=8500,
        help="The local Consul agent.",
    ),
    Key(
        path="consul.port",
        kind=Kind.INTEGER,
        minimum=1,
        maximum=65535,
        help="Its port.",
    ),
    Key(path="consul.url", kind=Kind.TEXT, help="Scheme, host and port in one."),
    Key(
        path="consul.scheme",
        kind=Kind.WORD,
        words=("http", "https"),
        default="http",
        help="How to speak with it.",
    ),
    Key(path="consul.token", kind=Kind.TEXT, apply=Apply.LIVE, help="ACL token."),
    Key(
        path="consul.verify",
        kind=Kind.SWITCH,
        default=True,
        help="Whether its certificate is checked.",
    ),
    Key(path="consul.cacert", kind=Kind.PATH, help="Authorities."),
    Key(path="consul.cert", kind=Kind.PATH, help="Client certificate."),
    Key(path="consul.key", kind=Kind.PATH, help="Its key."),
    Key(
        path="consul.dc",
        kind=Kind.TEXT,
        apply=Apply.LIVE,
        help="Datacenter; absent: the agent's.",
    ),
    Key(
        path="consul.consistency",
        kind=Kind.WORD,
        words=("default", "consistent", "stale"),
        default="default",
        apply=Apply.LIVE,
        help="How reads are done.",
    ),
    Key(
        path="consul.checks",
        kind=Kind.LIST,
        default=[],
        help="Health checks of the session.",
    ),
    Key(
        path="consul.register_service",
        kind=Kind.FLAG,
        default=False,
        apply=Apply.LIVE,
        help="Register a service.",
    ),
    Key(
        path="consul.service_tags",
        kind=Kind.LIST,
        default=[],
        apply=Apply.LIVE,
        help="Further tags of the service.",
    ),
    Key(
        path="consul.service_check_interval",
        kind=Kind.TEXT,
        default="5s",
        help="How often the service is checked.",
    ),
    Key(
        path="consul.service_check_tls_server_name",
        kind=Kind.TEXT,
        help="Server name of that check.",
    ),
)

ZOOKEEPER = (
    Key(path="zookeeper.hosts", kind=Kind.LIST, help="The ensemble, each `host:port`."),
    Key(path="zookeeper.use_ssl", kind=Kind.FLAG, default=False, help="TLS."),
    Key(path="zookeeper.cacert", kind=Kind.PATH, help="Authorities."),
    Key(path="zookeeper.cert", kind=Kind.PATH, help="Client certificate."),
    Key(path="zookeeper.key", kind=Kind.PATH, help="Its key."),
    Key(path="zookeeper.key_password", kind=Kind.TEXT, help="Password of the key."),
    Key(
        path="zookeeper.verify",
        kind=Kind.SWITCH,
        default=True,
        help="Whether certificates are checked.",
    ),
    Key(
        path="zookeeper.set_acls",
        kind=Kind.MAPPING,
        help="ACL of created nodes: principal, permissions.",
    ),
    Key(
        path="zookeeper.auth_data",
        kind=Kind.MAPPING,
        default={},
        help="Authentication: scheme, credential.",
    ),
)

EXHIBITOR = (
    Key(path="exhibitor.hosts", kind=Kind.LIST, help="Hosts that know the ensemble."),
    Key(
        path="exhibitor.port",
        kind=Kind.INTEGER,
        minimum=1,
        maximum=65535,
        help="Their port.",
    ),
    Key(
        path="exhibitor.poll_interval",
        kind=Kind.INTEGER,
        default=300,
        unit="s",
        layers="L",
        help="How often to ask.",
    ),
)

KUBERNETES = (
    *(
        Key(path=f"kubernetes.{name}", kind=Kind.TEXT, help="Not supported yet.")
        for name in (
            "namespace",
            "context",
            "scope_label",
            "role_label",
            "pod_ip",
            "leader_label_value",
            "follower_label_value",
            "standby_leader_label_value",
            "tmp_role_label",
            "cacert",
        )
    ),
    *(Key(path=f"kubernetes.{name}", kind=Kind.MAPPING, help="Not supported yet.") for name in ("labels", "bootstrap_labels")),
    *(Key(path=f"kubernetes.{name}", kind=Kind.LIST, help="Not supported yet.") for name in ("ports", "retriable_http_codes")),
    *(
        Key(path=f"kubernetes.{name}", kind=Kind.FLAG, help="Not supported yet.")
        for name in ("use_endpoints", "bypass_api_service")
    ),
)

RAFT = (
    *(
        Key(path=f"raft.{name}", kind=Kind.TEXT, help="Not supported yet.")
        for name in ("data_dir", "self_addr", "bind_addr", "password")
    ),
    Key(path="raft.partner_addrs", kind=Kind.LIST, help="Not supported yet."),
    *(
        Key(path=f"raft.{name}", kind=Kind.NUMBER, help="Not supported yet.")
        for name in (
            "min_timeout",
            "max_timeout",
            "connection_timeout",
            "append_entries_period",
            "connection_retry_time",
            "leader_fallback_timeout",
        )
    ),
)

CITUS = (
    Key(path="citus.group", kind=Kind.INTEGER, minimum=0, help="Not supported yet."),
    Key(path="citus.database", kind=Kind.TEXT, help="Not supported yet."),
)

LOCAL = (
    Key(
        path="local.path",
        kind=Kind.PATH,
        layers="L",
        help="File of the embedded store, for agents on one machine.",
    ),
)

STORE = CONSUL + ETCD + ETCD3 + EXHIBITOR + KUBERNETES + RAFT + ZOOKEEPER + LOCAL + CITUS
