"""The catalogue of settings: which value a GUC takes in which version (contract/configuration.md §6.7 and its annex A). Pure.

A bad value never keeps the server from starting: it is clamped, or its line is dropped, with a warning.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from patroni.postgres import values


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What one GUC takes in versions `since` <= version < `till` (numbers like 150018; None: no limit)."""

    kind: str  # bool, integer, real, enum, enumbool, string
    since: int | None
    till: int | None
    unit: str | None
    limits: tuple[float, float] | None = None  # of numbers, in `unit`
    words: frozenset[str] = frozenset()  # of enums, in lower case

    def covers(self, version: int) -> bool:
        """Return whether this rule speaks of that version."""
        return (self.since is None or self.since <= version) and (self.till is None or version < self.till)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What to write for a setting: `text` None: nothing. `fault`: what was wrong, for a warning; empty: nothing."""

    text: str | None
    fault: str = ""


def judge(name: str, value: str, version: int) -> Verdict | None:
    """Return what to write for this value; None: the GUC is not in the catalogue for this version."""
    rule = next((rule for rule in _rules().get(name.lower(), ()) if rule.covers(version)), None)
    if rule is None:
        return None
    match rule.kind:
        case "integer" | "real":
            return _number(rule, value)
        case "bool":
            is_good = values.boolean(value) is not None
        case "enum" | "enumbool":
            is_listed = value.lower().replace(" ", "_") in rule.words
            is_good = is_listed or (rule.kind == "enumbool" and values.boolean(value) is not None)
        case _:
            is_good = True
    return Verdict(text=value) if is_good else Verdict(text=None, fault=f"{value} is no value for it")


def _number(rule: Rule, value: str) -> Verdict:
    number = values.integer(value, rule.unit) if rule.kind == "integer" else values.real(value, rule.unit)
    if number is None or rule.limits is None:
        return Verdict(text=None, fault=f"{value} is no number in {rule.unit or 'units of one'}")
    low, high = rule.limits
    limit = low if number < low else high if number > high else None
    if limit is None:
        return Verdict(text=value)
    text = str(round(limit)) if rule.kind == "integer" else str(limit)
    return Verdict(text=text, fault=f"{value} is out of range, using {text}")


@cache
def _rules() -> Mapping[str, tuple[Rule, ...]]:
    """Return the rules by name in lower case."""
    found: dict[str, tuple[Rule, ...]] = {}
    for entry in re.split(r"\n(?! )", _CATALOGUE.strip()):
        head, _, names = entry.partition(":")
        kind, versions, unit = head.split()
        since, till = versions.split("-")
        for item in names.split():
            name, _, detail = item.rstrip("]").partition("[")
            rule = Rule(
                kind=kind,
                since=int(since) if since else None,
                till=int(till) if till else None,
                unit=None if unit == "-" else unit,
                limits=_limits(detail) if kind in ("integer", "real") else None,
                words=frozenset(detail.split("|")) if kind.startswith("enum") else frozenset(),
            )
            found[name.lower()] = (*found.get(name.lower(), ()), rule)
    return found


def _limits(detail: str) -> tuple[float, float]:
    low, high = detail.split("..")
    return float(low), float(high)


# One entry: type, versions `from-till` (empty: open), unit (`-`: none), then names with their limits or words; blanks in words
# are underscores. From 13 on; facts of PostgreSQL itself, equal to pg_settings of each major.
_CATALOGUE = """
integer -160000 -: vacuum_defer_cleanup_age[0..1000000]
integer -180000 kB: log_rotation_size[0..2097151] maintenance_work_mem[1024..2147483647]
integer - -: autovacuum_analyze_threshold[0..2147483647] autovacuum_freeze_max_age[100000..2000000000]
  autovacuum_max_workers[1..262143] autovacuum_multixact_freeze_max_age[10000..2000000000]
  autovacuum_vacuum_cost_limit[-1..10000] autovacuum_vacuum_insert_threshold[-1..2147483647]
  autovacuum_vacuum_threshold[0..2147483647] bgwriter_lru_maxpages[0..1073741823] commit_delay[0..100000]
  commit_siblings[0..1000] default_statistics_target[1..10000] effective_io_concurrency[0..1000]
  extra_float_digits[-15..3] from_collapse_limit[1..2147483647] geqo_effort[1..10] geqo_generations[0..2147483647]
  geqo_pool_size[0..2147483647] geqo_threshold[2..2147483647] gin_fuzzy_search_limit[0..2147483647]
  join_collapse_limit[1..2147483647] log_file_mode[0..511] maintenance_io_concurrency[0..1000]
  max_connections[1..262143] max_files_per_process[64..2147483647] max_locks_per_transaction[10..2147483647]
  max_logical_replication_workers[0..262143] max_parallel_maintenance_workers[0..1024] max_parallel_workers[0..1024]
  max_parallel_workers_per_gather[0..1024] max_pred_locks_per_page[0..2147483647]
  max_pred_locks_per_relation[-2147483648..2147483647] max_pred_locks_per_transaction[10..2147483647]
  max_prepared_transactions[0..262143] max_replication_slots[0..262143] max_sync_workers_per_subscription[0..262143]
  max_wal_senders[0..262143] max_worker_processes[0..262143] port[1..65535] superuser_reserved_connections[0..262143]
  tcp_keepalives_count[0..2147483647] unix_socket_permissions[0..511] vacuum_cost_limit[1..10000]
  vacuum_cost_page_dirty[0..10000] vacuum_cost_page_hit[0..10000] vacuum_cost_page_miss[0..10000]
  vacuum_freeze_min_age[0..1000000000] vacuum_freeze_table_age[0..2000000000]
  vacuum_multixact_freeze_min_age[0..1000000000] vacuum_multixact_freeze_table_age[0..2000000000]
