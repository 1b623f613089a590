# A machine of 40 states and random transitions: every state is tried from every
# other, in every way that SQL has of changing a row.  What is allowed, and what
# is refused, has to be what a table says that is made here, and the same in all
# ways.  Then the machine is changed into another, and all is tried again.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{IDEM_SEED} // 20261123;
my $nstates = 40;
my $density = 0.15;

note "IDEM_SEED=$seed";
srand($seed);

my $node = PostgreSQL::Test::Cluster->new('machine_random');
$node->init;
$node->append_conf('postgresql.conf', 'fsync = off');
$node->start;

# Each way has a table of its own, t_NAME, in which row 40 * f + t is to go from
# state f to state t.  $1 is the row, $2 the state; %s tells its partition.
my %ways = (
	transition => 'SELECT outcome::text FROM idem_transition(\'t_transition\', $1, $2)',
	expected => 'SELECT outcome::text FROM idem_transition(\'t_expected\', $1, $2, expected_state => \'s\' || $1 / 40)',
	several => 'SELECT outcome::text FROM idem_transition(\'t_several\', $1, $2, status => \'status\')',
	other => 'UPDATE t_other SET status = $2, n = n + 1 WHERE id = $1',
	set => 'SELECT outcome::text FROM idem_transition_batch(\'t_set\', ARRAY[to_jsonb($1)], $2)',
	plain => 'UPDATE t_plain SET status = $2 WHERE id = $1',
	copy => 'UPDATE t_copy SET status = $2 WHERE id = $1',
	merge => 'MERGE INTO t_merge t USING (VALUES ($1)) v (id) ON t.id = v.id WHEN MATCHED THEN UPDATE SET status = $2',
	conflict => 'INSERT INTO t_conflict (id, status) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET status = excluded.status',
	from => 'UPDATE t_from t SET status = s.name FROM states s WHERE s.name = $2 AND t.id = $1',
	view => 'UPDATE v_view SET state = $2 WHERE number = $1',
	upsert => 'SELECT idem_upsert(gen_random_uuid()::text, \'t_upsert\', jsonb_build_object(\'id\', $1, \'status\', $2))',
	patch => 'SELECT idem_update(\'t_patch\', $1, jsonb_build_object(\'status\', $2))',
	enum => 'UPDATE t_enum SET status = $2::state WHERE id = $1',
	parted => 'UPDATE t_parted SET status = $2 WHERE id = $1',
	leaf => 'UPDATE t_leaf_%s SET status = $2 WHERE id = $1',
	moving => 'UPDATE t_moving SET status = $2 WHERE id = $1',
);
my @ways = sort keys %ways;
my @states = map { "s$_" } 0 .. $nstates - 1;
my @odd = grep { /[13579]$/ } @states;

