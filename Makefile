# idem: makes retries safe inside the database.
#
#   make demo         the main job, on a throwaway server
#   make check        build, and pass every test, on throwaway servers
#   make storm        random schedules, for DURATION=2h or so
#   make mutants      faults planted into idem, each of which the storm has to find
#   make matrix       the check on all versions of PostgreSQL that can be had
#   make sanitize     the tests with sanitizers and valgrind
#   make fuzz         random statements, with sanitizers, for DURATION=20m or so
#   make package      Debian packages, built, installed and tested in Debians of their own
#   make dist         the archives of a release, out of the last commit
#   make coverage     which lines the tests do not run
#   make              build for the PostgreSQL that pg_config tells of
#   make install      install there
#   make installcheck regression and isolation tests against a running server

EXTENSION = idem
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" idem.control)

MODULE_big = idem
OBJS = \
	src/base/apply_trigger.o \
	src/base/argument.o \
	src/base/catalog.o \
	src/base/error.o \
	src/base/fingerprint.o \
	src/base/index_usable.o \
	src/base/interval.o \
	src/base/invalidation.o \
	src/base/outcome.o \
	src/base/result_tuple.o \
	src/base/rights.o \
	src/base/role.o \
	src/base/routed.o \
	src/base/settings.o \
	src/base/table_shape.o \
	src/base/unique_index.o \
	src/check/check.o \
	src/check/constraint_modes.o \
	src/check/row_diff.o \
	src/check/row_images.o \
	src/check/write_set.o \
	src/consume/advance.o \
	src/consume/consume.o \
	src/consume/consumer.o \
	src/consume/index_twin.o \
	src/consume/message.o \
	src/consume/message_batch.o \
	src/consume/message_find.o \
	src/consume/message_store.o \
	src/execute/command.o \
	src/execute/execute.o \
	src/execute/jsonb_receiver.o \
	src/execute/params.o \
	src/health/audit.o \
	src/health/audit_keys.o \
	src/health/audit_rows.o \
	src/health/claims_view.o \
	src/health/health.o \
	src/health/health_lease.o \
	src/health/health_purge.o \
	src/history/history_order.o \
	src/history/history_read.o \
	src/history/history_select.o \
	src/history/history_write.o \
	src/http/http_key.o \
	src/http/http_status.o \
	src/key/answer.o \
	src/key/checkpoints.o \
	src/key/claim.o \
	src/key/current_key.o \
	src/key/forget.o \
	src/key/key.o \
	src/key/key_generate.o \
	src/key/key_init.o \
	src/key/key_lock.o \
	src/key/key_store.o \
	src/key/key_table.o \
	src/key/key_many.o \
	src/key/key_write.o \
	src/key/lease.o \
	src/key/lease_claim.o \
	src/key/lookup.o \
	src/key/refusal.o \
	src/key/scope.o \
	src/lifecycle/attach.o \
	src/lifecycle/attach_ddl.o \
	src/lifecycle/departure.o \
	src/lifecycle/lifecycle_trigger.o \
	src/lifecycle/row_movement.o \
	src/lifecycle/transition_context.o \
	src/lifecycle/version_trigger.o \
	src/machine/attached_tables.o \
	src/machine/guard.o \
	src/machine/guard_signature.o \
	src/machine/machine.o \
	src/machine/machine_builtin.o \
	src/machine/machine_define.o \
	src/machine/machine_graph.o \
	src/machine/machine_load.o \
	src/machine/machine_parse.o \
	src/machine/state_counts.o \
	src/outbox/emit.o \
	src/outbox/outbox_era.o \
	src/outbox/outbox_place.o \
	src/outbox/outbox_purge.o \
	src/outbox/outbox_read.o \
	src/purge/bgworker.o \
	src/purge/purge.o \
	src/purge/purge_blocks.o \
	src/purge/purge_delete.o \
	src/purge/purge_launcher.o \
	src/purge/purge_note.o \
	src/purge/purge_ranges.o \
	src/purge/purge_stores.o \
	src/purge/purge_tables.o \
	src/purge/purge_told.o \
	src/purge/purge_work.o \
	src/purge/purge_worker.o \
	src/run/committed_row.o \
	src/run/definition.o \
	src/run/named_objects.o \
	src/run/operation.o \
	src/run/own_names.o \
	src/run/plan_cache.o \
	src/run/planner_hook.o \
	src/run/reading_write.o \
	src/run/row_delete.o \
	src/run/simple_dml.o \
	src/run/sole_call.o \
	src/run/spi.o \
	src/run/spi_caller.o \
	src/run/spi_own.o \
	src/run/subtransaction.o \
	src/run/ticket.o \
	src/run/usercontext.o \
	src/saga/saga_argument.o \
	src/saga/saga_barrier.o \
	src/saga/saga_begin.o \
	src/saga/saga_claim.o \
	src/saga/saga_do.o \
	src/saga/saga_json.o \
	src/saga/saga_key.o \
	src/saga/saga_parse.o \
	src/saga/saga_pick.o \
	src/saga/saga_purge.o \
	src/saga/saga_report.o \
	src/saga/saga_resolve.o \
	src/saga/saga_rules.o \
	src/saga/saga_start.o \
	src/saga/saga_table.o \
	src/saga/saga_view.o \
	src/saga/saga_write.o \
	src/session/entry.o \
	src/session/executor_hooks.o \
	src/session/lose_ack.o \
	src/session/notify_hook.o \
	src/session/record.o \
	src/session/record_size.o \
	src/session/row_text.o \
	src/session/savepoint.o \
	src/session/session.o \
	src/session/statement_answer.o \
	src/session/statement_key.o \
	src/session/statement_run.o \
	src/session/utility_hook.o \
	src/session/volatile_calls.o \
	src/stats/stats_counter.o \
	src/stats/stats_memory.o \
	src/stats/stats_shared.o \
	src/stats/stats_view.o \
	src/store/store.o \
	src/store/store_create.o \
	src/store/store_run.o \
	src/table/attachment.o \
	src/table/attachment_choice.o \
	src/table/column_sql.o \
	src/table/jsonb_to_datum.o \
	src/table/partition_root.o \
	src/table/pk_argument.o \
	src/table/pk_json.o \
	src/table/pk_value.o \
	src/table/routed_row.o \
	src/table/row_to_jsonb.o \
	src/table/row_version.o \
	src/table/sql_name.o \
	src/table/state_column.o \
	src/table/tableref.o \
	src/table/target.o \
	src/table/target_check.o \
	src/table/trial_write.o \
	src/transition/allowed_transitions.o \
	src/transition/ctid_support.o \
	src/transition/transition.o \
	src/transition/transition_answer.o \
	src/transition/transition_args.o \
	src/transition/transition_exec.o \
	src/transition/transition_set.o \
	src/transition/transition_target.o \
	src/update/update.o \
	src/update/update_exec.o \
	src/update/update_target.o \
	src/upsert/conflict_row.o \
	src/upsert/insert_direct.o \
	src/upsert/insert_first.o \
	src/upsert/insert_values.o \
	src/upsert/merge.o \
	src/upsert/merge_union.o \
	src/upsert/upsert.o \
	src/upsert/upsert_call.o \
	src/upsert/upsert_deparse.o \
	src/upsert/upsert_exec.o \
	src/upsert/upsert_routed.o \
	src/upsert/upsert_run.o \
	src/upsert/upsert_chunk.o \
	src/upsert/upsert_set.o \
	src/upsert/upsert_target.o \
	src/idem.o
# an include names the folder: "key/key.h"
PG_CPPFLAGS = -I$(srcdir)/src
DATA = $(wildcard idem--*.sql)
PGFILEDESC = "idem - makes retries safe inside the database"

REGRESS = $(patsubst sql/%.sql,%,$(sort $(wildcard sql/*.sql)))
ISOLATION = $(patsubst specs/%.spec,%,$(sort $(wildcard specs/*.spec)))

PG_CONFIG ?= pg_config

# These work before there is a PostgreSQL to build for: they install it.
TASKS = check coverage demo dist fuzz matrix mutants package sanitize storm
.PHONY: $(TASKS)

ifneq (,$(filter $(TASKS),$(MAKECMDGOALS)))
$(TASKS):
	@scripts/$@
else
PGXS := $(shell $(PG_CONFIG) --pgxs)
ifeq (,$(wildcard $(PGXS)))
$(error PG_CONFIG=$(PG_CONFIG) leads to no server development files; \
	they are in packages like postgresql-server-dev-NN)
endif
include $(PGXS)

# PGXS does not know which headers an object was made from.
$(OBJS) $(OBJS:.o=.bc): $(wildcard src/*/*.h)
endif