integer - 8kB: backend_flush_after[0..256] bgwriter_flush_after[0..256] checkpoint_flush_after[0..256]
  effective_cache_size[1..2147483647] min_parallel_index_scan_size[0..715827882]
  min_parallel_table_scan_size[0..715827882] shared_buffers[16..1073741823] temp_buffers[100..1073741823]
  wal_buffers[-1..262143] wal_writer_flush_after[0..2147483647]
integer - kB: autovacuum_work_mem[-1..2147483647] gin_pending_list_limit[64..2147483647]
  log_temp_files[-1..2147483647] logical_decoding_work_mem[64..2147483647] max_stack_depth[100..2147483647]
  temp_file_limit[-1..2147483647] wal_skip_threshold[0..2147483647] work_mem[64..2147483647]
integer - min: log_rotation_age[0..35791394]
integer - ms: bgwriter_delay[10..10000] deadlock_timeout[1..2147483647]
  idle_in_transaction_session_timeout[0..2147483647] lock_timeout[0..2147483647]
  log_autovacuum_min_duration[-1..2147483647] log_min_duration_sample[-1..2147483647]
  log_min_duration_statement[-1..2147483647] max_standby_archive_delay[-1..2147483647]
  max_standby_streaming_delay[-1..2147483647] statement_timeout[0..2147483647] tcp_user_timeout[0..2147483647]
  wal_receiver_timeout[0..2147483647] wal_retrieve_retry_interval[1..2147483647] wal_sender_timeout[0..2147483647]
  wal_writer_delay[1..10000]
integer - s: archive_timeout[0..1073741823] authentication_timeout[1..600] autovacuum_naptime[1..2147483]
  checkpoint_timeout[30..86400] checkpoint_warning[0..2147483647] post_auth_delay[0..2147] pre_auth_delay[0..60]
  tcp_keepalives_idle[0..2147483647] tcp_keepalives_interval[0..2147483647] wal_receiver_status_interval[0..2147483]
integer -170000 min: old_snapshot_threshold[-1..86400]
integer - MB: max_slot_wal_keep_size[-1..2147483647] max_wal_size[2..2147483647] min_wal_size[2..2147483647]
  wal_keep_size[0..2147483647]
