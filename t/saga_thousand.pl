# Sagas of five steps under fire: eight workers that fail in every way, cancellations
# at random, connections that are cut, and a server that crashes.  Each saga ends
# completed or compensated, or is stuck where its undo was made to fail; each effect and
# each undo has happened once, in the right order; nothing was undone that never began;
# and the history tells all of it.
#
# IDEM_SAGAS=1000 has a thousand of them, else there are a hundred.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SagaWorker;
use Test::More;
use Time::HiRes qw(sleep time);

use constant {
	SAGAS => $ENV{IDEM_SAGAS} || 100,
	WORKERS => 8,
	SECONDS => 0.3,		# of a lease
};

my $node = PostgreSQL::Test::Cluster->new('main');
my $seed = $ENV{IDEM_SEED} || time ^ $$;
my $stop = $node->basedir . '/stop';

note "seed $seed";
srand $seed;
$node->init;
$node->append_conf('postgresql.conf', "restart_after_crash = on\nmax_connections = 60\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION idem');
$node->safe_psql('postgres', 'CREATE DATABASE provider');
$node->safe_psql('provider', $SagaWorker::provider);

# Every fifth has a pivot, from which on nothing is refused, every tenth a deadline, and every eighth an undo that fails.
$node->safe_psql('postgres', q{
	SELECT idem_saga_start('s' || i, (SELECT jsonb_agg(jsonb_build_object('do', CASE WHEN i % 5 = 0 AND k >= 4 THEN 'do for sure' ELSE 'do' END, 'attempts', 4, 'backoff', '20 ms', 'cap', '100 ms',
			'pivot', i % 5 = 0 AND k = 4,
			'undo', CASE WHEN i % 8 = 0 AND k = 2 THEN 'undo broken' WHEN i % 5 = 0 AND k >= 4 THEN NULL ELSE 'undo' END) ORDER BY k)
		FROM generate_series(1, 5) AS k),
		deadline => CASE WHEN i % 10 = 3 THEN interval '3 s' END)
	FROM generate_series(1, } . SAGAS . q{) AS i});

sub psql
{
	my ($database) = @_;

	return [ $node->installed_command('psql'), '-XAtq', '-v', 'VERBOSITY=sqlstate', '-d', $node->connstr($database) ];
}

my %result;
for my $number (1 .. WORKERS)
{
	my $file = $node->basedir . "/worker$number";
	my $pid = fork;

	if ($pid == 0)
	{
		open STDERR, '>>', $node->basedir . '/stderr' or die;
		SagaWorker->new(
			ledger => psql('postgres'), provider => psql('provider'),
			works => q{ARRAY['do', 'do for sure', 'undo', 'undo broken']}, lease => SECONDS . ' s', seconds => SECONDS,
			sagas => SAGAS, seed => $seed + $number, stop => $stop, result => $file)->run;
		POSIX::_exit(0);
	}
	$result{$pid} = $file;
}

# How many are not where they are to end.
sub left
{
	my ($code, $out) = $node->psql('postgres', q{
		SELECT count(*) FROM idem_saga AS s WHERE ended_at IS NULL AND NOT EXISTS (
			SELECT FROM idem_saga_step AS k WHERE (k.saga, k.scope) = (s.saga, s.scope) AND k.status = 'stuck' AND k.undo ~ 'broken')});

	return $code == 0 ? $out : -1;
}

# Cuts connections, and crashes the server now and then, until all have ended.
my $began = time;
my $limit = $began + 60 + SAGAS * 0.6;
my $crashes = 0;
my $next_crash = $began + 3;

while (left() != 0 && time < $limit)
{
	my ($code) = $node->psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1});
	if (time > $next_crash && $crashes < 3 + SAGAS / 100)
	{
		$node->stop('immediate');
		$node->start;
		$crashes++;
		$next_crash = time + 5;
	}
	sleep 0.3;
}
is(left(), 0, 'every saga has ended, or is stuck where its undo was made to fail');
note sprintf '%d sagas in %.0f s, %d crashes', SAGAS, time - $began, $crashes;

