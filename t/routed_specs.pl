# The isolation tests once more where keys are in a store and all tables are reached as if
# an engine kept them elsewhere (t/routed.pl): the sessions wait for each other, and are
# answered, as they are with ordinary tables.  What differs has its reason below; any other
# test is compared.
use strict;
use warnings;

use File::Basename;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = dirname(__FILE__) . '/..';
my $tester = dirname($ENV{PG_REGRESS}) . '/../isolation/isolationtester';

plan skip_all => 'there is no isolationtester' unless -x $tester;

my %otherwise = (
	'is one of a store itself, which it makes, and routes where it is to be' => [ qw(
		purge_stores_locked store_claim_race store_consume_race store_keeper store_key_race store_purge_race
		store_race store_snapshot store_transition_race) ],
	'sagas and the outbox are refused' => [ qw(
		outbox_read saga_barrier_race saga_purge_race saga_race saga_start_race) ],
	'a history is refused' => [ qw(
		history_changes history_locked lifecycle_detached_partition
		lifecycle_several_read_committed lifecycle_several_repeatable_read
		lifecycle_several_serializable transition_analyzed transition_moved) ],
	'idem_check() is refused' => [ qw(
		check_concurrent check_constraints) ],
	'idem_forget_scope() is refused' => [ qw(
		key_forget_race key_forget_under_way) ],
	'looks at the extension\'s own tables, not at stores' => [ qw(
		health_audit_locked health_claims health_locked purge_ranges_race) ],
	'code on the table of keys, which a store has not' => [ qw(
		purge_trigger_race) ],
	'looks at the locks of keys, which are others, and last to the end of the transaction' => [ qw(
		key_busy) ],
	'a busy key of another role is waited for, and not refused at once' => [ qw(
		key_no_wait key_owner_busy) ],
	'a statement of the call has locked the table of keys, which the test locks as well' => [ qw(
		key_moved_row upsert_set_waits) ],
	'a snapshot is kept by look-ups, too, and a message that is late is not waited for' => [ qw(
		consume_advance_range consume_expired consume_same_message consume_seen purge_messages) ],
	'a live row stands for itself, though its transaction is under way, and a row that is being written is not seen' => [ qw(
		key_claim_holder key_replaying purge_claim) ],
	'what statements read at SERIALIZABLE makes PostgreSQL have more transactions run again' => [ qw(
		key_claim_race key_two purge_upsert transition_serializable transition_set_serializable) ],
	'the key of a transaction is met where it is written, at the end' => [ qw(
		session_race) ],
	'upserts by an INSERT first, whatever is expected, and by one statement' => [ qw(
		upsert_expected_race upsert_insert_race) ],
	'a trigger changes the key of what is upserted, which is refused' => [ qw(
		upsert_conflict_race) ],
);

my %left_out = map { $_ => 1 } map { @$_ } values %otherwise;
my @all = map { basename($_, '.spec') } sort glob("$top/specs/*.spec");
my @same = grep { !$left_out{$_} } @all;

is(scalar(grep { $left_out{$_} } @all), scalar(keys %left_out), 'what is left out is there');

my $node = PostgreSQL::Test::Cluster->new('specs');
$node->init(extra => [ '--locale=C', '--encoding=UTF8' ]);
$node->append_conf('postgresql.conf', "allow_system_table_mods = on\nidem.store = 'store'\nfsync = off\nmax_prepared_transactions = 10\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION idem;
	SELECT idem_store_create('store');
	GRANT USAGE ON SCHEMA store TO PUBLIC;
	GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA store TO PUBLIC;
	CREATE TABLE pg_catalog.pg_dist_partition (logicalrelid regclass PRIMARY KEY);
	GRANT SELECT ON pg_catalog.pg_dist_partition TO PUBLIC;
	CREATE FUNCTION mark_routed() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog
	AS $$
	BEGIN
		INSERT INTO pg_dist_partition SELECT objid FROM pg_event_trigger_ddl_commands()
		WHERE classid = 'pg_class'::regclass AND object_type = 'table' ON CONFLICT DO NOTHING;
	END
	$$;
	CREATE EVENT TRIGGER mark_routed ON ddl_command_end
		WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS') EXECUTE FUNCTION mark_routed();
	INSERT INTO pg_catalog.pg_dist_partition
		SELECT oid FROM pg_class WHERE relnamespace = 'store'::regnamespace AND relkind = 'r';
});

# What says that a transaction has to be run again, in the words of what met the other:
# the primary key does, where a row that is elsewhere could not be looked at.
sub comparable
{
	return $_[0] =~ s/^(ERROR:  could not serialize access) .*$/$1/mgr;
}

$ENV{PGTZ} = 'PST8PDT';
$ENV{PGDATESTYLE} = 'Postgres, MDY';
$ENV{PGOPTIONS} = '-c intervalstyle=postgres_verbose -c lc_messages=C';
foreach my $spec ($ENV{IDEM_SPECS} ? split(/ /, $ENV{IDEM_SPECS}) : @same)
{
	my $text = slurp_file("$top/specs/$spec.spec");
	my $out = '';

	$text =~ s/(?<![.\w])(idem_(?:key|message|offset))\b(?!\()/store.$1/g;
	IPC::Run::run([ 'timeout', $PostgreSQL::Test::Utils::timeout_default, $tester, $node->connstr('postgres') ],
		'<', \$text, '>', \$out, '2>&1');
	$out =~ s/"store"\.|\bstore\.//g;
	is(comparable($out), comparable(slurp_file("$top/expected/$spec.out")), $spec);
}

$node->stop;
done_testing();