integer - B: log_parameter_max_length[-1..1073741823] log_parameter_max_length_on_error[-1..1073741823]
  track_activity_query_size[100..1048576]
integer 140000- -: vacuum_failsafe_age[0..2100000000] vacuum_multixact_failsafe_age[0..2100000000]
integer 140000- MB: min_dynamic_shared_memory[0..2147483647]
integer 140000- kB: huge_page_size[0..2147483647]
integer 140000- ms: client_connection_check_interval[0..2147483647] idle_session_timeout[0..2147483647]
integer 150000- -: debug_discard_caches[0..0]
integer 150000- B: wal_decode_buffer_size[65536..1073741823]
integer 150000- ms: log_startup_progress_interval[0..2147483647]
integer 160000- -: max_parallel_apply_workers_per_subscription[0..1024] reserved_connections[0..262143]
  scram_iterations[1..2147483647]
integer 160000- kB: vacuum_buffer_usage_limit[0..16777216]
integer 170000-180000 8kB: io_combine_limit[1..32]
integer 170000- -: max_notify_queue_pages[64..2147483647]
integer 170000- 8kB: commit_timestamp_buffers[0..131072] multixact_member_buffers[16..131072]
  multixact_offset_buffers[16..131072] notify_buffers[16..131072] serializable_buffers[16..131072]
  subtransaction_buffers[0..131072] transaction_buffers[0..131072]
integer 170000- min: wal_summary_keep_time[0..35791394]
integer 170000- ms: transaction_timeout[0..2147483647]
integer 180000-190000 -: io_workers[1..32]
integer 180000- -: autovacuum_vacuum_max_threshold[-1..2147483647] autovacuum_worker_slots[1..262143]
  io_max_concurrency[-1..1024] max_active_replication_origins[0..262143]
integer 180000- 8kB: io_combine_limit[1..128] io_max_combine_limit[1..128]
integer 180000- kB: log_rotation_size[0..2147483647] maintenance_work_mem[64..2147483647]
integer 180000- s: idle_replication_slot_timeout[0..2147483647]
integer 190000- -: autovacuum_max_parallel_workers[0..1024] io_max_workers[1..32] io_min_workers[1..32]
  max_repack_replication_slots[0..262143]
integer 190000- ms: io_worker_idle_timeout[0..2147483647] io_worker_launch_interval[0..2147483647]
  log_autoanalyze_min_duration[-1..2147483647] wal_sender_shutdown_timeout[-1..2147483647]
integer 190000- s: password_expiration_warning_threshold[0..2147483647]
real - -: autovacuum_analyze_scale_factor[0..100] autovacuum_vacuum_insert_scale_factor[0..100]
  autovacuum_vacuum_scale_factor[0..100] bgwriter_lru_multiplier[0..10] checkpoint_completion_target[0..1]
  cpu_index_tuple_cost[0..1.79769e+308] cpu_operator_cost[0..1.79769e+308] cpu_tuple_cost[0..1.79769e+308]
  cursor_tuple_fraction[0..1] geqo_seed[0..1] geqo_selection_bias[1.5..2] hash_mem_multiplier[1..1000]
  jit_above_cost[-1..1.79769e+308] jit_inline_above_cost[-1..1.79769e+308] jit_optimize_above_cost[-1..1.79769e+308]
  log_statement_sample_rate[0..1] log_transaction_sample_rate[0..1] parallel_setup_cost[0..1.79769e+308]
  parallel_tuple_cost[0..1.79769e+308] random_page_cost[0..1.79769e+308] seq_page_cost[0..1.79769e+308]