append_to_file($stop, '');
my @unexpected;
my %tally;
for my $pid (keys %result)
{
	waitpid $pid, 0;
	is($?, 0, 'a worker ended in peace');
	for my $line (split /\n/, slurp_file($result{$pid}))
	{
		if ($line =~ /^tally (.*) (\d+)$/) { $tally{$1} += $2 }
		else { push @unexpected, $line }
	}
}
is("@unexpected", '', 'no answer was unexpected');
note join ', ', map { "$_ $tally{$_}" } sort keys %tally;
cmp_ok($tally{$_} // 0, '>', 0, "there was: $_") for 'died before', 'died after', 'failed before', 'failed after', 'slow', 'extended';

# The effects, beside the ledger.
my $copy = $node->safe_psql('provider', q{SELECT format('(%s, %L, %s, %L)', serial, saga, step, undo) FROM effect ORDER BY serial});
$copy =~ s/\n/,/g;
$node->safe_psql('postgres', "CREATE TABLE effect (serial bigint, saga text, step int, undo boolean); INSERT INTO effect VALUES $copy");

# Each query finds what is wrong.
my %wrong = (
	'an effect has happened once' =>
		q{SELECT saga, step, undo, count(*) FROM effect GROUP BY 1, 2, 3 HAVING count(*) > 1},
	'nothing was undone that had not happened' =>
		q{SELECT * FROM effect u WHERE undo AND NOT EXISTS (SELECT FROM effect d WHERE (d.saga, d.step) = (u.saga, u.step) AND NOT d.undo AND d.serial < u.serial)},
	'what was completed has happened, all of it' =>
		q{SELECT k.saga, k.step FROM idem_saga s JOIN idem_saga_step k USING (saga, scope) LEFT JOIN effect e ON (e.saga, e.step) = (k.saga, k.step)
			WHERE s.status = 'completed' AND (k.status <> 'done' OR e.serial IS NULL OR e.undo)},
	'what was compensated has been undone, all of it' =>
		q{SELECT k.saga, k.step, k.status FROM idem_saga s JOIN idem_saga_step k USING (saga, scope)
			WHERE s.status = 'compensated' AND (k.status NOT IN ('undone', 'failed', 'skipped')
				OR (SELECT count(*) FILTER (WHERE NOT undo) - count(*) FILTER (WHERE undo) FROM effect e WHERE (e.saga, e.step) = (k.saga, k.step)) <> 0)},
	'a step that failed or was skipped has no effect' =>
		q{SELECT k.saga, k.step, k.status FROM idem_saga_step k JOIN effect e ON (e.saga, e.step) = (k.saga, k.step) WHERE k.status IN ('failed', 'skipped')},
	'only what was made to fail is stuck' =>
		q{SELECT s.saga FROM idem_saga s JOIN idem_saga_step k USING (saga, scope) WHERE s.status = 'stuck' AND k.status = 'stuck' AND k.undo !~ 'broken'
			UNION ALL SELECT saga FROM idem_saga s WHERE status = 'stuck' AND NOT EXISTS (SELECT FROM idem_saga_step k WHERE k.saga = s.saga AND k.status = 'stuck')},
	'steps were undone in the reverse order' =>
		q{SELECT a.saga FROM effect a JOIN effect b ON a.saga = b.saga AND a.step < b.step AND a.undo AND b.undo AND a.serial < b.serial},
	'nothing is due of a saga that has ended, and something of each that has not, or it is stuck' =>
		q{SELECT s.saga, s.status FROM idem_saga s LEFT JOIN LATERAL (SELECT count(due) AS due, count(*) FILTER (WHERE k.status = 'stuck') AS stuck FROM idem_saga_step k WHERE k.saga = s.saga) k ON true
			WHERE due <> CASE WHEN s.ended_at IS NULL AND s.status <> 'stuck' THEN 1 ELSE 0 END OR stuck <> (s.status = 'stuck')::int},
	'no step was tried more often than it says' =>
		q{SELECT saga, step, attempts FROM idem_saga_step WHERE attempts > max_attempts},
	'no key of an ended saga is held' =>
		q{SELECT k.key FROM idem_key k JOIN idem_saga s ON s.saga = k.request->>'saga' WHERE k.outcome = 'in_progress' AND s.ended_at IS NOT NULL},
	'the history of steps is a chain that ends where the step is' =>
		q{WITH h AS (SELECT row_key->>'saga' AS saga, (row_key->>'step')::int AS step, version, from_state, to_state,
				lag(to_state) OVER w AS before, lead(version) OVER w IS NULL AS last
			FROM idem_history WHERE target = 'idem_saga_step'::regclass WINDOW w AS (PARTITION BY row_key ORDER BY version))
		SELECT k.saga, k.step, h.version FROM idem_saga_step k LEFT JOIN h USING (saga, step)
			WHERE h.version IS NULL OR from_state IS DISTINCT FROM before OR (last AND to_state <> k.status)},
	'and so is that of sagas' =>
		q{WITH h AS (SELECT row_key->>'saga' AS saga, version, from_state, to_state,
				lag(to_state) OVER w AS before, lead(version) OVER w IS NULL AS last
			FROM idem_history WHERE target = 'idem_saga'::regclass WINDOW w AS (PARTITION BY row_key ORDER BY version))
		SELECT k.saga, h.version FROM idem_saga k LEFT JOIN h USING (saga)
			WHERE h.version IS NULL OR from_state IS DISTINCT FROM before OR (last AND to_state <> k.status)},
);
for my $what (sort keys %wrong)
{
	is($node->safe_psql('postgres', $wrong{$what}), '', $what);
}
note $node->safe_psql('postgres', q{SELECT status, count(*) FROM idem_saga GROUP BY 1 ORDER BY 1});
ok($node->safe_psql('postgres', q{SELECT count(*) = 3 FROM (SELECT DISTINCT status FROM idem_saga) AS s}),
	'some were completed, some compensated, some stuck');

# What has ended is purged whole.
$node->safe_psql('postgres', q{UPDATE idem_saga SET expires_at = '-infinity' WHERE ended_at IS NOT NULL; SELECT idem_purge()});
is($node->safe_psql('postgres', q{
	SELECT (SELECT count(*) FROM idem_saga WHERE ended_at IS NOT NULL),
		(SELECT count(*) FROM idem_saga_step k WHERE NOT EXISTS (SELECT FROM idem_saga s WHERE s.saga = k.saga)),
		(SELECT count(*) FROM idem_key k WHERE NOT EXISTS (SELECT FROM idem_saga s WHERE s.saga = k.request->>'saga'))}),
	'0|0|0', 'what has ended is purged, with all that belongs to it');
$node->stop;
done_testing();