my $setup = "CREATE EXTENSION idem;
CREATE TYPE state AS ENUM (" . join(', ', map { "'$_'" } @states) . ");
CREATE TABLE states AS SELECT 's' || n AS name, n FROM generate_series(0, $nstates - 1) AS n;
CREATE TABLE ways (name text PRIMARY KEY, command text);
CREATE TABLE tried (round int, way text, f int, t int, answer text, state text, version int);
CREATE TABLE begun (round int, way text, t int, answer text);
CREATE TABLE told (round int, f int, allowed text, graph text);
";
foreach my $way (@ways)
{
	my $type = $way eq 'enum' ? 'state' : 'text';
	my $columns = "id int, status $type NOT NULL DEFAULT 's0', version int NOT NULL DEFAULT 1";

	# these follow a second machine, by a column that stays as it is
	$columns .= ", mood text NOT NULL DEFAULT 's0', n int NOT NULL DEFAULT 0" if $way =~ /several|other/;

	$setup .= "INSERT INTO ways VALUES ('$way', \$way\$$ways{$way}\$way\$);\n";
	if ($way eq 'parted' || $way eq 'leaf')
	{
		$setup .= "CREATE TABLE t_$way ($columns, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE t_${way}_0 PARTITION OF t_$way FOR VALUES FROM (0) TO (500);
CREATE TABLE t_${way}_1 (version int NOT NULL DEFAULT 1, gone text, status text NOT NULL, id int NOT NULL);
ALTER TABLE t_${way}_1 DROP COLUMN gone;
ALTER TABLE t_$way ATTACH PARTITION t_${way}_1 FOR VALUES FROM (500) TO (1000);
CREATE TABLE t_${way}_2 PARTITION OF t_$way DEFAULT;\n";
	}
	elsif ($way eq 'moving')
	{
		$setup .= "CREATE TABLE t_$way ($columns, PRIMARY KEY (id, status)) PARTITION BY LIST (status);
CREATE TABLE t_${way}_odd PARTITION OF t_$way FOR VALUES IN (" . join(', ', map { "'$_'" } @odd) . ");
CREATE TABLE t_${way}_even PARTITION OF t_$way DEFAULT;\n";
	}
	else
	{
		$setup .= "CREATE TABLE t_$way ($columns, PRIMARY KEY (id));\n";
	}
}
$setup .= "CREATE VIEW v_view AS SELECT version, status AS state, id AS number FROM t_view;\n";
$setup .= q{
-- Tries one thing, and tells how it ended: with no error, its state, or the
-- outcome that it returns.
CREATE FUNCTION try(command text, id int, state text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	IF command ~ '^SELECT' THEN
		EXECUTE command INTO answer USING id, state;
	ELSE
		EXECUTE command USING id, state;
	END IF;
	RETURN CASE WHEN answer IN ('applied', 'noop') THEN answer ELSE 'done' END;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;

CREATE FUNCTION try_all(round int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	way record;
	row record;
BEGIN
	INSERT INTO told SELECT round, n, (SELECT string_agg(s, ' ' ORDER BY s)
		FROM idem_allowed('t_plain', 40 * n) AS s), idem_machine_graph('random') FROM states;
	FOR way IN TABLE ways LOOP
		FOR row IN SELECT f.n AS f, t.n AS t, t.n + 40 * f.n AS id FROM states f, states t LOOP
			INSERT INTO tried VALUES (round, way.name, row.f, row.t,
				try(format(way.command, least(row.id / 500, 2)), row.id, 's' || row.t));
		END LOOP;
		EXECUTE format('UPDATE tried SET state = t.status, version = t.version FROM t_%s t'
			' WHERE tried.round = $1 AND way = %L AND t.id = tried.t + 40 * tried.f',
			way.name, way.name) USING round;
	END LOOP;
	INSERT INTO begun SELECT round, c, n, try(c, 10000 + n + 100 * i::int, name) FROM states, unnest(ARRAY[
		'INSERT INTO t_plain (id, status) VALUES ($1, $2)',
		'INSERT INTO v_view (number, state) VALUES ($1, $2)',
		'INSERT INTO t_moving (id, status) VALUES ($1, $2)',
		'INSERT INTO t_conflict (id, status) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET status = $2',
		'MERGE INTO t_merge t USING (VALUES ($1)) v (id) ON t.id = v.id'
		' WHEN NOT MATCHED THEN INSERT (id, status) VALUES ($1, $2)',
		'SELECT idem_upsert(gen_random_uuid()::text, ''t_upsert'', jsonb_build_object(''id'', $1, ''status'', $2))'
	]) WITH ORDINALITY AS u (c, i);
END $$;
};
$setup .= "SELECT idem_machine_define('random', 's0', '{\"s0\": [" . join(', ', map { "\"$_\"" } @states) . "]}');\n";
$setup .= "SELECT idem_attach('t_$_', 'random');\n" foreach @ways;
$setup .= "SELECT idem_attach('t_$_', 'random', status => 'mood');\n" foreach 'several', 'other';
$node->safe_psql('postgres', $setup);

# Makes a machine up: a hash of what it allows, and its definition.
sub make_up
{
	my (%allowed, @json);

	foreach my $f (0 .. $nstates - 1)
	{
		my @to = grep { rand() < $density } 0 .. $nstates - 1;

		$allowed{"$f $_"} = 1 foreach @to;
		push @json, "\"s$f\": [" . join(', ', map { "\"s$_\"" } @to) . ']';
	}
	# what every other state leads to
	my @every = grep { rand() < $density / 3 } 0 .. $nstates - 1;
	foreach my $t (@every)
	{
		$allowed{"$_ $t"} = 1 foreach grep { $_ != $t } 0 .. $nstates - 1;
	}
	push @json, '"*": [' . join(', ', map { "\"s$_\"" } @every) . ']';
	return (\%allowed, "SELECT idem_machine_define('random', 's0', '{" . join(', ', @json) . "}');\n");
}

# Brings a row into every state, as a copy or a replica does.
sub load
{
	my $script = "SET session_replication_role = replica;\n";

	foreach my $way (@ways)
	{
		my $cast = $way eq 'enum' ? '::state' : '';

		$script .= "TRUNCATE t_$way;\n";
		$script .= "INSERT INTO t_$way (id, status) SELECT n, ('s' || n / $nstates)$cast"
		  . " FROM generate_series(0, $nstates * $nstates - 1) AS n;\n"
		  if $way ne 'copy';
	}
	$script .= "COPY t_copy (id, status) FROM stdin;\n";
	$script .= "$_\ts" . int($_ / $nstates) . "\n" foreach 0 .. $nstates * $nstates - 1;
	return $script . "\\.\nRESET session_replication_role;\n";
}

# Compares all that was tried with what it had to come to.
sub compare
{
	my ($round, $allowed) = @_;
	my %wrong = map { $_ => [] } @ways;
	my %seen = map { $_ => 0 } @ways;
	my (%told, @edges, @begun);

	foreach my $line (split /\n/, $node->safe_psql('postgres',
		"SELECT way, f, t, answer, state, version FROM tried WHERE round = $round"))
	{
		my ($way, $f, $t, $answer, $state, $version) = split /\|/, $line;
		my $edge = exists $allowed->{"$f $t"};
		my $stays = $f == $t;
		my ($wanted, $raised);

		# A row that stays as it is makes no transition, but is no error.  Where
		# that is no update either, its version stays, too.
		if ($way =~ /^(transition|expected|several|set)$/)
		{
			$wanted = $edge ? 'applied' : $stays ? 'noop' : 'ID201';
			$raised = $edge;
		}
		else
		{
			$wanted = $edge || $stays ? 'done' : 'ID201';
			$raised = $stays ? $way !~ /upsert|patch/ : $edge;
		}
		my $after = $edge ? "s$t" : "s$f";
		push @{ $wrong{$way} }, "s$f to s$t: $answer, is $state, version $version"
		  if $answer ne $wanted || $state ne $after || $version != ($raised ? 2 : 1);
		$seen{$way}++;
	}
	foreach my $way (@ways)
	{
		is($seen{$way}, $nstates * $nstates, "machine $round: every pair was tried, by $way");
		is_deeply($wrong{$way}, [], "machine $round: and came to what it had to, by $way");
	}

	@begun = split /\n/, $node->safe_psql('postgres', "SELECT way, t, answer FROM begun WHERE round = $round");
	is(scalar(@begun), 6 * $nstates, "machine $round: a row was begun in every state, in six ways");
	is_deeply([ grep { !/\|0\|done$|\|[1-9]\d*\|ID201$/ } @begun ], [], "machine $round: and could in the initial one only");

	is($node->safe_psql('postgres', "SELECT 's' || f || ': ' || coalesce(allowed, '') FROM told WHERE round = $round ORDER BY f"),
		join("\n", map {
			my $f = $_;
			"s$f: " . join(' ', sort map { "s$_" } grep { $allowed->{"$f $_"} } 0 .. $nstates - 1)
		} 0 .. $nstates - 1),
		"machine $round: idem_allowed() says so, too");
	@edges = $node->safe_psql('postgres', "SELECT graph FROM told WHERE round = $round AND f = 0") =~ /^ +s(\d+ --> s\d+)$/mg;
	is(join("\n", sort @edges), join("\n", sort map { s/ / --> s/r } keys %$allowed),
		"machine $round: and idem_machine_graph() draws it");
}

# Both machines in one session, which has the first one in use.
my ($first, $define_first) = make_up();
my ($second, $define_second) = make_up();
isnt(join(' ', sort keys %$first), join(' ', sort keys %$second), 'the machines differ');
$node->safe_psql('postgres',
	$define_first . load() . "SELECT try_all(1);\n" . $define_second . load() . "SELECT try_all(2);\n");
compare(1, $first);
compare(2, $second);

$node->stop;
done_testing();