real -140000 -: vacuum_cleanup_index_scale_factor[0..1e10]
real - ms: autovacuum_vacuum_cost_delay[-1..100] vacuum_cost_delay[0..100]
real 150000- -: recursive_worktable_factor[0.001..1e6]
real 180000- -: vacuum_max_eager_freeze_failure_rate[0..1]
real 190000- -: autovacuum_analyze_score_weight[0..10] autovacuum_freeze_score_weight[0..10]
  autovacuum_multixact_freeze_score_weight[0..10] autovacuum_vacuum_insert_score_weight[0..10]
  autovacuum_vacuum_score_weight[0..10] min_eager_agg_group_size[0..1.79769e+308]
bool -170000 -: db_user_namespace
bool -180000 -: log_connections
bool -190000 -: escape_string_warning
bool - -: allow_system_table_mods array_nulls autovacuum bonjour check_function_bodies data_sync_retry
  debug_pretty_print debug_print_parse debug_print_plan debug_print_rewritten default_transaction_deferrable
  default_transaction_read_only enable_bitmapscan enable_gathermerge enable_hashagg enable_hashjoin
  enable_incremental_sort enable_indexonlyscan enable_indexscan enable_material enable_mergejoin enable_nestloop
  enable_parallel_append enable_parallel_hash enable_partition_pruning enable_partitionwise_aggregate
  enable_partitionwise_join enable_seqscan enable_sort enable_tidscan exit_on_error fsync full_page_writes geqo
  hot_standby hot_standby_feedback ignore_checksum_failure ignore_invalid_pages ignore_system_indexes jit
  jit_debugging_support jit_dump_bitcode jit_expressions jit_profiling_support jit_tuple_deforming krb_caseins_users
  lo_compat_privileges log_checkpoints log_disconnections log_duration log_executor_stats log_hostname log_lock_waits
  log_parser_stats log_planner_stats log_replication_commands log_statement_stats log_truncate_on_rotation
  logging_collector parallel_leader_participation quote_all_identifiers restart_after_crash row_security ssl
  ssl_passphrase_command_supports_reload ssl_prefer_server_ciphers standard_conforming_strings synchronize_seqscans
  syslog_sequence_numbers syslog_split_messages trace_notify trace_sort track_activities track_commit_timestamp
  track_counts track_io_timing transaction_deferrable transaction_read_only transform_null_equals update_process_title
  wal_init_zero wal_log_hints wal_receiver_create_temp_slot wal_recycle zero_damaged_pages
bool -140000 -: operator_precedence_warning
bool -150000 -: wal_compression
bool 130008-130099 -: allow_in_place_tablespaces
bool 140000- -: enable_async_append log_recovery_conflict_waits remove_temp_files_after_crash track_wal_io_timing
bool 140005-140099 -: allow_in_place_tablespaces
bool 150000- -: allow_in_place_tablespaces enable_memoize
bool 160000- -: enable_presorted_aggregate gss_accept_delegation send_abort_for_crash send_abort_for_kill
bool 170000- -: allow_alter_system enable_group_by_reordering event_triggers summarize_wal sync_replication_slots
  trace_connection_negotiation
bool 180000- -: enable_distinct_reordering enable_self_join_elimination log_lock_failures md5_password_warnings
  track_cost_delay_timing vacuum_truncate
bool 190000- -: debug_print_raw_parse enable_eager_aggregate ssl_sni
string -150000 -: stats_temp_directory
string - -: application_name archive_command backtrace_functions bonjour_name client_encoding cluster_name config_file
  data_directory DateStyle default_table_access_method default_tablespace default_text_search_config
  dynamic_library_path event_source external_pid_file hba_file ident_file jit_provider krb_server_keyfile lc_messages
  lc_monetary lc_numeric lc_time listen_addresses local_preload_libraries log_destination log_directory log_filename
  log_line_prefix log_timezone search_path session_preload_libraries shared_preload_libraries ssl_ca_file
  ssl_cert_file ssl_ciphers ssl_crl_file ssl_dh_params_file ssl_key_file ssl_passphrase_command
  synchronous_standby_names syslog_ident temp_tablespaces TimeZone timezone_abbreviations unix_socket_directories
  unix_socket_group wal_consistency_checking
