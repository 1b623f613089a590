# Eight clients make every kind of call, at every isolation level, while all tables
# that they use, and idem's own, are moved, clustered, reindexed, analyzed, altered
# and purged round and round: no answer stands under another key, everything is done
# once, and no call fails of it.  IDEM_STORM_SECONDS says for how long.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use IO::Handle;
use IPC::Open2;
use List::Util qw(shuffle);
use POSIX qw(WNOHANG);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use Calls;

my $seconds = $ENV{IDEM_STORM_SECONDS} // 20;
my $seed = $ENV{IDEM_STORM_SEED} // int rand 1_000_000;
my $clients = 8;
my $calls = 100_000;		# of a client, at most
my $columns = 300;			# added and dropped again, at most: a table has room for 1600
my $parent = $$;

note "IDEM_STORM_SEED=$seed, for $seconds s";

my $node = PostgreSQL::Test::Cluster->new('maintenance');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'idem'
idem.purge_naptime = '100ms'
idem.purge_batch_size = 10
autovacuum_naptime = '1s'
statement_timeout = '100s'
log_line_prefix = '%m [%p] %e %a '
log_statement = 'none'
});
$node->start;
$node->safe_psql('postgres', "CREATE EXTENSION idem; $Calls::schema");

my @psql = ($node->installed_command('psql'), '-d',
	$node->connstr('postgres') . ' application_name=client');
my $stop = $node->basedir . '/stop';

sub write_down
{
	my ($name, @lines) = @_;

	append_to_file($node->basedir . "/$name", join '', map { "$_\n" } @lines);
}

# A client, which writes down what it was told when it is told to stop.
sub run_client
{
	my ($number) = @_;
	my $client = Calls->new($number, @psql);

	srand($seed + $number);
	$SIG{PIPE} = 'IGNORE';
	eval {
		while (!-e $stop && getppid() == $parent && $client->{calls} < $calls && !$client->gives_up)
		{
			$client->call;
		}
		1;
	} or $client->fault($@);
	write_down("told.$number", map { "$_\t$client->{tally}{$_}" } keys %{ $client->{tally} });
	write_down("faults.$number", @{ $client->{faults} });
	write_down("states.$number", map { "$_ $client->{states}{$_}" } keys %{ $client->{states} });
	close $client->{in};
	waitpid $client->{pid}, 0;
	POSIX::_exit(0);
}

# What is done to each table in a round.  Of the extension's, no columns.
my @tables = split /\n/, $node->safe_psql('postgres', q{
	SELECT concat_ws(' ', c.relname, c.relkind, d.objid IS NOT NULL,
		(SELECT quote_ident(max(attname)) FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0
			AND atttypid IN ('text'::regtype, 'int8'::regtype, 'int4'::regtype, 'timestamptz'::regtype)),
		(SELECT string_agg(indexrelid::regclass::text, ' ') FROM pg_index WHERE indrelid = c.oid))
	FROM pg_class AS c
		LEFT JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
	WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace ORDER BY 1});
sub work_on
{
	my ($round, $table, $kind, $of_extension, $column, @indexes) = @_;
	my @work = (
		"VACUUM FULL $table", "VACUUM $table", "VACUUM (FREEZE) $table", "ANALYZE $table");

	# Of a partitioned table REINDEX locks all partitions, or their indexes, one
	# after the other, and so deadlocks with whatever statement writes to two of
	# them in another order.  The partitions have their turn.  REINDEX TABLE does
	# so with the indexes of one table, and deadlocks with a transaction that uses
	# one of them in a kept plan and then another.  The indexes have their turn.
	push @work, "REINDEX TABLE $table" if $kind eq 'r' && @indexes < 2;
	push @work, "REINDEX TABLE CONCURRENTLY $table" if $kind eq 'r';
	foreach my $index (@indexes)
	{
		push @work, "CLUSTER $table USING $index";
		push @work, "REINDEX INDEX CONCURRENTLY $index", "REINDEX INDEX $index" if $kind eq 'r';
	}
	if ($kind eq 'r')
	{
		push @work, "ALTER TABLE $table SET (fillfactor = " . (50 + int rand 50) . ')',
			"CREATE INDEX CONCURRENTLY ${table}_extra ON $table ($column);\n"
				. "DROP INDEX CONCURRENTLY ${table}_extra",
			"CREATE INDEX ${table}_extra ON $table ($column);\nDROP INDEX ${table}_extra";
	}
	push @work, "ALTER TABLE $table ADD COLUMN more int DEFAULT 1;\nALTER TABLE $table DROP COLUMN more"
	  if $of_extension eq 'f' && $table !~ /_[01]$/ && $round < $columns;
	return @work;
}

