# idem: makes retries safe inside the database.
#
#   make demo         the main job, on a throwaway server
#   make check        build, and pass every test, on throwaway servers
#   make              build for the PostgreSQL that pg_config tells of
#   make install      install there
#   make installcheck regression and isolation tests against a running server

EXTENSION = idem
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" idem.control)

MODULE_big = idem
OBJS = \
	src/alone.o \
	src/advance.o \
	src/allowed.o \
	src/attach.o \
	src/batch.o \
	src/catalog.o \
	src/census.o \
	src/change.o \
	src/claim.o \
	src/command.o \
	src/compile.o \
	src/consume.o \
	src/consumer.o \
	src/copied.o \
	src/define.o \
	src/definition.o \
	src/difference.o \
	src/direct.o \
	src/ended.o \
	src/error.o \
	src/execute.o \
	src/field.o \
	src/fingerprint.o \
	src/follow.o \
	src/followers.o \
	src/graph.o \
	src/guard.o \
	src/helper.o \
	src/history.o \
	src/idem.o \
	src/images.o \
	src/intent.o \
	src/key.o \
	src/keyed.o \
	src/keyrow.o \
	src/launcher.o \
	src/latest.o \
	src/lease.o \
	src/lifecycle.o \
	src/machine.o \
	src/merge.o \
	src/message.o \
	src/movement.o \
	src/newkey.o \
	src/outcome.o \
	src/owner.o \
	src/params.o \
	src/partition.o \
	src/patch.o \
	src/place.o \
	src/plans.o \
	src/probe.o \
	src/purge.o \
	src/purger.o \
	src/put.o \
	src/query.o \
	src/recall.o \
	src/record.o \
	src/request.o \
	src/result.o \
	src/revision.o \
	src/rights.o \
	src/role.o \
	src/rowid.o \
	src/rowjson.o \
	src/rowkey.o \
	src/rows.o \
	src/scope.o \
	src/settings.o \
	src/shape.o \
	src/shipped.o \
	src/span.o \
	src/signature.o \
	src/stage.o \
	src/status.o \
	src/table.o \
	src/tableref.o \
	src/target.o \
	src/ticket.o \
	src/told.o \
	src/transition.o \
	src/transition_set.o \
	src/trial.o \
	src/twice.o \
	src/twin.o \
	src/union.o \
	src/unique.o \
	src/update.o \
	src/upsert.o \
	src/value.o \
	src/version.o \
	src/worker.o \
	src/written.o
DATA = $(wildcard idem--*.sql)
PGFILEDESC = "idem - makes retries safe inside the database"

REGRESS = $(patsubst sql/%.sql,%,$(sort $(wildcard sql/*.sql)))
ISOLATION = $(patsubst specs/%.spec,%,$(sort $(wildcard specs/*.spec)))

PG_CONFIG ?= pg_config

# These work before there is a PostgreSQL to build for: they install it.
TASKS = check demo matrix
.PHONY: $(TASKS) dist

ifneq (,$(filter $(TASKS),$(MAKECMDGOALS)))
$(TASKS):
	@scripts/$@
else ifeq (dist,$(MAKECMDGOALS))
dist:
	@grep -q '"version": "$(EXTVERSION)\.[0-9]*"' META.json || \
		{ echo 'META.json is not about version $(EXTVERSION)'; exit 1; }
	git archive --format zip --prefix=idem-$(EXTVERSION)/ \
		--output idem-$(EXTVERSION).zip HEAD
else
PGXS := $(shell $(PG_CONFIG) --pgxs)
ifeq (,$(wildcard $(PGXS)))
$(error PG_CONFIG=$(PG_CONFIG) leads to no server development files; \
	they are in packages like postgresql-server-dev-NN)
endif
include $(PGXS)

# PGXS does not know which headers an object was made from.
$(OBJS) $(OBJS:.o=.bc): $(wildcard src/*.h)
endif
