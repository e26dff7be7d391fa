"""Unknown keys are kept and named, with the key that may be meant; names that users choose, and old forms, are none."""

from __future__ import annotations

import pytest
import yaml

from patroni.config.load import Local
from patroni.config.settings import with_dynamic
from patroni.config.unknown import unknown_keys
from tests.config.builders import a_local, a_tree, built, environment

# Every key that an operator may have in a file, as one tree; the values do not matter here.
EVERY_KEY = """
scope: s
name: n
namespace: x
thread_pool_size: 5
thread_stack_size: 524288
ttl: 30
loop_wait: 10
retry_timeout: 10
standby_cluster: {host: h}
pause: false
log: {type: json, level: INFO, traceback_level: ERROR, format: [{asctime: at}], dateformat: x, static_fields: {a: b},
  max_queue_size: 1, dir: /x, mode: 420, file_num: 1, file_size: 1, loggers: {patroni.postmaster: WARNING},
  deduplicate_heartbeat_logs: true}
restapi: {listen: "h:1", connect_address: "h:1", authentication: {username: u, password: p}, certfile: c, keyfile: k,
  keyfile_password: p, cafile: c, ciphers: c, verify_client: none, allowlist: [h], allowlist_include_members: true,
  http_extra_headers: {X-A: b}, https_extra_headers: {X-A: b}, request_queue_size: 5, thread_pool_size: 5,
  server_tokens: minimal, auth: "u:p"}
ctl: {authentication: {username: u, password: p}, insecure: true, cacert: c, certfile: c, keyfile: k, keyfile_password: p,
  auth: "u:p"}
watchdog: {mode: off, device: /dev/watchdog, safety_margin: 5, driver: default}
fence: {hold_s: 10}
tags: {nofailover: false, failover_priority: 1, nosync: false, sync_priority: 1, noloadbalance: false, clonefrom: false,
  replicatefrom: n, nostream: false, rack: b, anything: {deep: 1}}
citus: {group: 0, database: d}
bootstrap:
  method: restore
  restore: {command: c, no_params: true, keep_existing_recovery_conf: true, recovery_conf: {restore_command: c}, scope: s,
    datadir: d, stanza: main}
  another: {command: c}
  initdb: [{encoding: UTF8}, data-checksums]
  pg_hba: [line]
  post_bootstrap: c
  post_init: c
  users: {}
  dcs:
    ttl: 30
    loop_wait: 10
    retry_timeout: 10
    pause: false
    maximum_lag_on_failover: 1
    maximum_lag_on_syncnode: -1
    max_timelines_history: 0
    primary_start_timeout: 300
    master_start_timeout: 300
    primary_stop_timeout: 0
    master_stop_timeout: 0
    primary_race_backoff: 0
    synchronous_mode: quorum
    synchronous_mode_strict: false
    synchronous_node_count: 1
    failsafe_mode: true
    check_timeline: true
    member_slots_ttl: 30min
    slots: {one: {type: logical, database: d, plugin: p}, two: {type: physical, cluster_type: primary}, three: null}
    permanent_slots: {one: null}
    permanent_replication_slots: {one: null}
    ignore_slots: [{name: n, type: physical, database: d, plugin: p}]
    standby_cluster: {host: h, port: 1, primary_slot_name: s, create_replica_methods: [wal_e], restore_command: c,
      archive_cleanup_command: c, recovery_min_apply_delay: 5min}
    postgresql:
      use_slots: true
      use_pg_rewind: true
      parameters: {max_connections: 100, pg_stat_statements.track: all}
      pg_hba: [line]
      wal_e: {command: c, threshold: 5}
      listen: "h:1"
      authentication: {superuser: {username: u}}
postgresql:
  listen: "h:1"
  connect_address: "h:1"
  proxy_address: "h:1"
  data_dir: /d
  config_dir: /d
  config_base_name: postgresql
  bin_dir: /b
  bin_name: {pg_ctl: a, initdb: a, pg_controldata: a, pg_basebackup: a, postgres: a, pg_isready: a, pg_rewind: a}
  database: d
  use_unix_socket: true
  use_unix_socket_repl: true
  pgpass: /p
  krbsrvname: k
  pg_ctl_timeout: 60
  authentication:
    superuser: &user {username: u, password: p, sslmode: x, sslcert: x, sslkey: x, sslrootcert: x, sslcrl: x, sslpassword: x,
      sslcrldir: x, gssencmode: x, channel_binding: x, sslnegotiation: x}
    replication: *user
    rewind: *user
  parameters: {anything: 1}
  parameters_primary: {anything: 1}
  parameters_replica: {anything: 1}
  parameters_standby_leader: {anything: 1}
  pg_hba: [line]
  pg_hba_primary: [line]
  pg_hba_replica: [line]
  pg_hba_standby_leader: [line]
  pg_ident: [line]
  pg_ident_primary: [line]
  pg_ident_replica: [line]
  pg_ident_standby_leader: [line]
  custom_conf: c
  recovery_conf: {restore_command: c}
  callbacks: {on_start: c, on_stop: c, on_restart: c, on_reload: c, on_role_change: c}
  pre_promote: c
  before_stop: c
  use_pg_rewind: true
  rewind: [debug]
  remove_data_directory_on_rewind_failure: true
  remove_data_directory_on_diverged_timelines: true
  create_replica_methods: [pgbackrest, basebackup]
  create_replica_method: [barman]
  pgbackrest: {command: c, no_leader: true, keep_data: true, no_params: true}
  barman: {server: s}
  wal_e: {command: c}
  basebackup: [{max-rate: 100M}, verbose]
  name: n
  scope: s
  retry_timeout: 10
  replication: *user
  superuser: *user
  pg_rewind: *user
etcd: &etcd {host: h, port: 1, hosts: [h], url: u, proxy: u, srv: d, discovery_srv: d, srv_domain: d, srv_suffix: s,
  use_proxies: true, protocol: http, username: u, password: p, cacert: c, cert: c, key: k}
etcd3: *etcd
consul: {host: h, port: 1, url: u, scheme: http, token: t, verify: true, cacert: c, cert: c, key: k, dc: d,
  consistency: stale, checks: [], register_service: true, service_tags: [], service_check_interval: 5s,
  service_check_tls_server_name: n}
zookeeper: {hosts: [h], use_ssl: true, cacert: c, cert: c, key: k, key_password: p, verify: true, set_acls: {p: [ALL]},
  auth_data: {digest: x}, exhibitor: {hosts: [h]}}
exhibitor: {hosts: [h], port: 1, poll_interval: 300}
raft: {self_addr: a, bind_addr: a, partner_addrs: [a], data_dir: d, password: p, min_timeout: 0.4, max_timeout: 1.4,
  connection_timeout: 3.5, append_entries_period: 0.1, connection_retry_time: 5.0, leader_fallback_timeout: 30.0}
kubernetes: {labels: {a: b}, namespace: n, scope_label: s, role_label: r, leader_label_value: l, follower_label_value: f,
  standby_leader_label_value: s, tmp_role_label: t, bootstrap_labels: {a: b}, use_endpoints: false, pod_ip: i,
  ports: [{name: p, port: 1}], bypass_api_service: false, cacert: c, context: c, retriable_http_codes: [504]}
local: {path: p}
"""