# Brings the rows of the table of keys, and of some other, into another order.
sub stir
{
	my @some = (grep({ /^idem_key / } @tables), $tables[int rand @tables]);

	return map {
		my ($table, undef, undef, undef, @indexes) = split / /;
		@indexes ? "CLUSTER $table USING $indexes[int rand @indexes]" : "VACUUM FULL $table";
	} @some;
}

# Gives an order and returns what went wrong.
my $maintainer = open2(my $out, my $in, @psql, '-XAtq', '-v', 'VERBOSITY=verbose');
$in->autoflush(1);
sub order
{
	my ($sql) = @_;

	print $in "$sql;\n\\echo END :SQLSTATE :LAST_ERROR_MESSAGE\n";
	while (defined(my $line = <$out>))
	{
		return $line =~ /^END 00000/ ? () : "$line at $sql" if $line =~ /^END/;
	}
	return "connection lost at $sql";
}

my @running;
foreach my $number (1 .. $clients)
{
	my $pid = fork() // die "fork: $!";

	run_client($number) if $pid == 0;
	push @running, $pid;
}

# Until the time is over, or a client has ended.
my ($round, $done, $ended, @failed, @work) = (0, 0, 0);
my $until = time + $seconds;
srand($seed);
while (time < $until && !$ended)
{
	@work = shuffle(map { work_on($round, split / /) } @tables), $round++ if !@work;
	foreach my $sql (map { split /;\n/ } shift @work, stir())
	{
		push @failed, order($sql);
		$done++;
	}
	$ended = waitpid(-1, WNOHANG);
}
append_to_file($stop, '');
waitpid $_, 0 foreach @running;
cmp_ok($done, '>', $seconds, "$done orders were given, in round $round");
is(join("\n", splice @failed, 0, 20), '', 'all tables were moved, and all the rest');

my (%states, @faults);
foreach my $number (1 .. $clients)
{
	push @faults, split /\n/, slurp_file($node->basedir . "/faults.$number");
	foreach (split /\n/, slurp_file($node->basedir . "/states.$number"))
	{
		my ($state, $count) = split / /;
		$states{$state} += $count;
	}
}
note 'answers: ', join ', ', map { "$states{$_} $_" } sort keys %states;
is(join("\n", splice @faults, 0, 20), '', 'nobody was answered what is not so');
my @grave = grep { /\] (XX|40P)\S+ |PANIC:|TRAP:|terminated by signal/ } split /\n/, slurp_file($node->logfile);
is(join("\n", splice @grave, 0, 20), '', 'no internal error, no deadlock, no crash');

# What was told against what is there.
$node->safe_psql('postgres', q{CREATE TABLE told (what text, key text, n bigint,
	item text GENERATED ALWAYS AS (regexp_replace(key, ' \S+$', '')) STORED,
	last text GENERATED ALWAYS AS (regexp_replace(key, '.* ', '')) STORED)});