string -180000 -: ssl_ecdh_curve
string 130016-130099 -: restrict_nonsystem_relation_kind
string 140000-180000 -: extension_destdir
string 140000- -: ssl_crl_dir
string 140013-140099 -: restrict_nonsystem_relation_kind
string 150000- -: archive_library
string 150008-150099 -: restrict_nonsystem_relation_kind
string 160000- -: createrole_self_grant debug_io_direct
string 160004-160099 -: restrict_nonsystem_relation_kind
string 170000- -: restrict_nonsystem_relation_kind synchronized_standby_slots
string 180000- -: extension_control_path log_connections oauth_validator_libraries ssl_groups ssl_tls13_ciphers
string 190000- -: hosts_file log_min_messages
enumbool - -: archive_mode[always]
enumbool - -: backslash_quote[safe_encoding]
enum - -: bytea_output[escape|hex]
enum - -: client_min_messages[debug5|debug4|debug3|debug2|debug1|log|notice|warning|error]
enumbool 140000-150000 -: compute_query_id[auto]
enumbool 150000- -: compute_query_id[auto|regress]
enumbool - -: constraint_exclusion[partition]
enum 170000- -: debug_logical_replication_streaming[buffered|immediate]
enumbool 160000- -: debug_parallel_query[regress]
enum 140000- -: default_toast_compression[pglz|lz4]
enum - -: default_transaction_isolation[serializable|repeatable_read|read_committed|read_uncommitted]
enum - -: dynamic_shared_memory_type[posix|sysv|mmap]
enum 180000- -: file_copy_method[copy|clone]
enum 190000- -: file_extend_method[posix_fallocate|write_zeros]
enumbool -160000 -: force_parallel_mode[regress]
enumbool - -: huge_pages[try]
enum 160000- -: icu_validation_level[disabled|debug5|debug4|debug3|debug2|debug1|log|notice|warning|error]
enum - -: IntervalStyle[postgres|postgres_verbose|sql_standard|iso_8601]
enum 180000- -: io_method[sync|worker|io_uring]
enum - -: log_error_verbosity[terse|default|verbose]
enum - -: log_min_error_statement[debug5|debug4|debug3|debug2|debug1|info|notice|warning|error|log|fatal|panic]
enum -190000 -: log_min_messages[debug5|debug4|debug3|debug2|debug1|info|notice|warning|error|log|fatal|panic]
enum - -: log_statement[none|ddl|mod|all]
enum 160000-170000 -: logical_replication_mode[buffered|immediate]
enum - -: password_encryption[md5|scram-sha-256]
enum - -: plan_cache_mode[auto|force_generic_plan|force_custom_plan]
enum 140000- -: recovery_init_sync_method[fsync|syncfs]
enumbool 150000- -: recovery_prefetch[try]
enum - -: session_replication_role[origin|replica|local]
enum - -: shared_memory_type[sysv|mmap]
enum - -: ssl_max_protocol_version[|tlsv1|tlsv1.1|tlsv1.2|tlsv1.3]
enum - -: ssl_min_protocol_version[tlsv1|tlsv1.1|tlsv1.2|tlsv1.3]
enum 150000- -: stats_fetch_consistency[none|cache|snapshot]
enumbool - -: synchronous_commit[local|remote_write|remote_apply]
enum - -: syslog_facility[local0|local1|local2|local3|local4|local5|local6|local7]
enum 190000- -: timing_clock_source[auto|system|tsc]
enum -170000 -: trace_recovery_messages[debug5|debug4|debug3|debug2|debug1|log|notice|warning|error]
enum - -: track_functions[none|pl|all]
enum - -: transaction_isolation[serializable|repeatable_read|read_committed|read_uncommitted]
enumbool 150000- -: wal_compression[pglz|lz4|zstd]
enum - -: wal_level[minimal|replica|logical]
enum - -: wal_sync_method[fsync|fdatasync|open_sync|open_datasync]
enum - -: xmlbinary[base64|hex]
enum - -: xmloption[content|document]
"""