def test_no_key_that_an_operator_may_write_is_unknown() -> None:
    tree = yaml.safe_load(EVERY_KEY)
    assert list(unknown_keys(Local(values=tree, path="p.yml"), tree["bootstrap"]["dcs"])) == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("scop: x", "scop: unknown key, it has no effect; did you mean scope?"),
        ("postgressql: {listen: h}", "postgressql: unknown key, it has no effect; did you mean postgresql?"),
        ("postgresql: {data_dri: /x}", "postgresql.data_dri: unknown key, it has no effect; did you mean postgresql.data_dir?"),
        (
            "postgresql: {authentication: {superuser: {user: u}}}",
            (
                "postgresql.authentication.superuser.user: unknown key, it has no effect; "
                "did you mean postgresql.authentication.superuser.username?"
            ),
        ),
        ("use_pg_rewind: true", "use_pg_rewind: unknown key, it has no effect; did you mean postgresql.use_pg_rewind?"),
        (
            "bootstrap: {dcs: {maximum_lag_on_failver: 5}}",
            (
                "bootstrap.dcs.maximum_lag_on_failver: unknown key, it has no effect;"
                " did you mean bootstrap.dcs.maximum_lag_on_failover?"
            ),
        ),
        ("bootstrap: {dcs: {tags: {nofailover: true}}}", "bootstrap.dcs.tags: unknown key, it has no effect"),
        ("restapi: {zebra: 5}", "restapi.zebra: unknown key, it has no effect"),
        ("bootstrap: {zebra: {a: 5}}", "bootstrap.zebra: unknown key, it has no effect"),
    ],
)
def test_each_is_named_with_what_may_be_meant(text: str, line: str) -> None:
    found = built(text)
    assert found.warnings == (line,)
    assert found.local.values == a_tree(text)


def test_those_of_the_config_key_are_named_too() -> None:
    found = with_dynamic(built(), {"tll": 5})
    assert found.warnings == ("the config key in the store: tll: unknown key, it has no effect; did you mean ttl?",)
    assert found.dynamic.values["tll"] == 5


def test_the_seed_is_named_once() -> None:
    seeded = built("bootstrap: {dcs: {tll: 5}}")
    assert with_dynamic(seeded, {"tll": 5, "ttl": 30}).warnings == seeded.warnings


def test_what_the_environment_brings_is_not() -> None:
    given = environment(SERVICE_HOST="h", ETCD_TOKEN="t")
    values = {**a_local().values, **given.values}
    assert list(unknown_keys(Local(values=values, path=None, environment=given), {})) == []