$node->safe_psql('postgres', "\\copy told (what, key, n) FROM '" . $node->basedir . "/told.$_'") foreach 1 .. $clients;
foreach my $check (
	[ 'every row was inserted once', q{
		SELECT key, sum(n), there FROM (SELECT * FROM told WHERE what = 'upsert') AS t
			FULL JOIN (SELECT key, count(*) AS there FROM (
				SELECT key FROM thing WHERE id >= 0 UNION ALL SELECT key FROM named UNION ALL
				SELECT key FROM piece UNION ALL SELECT key FROM orders) AS a GROUP BY key) AS r USING (key)
		GROUP BY key, there HAVING sum(n) IS DISTINCT FROM 1 OR there IS DISTINCT FROM 1} ],
	[ 'every request to one row was done once', q{
		SELECT key, sum(n) FROM told WHERE what = 'conflict' GROUP BY key HAVING sum(n) <> 1} ],
	[ 'what was merged is there', q{
		SELECT coalesce(t.key, r.key) FROM (SELECT DISTINCT key FROM told WHERE what = 'merge') AS t
			FULL JOIN (SELECT id || ' ' || unnest(tags) AS key FROM thing WHERE id < 0) AS r ON t.key = r.key
		WHERE t.key IS NULL OR r.key IS NULL} ],
	[ 'every effect was had once', q{
		SELECT key, sum(n), there FROM (SELECT * FROM told WHERE what = 'effect') AS t
			FULL JOIN (SELECT concat_ws(' ', what, key) AS key, count(*) AS there FROM effect GROUP BY 1) AS r USING (key)
		GROUP BY key, there HAVING sum(n) IS DISTINCT FROM 1 OR there IS DISTINCT FROM 1} ],
	[ 'every balance is what was added', q{
		SELECT id, balance, (SELECT sum(n) FROM told WHERE what = 'account' AND key = id::text)
		FROM account WHERE balance IS DISTINCT FROM
			(SELECT coalesce(sum(n), 0) FROM told WHERE what = 'account' AND key = id::text)} ],
	[ 'every version was made once', q{
		SELECT key, sum(n) FROM told WHERE what = 'version' GROUP BY key HAVING sum(n) <> 1} ],
	[ 'and each up to that of the row', q{
		SELECT r.*, t.* FROM (SELECT 'doc ' || id AS item, version FROM doc UNION ALL
				SELECT 'plain ' || id, version FROM plain UNION ALL
				SELECT 'orders ' || id, version FROM orders UNION ALL
				SELECT 'ticket ' || id, version FROM ticket) AS r
			FULL JOIN (SELECT item, count(DISTINCT key), max(last::bigint) FROM told
				WHERE what = 'version' GROUP BY item) AS t USING (item)
		WHERE r.version IS DISTINCT FROM coalesce(t.count, 0) + 1
			OR r.version IS DISTINCT FROM coalesce(t.max, 1)} ],
	[ 'every transition is in the history', q{
		SELECT key, sum(n), there FROM (
				SELECT key, n FROM told WHERE what = 'moved' UNION ALL
				SELECT key, n FROM told WHERE what = 'version' AND key LIKE 'orders %') AS t
			FULL JOIN (SELECT concat_ws(' ', target::regclass, row_key->>'id', version) AS key, count(*) AS there
				FROM idem_history WHERE from_state IS NOT NULL GROUP BY 1) AS r USING (key)
		GROUP BY key, there HAVING sum(n) IS DISTINCT FROM 1 OR there IS DISTINCT FROM 1} ],
	[ 'with its own note', q{
		SELECT * FROM idem_history WHERE from_state IS NOT NULL AND CASE target::regclass::text
			WHEN 'ticket' THEN note->>'ticket' <> row_key->>'id'
			ELSE note->>'order' IS DISTINCT FROM row_key->>'id' OR split_part(key, ' ', 2) <> row_key->>'id' END} ],
	[ 'every offset was applied once', q{
		SELECT part FROM applied GROUP BY part
		HAVING count(*) <> count(DISTINCT "offset") OR count(*) <> max("offset") + 1
			OR count(*) <> idem_offset('reader', 'log', part)
			OR count(*) <> (SELECT sum(n) FROM told WHERE what = 'offset' AND item = part::text)} ],
	[ 'every fence was given once', q{
		SELECT key, sum(n) FROM told WHERE what = 'claim' GROUP BY key HAVING sum(n) <> 1} ],
	[ 'and each up to the last', q{
		SELECT k.*, t.* FROM (SELECT key, fence FROM idem_key WHERE key LIKE 'claim %') AS k
			FULL JOIN (SELECT item, count(DISTINCT key), max(last::bigint) FROM told
				WHERE what = 'claim' GROUP BY item) AS t ON t.item = k.key COLLATE "C"
		WHERE t.count IS DISTINCT FROM k.fence OR t.max IS DISTINCT FROM k.fence} ],
	[ 'every claim was ended once, by its holder', q{
		SELECT k.key, k.outcome, k.response, array_agg(t.key), sum(t.n) FROM idem_key AS k
			LEFT JOIN told AS t ON t.what = 'ended' AND t.item = k.key COLLATE "C"
		WHERE k.key ~ '^(claim|ready) ' GROUP BY k.key, k.outcome, k.response
		HAVING CASE WHEN k.outcome IN ('completed', 'failed')
			THEN sum(t.n) IS DISTINCT FROM 1 OR max(t.last) IS DISTINCT FROM k.response->>'fence'
			ELSE sum(t.n) IS NOT NULL END} ],
	[ 'every answer stands under its own key', q{
		SELECT key, response FROM idem_key
		WHERE coalesce(response->>'key', checkpoints->-1->'data'->>'key') <>
			regexp_replace(regexp_replace(key, '^place', 'orders'), '^(named \d+) \d+$', '\1')
			AND key !~ '^(merge|write) '} ],
	[ 'by the index as by the table', q{
		SELECT count(*) FROM idem_key AS k, idem_lookup(k.key, k.scope) AS l
		WHERE k.expires_at > now() + interval '1 hour'
			AND coalesce(k.response, (checkpoints->-1) - 'at') IS DISTINCT FROM l.response
		HAVING count(*) > 0} ])
{
	my ($name, $sql) = @$check;

	is($node->safe_psql('postgres', "$sql LIMIT 10"), '', $name);
}

$node->stop;
done_testing();
