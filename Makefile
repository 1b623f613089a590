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
	src/base/catalog.o \
	src/base/copied.o \
	src/base/error.o \
	src/base/fingerprint.o \
	src/base/outcome.o \
	src/base/result.o \
	src/base/rights.o \
	src/base/role.o \
	src/base/settings.o \
	src/base/span.o \
	src/base/told.o \
	src/base/unique.o \
	src/check/difference.o \
	src/check/images.o \
	src/check/twice.o \
	src/check/written.o \
	src/consume/advance.o \
	src/consume/batch.o \
	src/consume/consume.o \
	src/consume/consumer.o \
	src/consume/message.o \
	src/consume/twin.o \
	src/execute/command.o \
	src/execute/execute.o \
	src/execute/params.o \
	src/execute/rows.o \
	src/history/history.o \
	src/history/recall.o \
	src/key/claim.o \
	src/key/key.o \
	src/key/keyed.o \
	src/key/keyrow.o \
	src/key/lease.o \
	src/key/newkey.o \
	src/key/scope.o \
	src/lifecycle/attach.o \
	src/lifecycle/intent.o \
	src/lifecycle/lifecycle.o \
	src/lifecycle/movement.o \
	src/lifecycle/version.o \
	src/machine/census.o \
	src/machine/compile.o \
	src/machine/define.o \
	src/machine/definition.o \
	src/machine/followers.o \
	src/machine/graph.o \
	src/machine/guard.o \
	src/machine/machine.o \
	src/machine/shipped.o \
	src/machine/signature.o \
	src/purge/ended.o \
	src/purge/launcher.o \
	src/purge/purge.o \
	src/purge/purger.o \
	src/purge/worker.o \
	src/run/alone.o \
	src/run/direct.o \
	src/run/helper.o \
	src/run/latest.o \
	src/run/owner.o \
	src/run/plans.o \
	src/run/query.o \
	src/run/ticket.o \
	src/table/field.o \
	src/table/follow.o \
	src/table/partition.o \
	src/table/probe.o \
	src/table/revision.o \
	src/table/rowid.o \
	src/table/rowjson.o \
	src/table/rowkey.o \
	src/table/status.o \
	src/table/table.o \
	src/table/tableref.o \
	src/table/value.o \
	src/transition/allowed.o \
	src/transition/change.o \
	src/transition/place.o \
	src/transition/record.o \
	src/transition/request.o \
	src/transition/stage.o \
	src/transition/transition.o \
	src/transition/transition_set.o \
	src/update/patch.o \
	src/update/update.o \
	src/upsert/merge.o \
	src/upsert/put.o \
	src/upsert/shape.o \
	src/upsert/target.o \
	src/upsert/trial.o \
	src/upsert/union.o \
	src/upsert/upsert.o \
	src/idem.o
# an include names the folder: "key/key.h"
PG_CPPFLAGS = -I$(srcdir)/src
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
$(OBJS) $(OBJS:.o=.bc): $(wildcard src/*/*.h)
endif
