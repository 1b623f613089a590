# Counters agree with a model exactly: a known workload of mixed calls from eight
# clients, errors and rollbacks among them.  After a crash all of them begin at zero.
#
# IDEM_STATS_CALLS says how many calls there are: 8,000 unless it does.
use strict;
use warnings;

use List::Util qw(shuffle sum0);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use constant CLIENTS => 8;

my $calls = $ENV{IDEM_STATS_CALLS} // 8000;
my $seed = $ENV{IDEM_STATS_SEED} // 17;
note("IDEM_STATS_CALLS=$calls IDEM_STATS_SEED=$seed");
srand($seed);

my $node = PostgreSQL::Test::Cluster->new('exact');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'idem'
idem.worker = off
restart_after_crash = on
fsync = off
autovacuum = off
});
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION idem;
	CREATE TABLE item (id text PRIMARY KEY, n int);
	CREATE TABLE lamp (id bigint PRIMARY KEY, watts int, status text NOT NULL DEFAULT 'OFF', version bigint NOT NULL DEFAULT 1);
	CREATE FUNCTION is_small(lamp, jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1.watts < 100';
	SELECT idem_machine_define('lamp', 'OFF', '{"OFF": [{"to": "ON", "guard": "is_small"}], "ON": ["OFF"], "BROKEN": []}');
	SELECT idem_attach('lamp', 'lamp');
});

sub counted
{
	my ($node) = @_;

	return { map { split /\|/ } split /\n/,
		$node->safe_psql('postgres', q{SELECT counter, value FROM idem_stats WHERE datname = 'postgres'}) };
}

#
# The workload: stories, each of calls that follow one another, with what each call
# counts.  Every story has names of its own, so others cannot change its outcome.
#

my $number = 0;
my $expired = 0;

sub quoted { return join ', ', map { "'$_'" } @_ }

my @stories = (
	# a key: new, retried, misused; the count of retries differs
	sub {
		my $key = 'k' . $number++;
		my $call = "SELECT * FROM idem_upsert('$key', 'item', '{\"id\": \"$key\", \"n\": 1}');";

		return ([ $call, 'key_new' ], (map { [ $call, 'key_replayed' ] } 1 .. int(rand(4))),
			[ $call =~ s/"n": 1/"n": 2/r, 'key_mismatch' ]);
	},
	# work that fails leaves nothing, and may be done later
	sub {
		my $key = 'k' . $number++;

		return ([ "SELECT * FROM idem_execute('$key', 'SELECT 1/0');" ],
			[ "SELECT * FROM idem_execute('$key', 'SELECT 1');", 'key_new' ]);
	},
	# work that is refused for good
	sub {
		my $call = sprintf q{SELECT * FROM idem_execute('k%d', 'SELECT 1/0', remember_errors => '{22012}');}, $number++;

		return ([ $call, 'key_new', 'key_failed' ], [ $call, 'key_replayed' ]);
	},
	# what is rolled back has been counted, and is new again
	sub {
		my $key = 'k' . $number++;
		my $call = "SELECT * FROM idem_execute('$key', 'SELECT 1');";

		return ([ "BEGIN; $call $call ROLLBACK;", 'key_new', 'key_replayed' ],
			[ "BEGIN; SAVEPOINT s; $call ROLLBACK TO s; $call COMMIT;", 'key_new', 'key_new' ],
			[ $call, 'key_replayed' ]);
	},
	# a transaction that an error ends
	sub {
		my $key = 'k' . $number++;

		return ([ "BEGIN; SELECT * FROM idem_execute('$key', 'SELECT 1'); SELECT * FROM idem_execute('$key', 'SELECT 2'); ROLLBACK;",
				'key_new', 'key_mismatch' ]);
	},
	# keys that have expired by the next call
	sub {
		my $call = sprintf q{SELECT * FROM idem_execute('k%d', 'SELECT 1', ttl => '1 microsecond');}, $number++;

		$expired++;
		return ([ $call, 'key_new' ], [ $call, 'key_new' ]);
	},
	# a claim that is released, taken over, and whose former holder comes back
	sub {
		my $key = 'k' . $number++;
		my $claim = "SELECT * FROM idem_claim('$key', '{\"a\": 1}', lease => '1 hour');";

		return ([ $claim, 'key_new' ], [ $claim, 'key_in_progress' ],
			[ "SELECT idem_release('$key', 1);", 'key_released' ], [ $claim, 'key_takeover' ],
			[ "SELECT idem_complete('$key', '1', 1);", 'key_stale_fence' ],
			[ "SELECT idem_extend('$key', 1, '1 hour');", 'key_stale_fence' ],
			[ "SELECT idem_complete('$key', '1', 2);" ], [ "SELECT idem_complete('$key', '1', 2);", 'key_replayed' ],
			[ $claim, 'key_replayed' ], [ $claim =~ s/1\}/2}/r, 'key_mismatch' ]);
	},
	# one that fails
	sub {
		my $key = 'k' . $number++;

		return ([ "SELECT * FROM idem_claim('$key', lease => '1 hour');", 'key_new' ],
			[ "SELECT idem_fail('$key', '\"no\"', 1);", 'key_failed' ],
			[ "SELECT * FROM idem_claim('$key', lease => '1 hour');", 'key_replayed' ],
			[ "SELECT idem_complete('none $key', '1', 1);" ]);
	},
	# a row that is moved
	sub {
		my $id = $number++;

		return ([ "INSERT INTO lamp VALUES ($id, 40);" ],
			[ "SELECT * FROM idem_transition('lamp', $id, 'ON');", 'transition_applied' ],
			[ "SELECT * FROM idem_transition('lamp', $id, 'ON');", 'transition_noop' ],
			[ "SELECT * FROM idem_transition('lamp', $id, 'BROKEN');", 'transition_refused' ],
			[ "UPDATE lamp SET status = 'BROKEN' WHERE id = $id;", 'transition_refused' ],
			[ "SELECT * FROM idem_transition('lamp', $id, 'OFF', expected_version => 7);", 'version_conflict' ],
			[ "SELECT * FROM idem_transition_batch('lamp', '{$id,$id}'::bigint[], 'OFF');", 'transition_applied', 'transition_noop' ],
			[ "SELECT * FROM idem_update('lamp', $id, '{\"watts\": 400}', expected_version => 3);" ],
			[ "SELECT * FROM idem_update('lamp', $id, '{\"watts\": 40}', expected_version => 3);", 'version_conflict' ],
			[ "SELECT * FROM idem_transition('lamp', $id, 'ON', key => 'k$id');", 'transition_guard' ],
			[ "BEGIN; SELECT * FROM idem_update('lamp', $id, '{\"watts\": 1}'); SELECT * FROM idem_transition('lamp', $id, 'ON'); ROLLBACK;",
				'transition_applied' ]);
	},
	# messages by id
	sub {
		my $m = 'm' . $number++;

		return ([ "SELECT idem_consume('c', '$m');", 'message_new' ], [ "SELECT idem_consume('c', '$m');", 'message_duplicate' ],
			[ "BEGIN; SELECT idem_consume('c', '$m-1'); ROLLBACK;", 'message_new' ],
			[ "SELECT count(*) FROM idem_consume_batch('c', '{$m,$m-1,$m-2,$m-2}');", ('message_new') x 2, ('message_duplicate') x 2 ],
			[ "SELECT idem_consume('c', '$m-3', sent_at => now() - interval '1 year');", 'message_late' ]);
	},
	# messages by place
	sub {
		my $log = "'c', 't" . $number++ . "', 0";

		return ([ "SELECT idem_advance($log, 10, 19, epoch => 2);", ('message_new') x 10 ],
			[ "SELECT idem_advance($log, 15, 24, epoch => 2);", ('message_new') x 5, ('message_duplicate') x 5 ],
			[ "SELECT idem_advance($log, 10, 12);", ('message_duplicate') x 3 ],
			[ "SELECT idem_advance($log, 30, 31);", 'message_gap' ], [ "SELECT idem_advance($log, 1, 2);", 'message_gap' ],
			[ "SELECT idem_advance($log, 25, 29, epoch => 1);", 'message_stale_epoch' ]);
	});

# What clients do at the same time: each of these keys is new to one of them.  Which
# one, and which have to wait, is for the moment to decide.
my $shared = int($calls / 100);
my %model;
my @scripts;
foreach my $client (1 .. CLIENTS)
{
	my @open;
	my $script = "\\set ON_ERROR_STOP 0\n";
	my $count = 0;

	foreach my $key (1 .. $shared)
	{
		push @open, [ [ "SELECT * FROM idem_execute('shared $key', 'SELECT 1');", $client == 1 ? 'key_new' : 'key_replayed' ] ];
		$count++;
	}
	while ($count < $calls / CLIENTS)
	{
		my @story = $stories[ rand @stories ]->();

		$count += sum0(map { scalar(() = $_->[0] =~ /\bidem_/g) } @story);
		push @open, \@story;
	}
	# all at once, each in its order
	foreach my $at (shuffle(map { ($_) x @{ $open[$_] } } 0 .. $#open))
	{
		my ($sql, @counts) = @{ shift @{ $open[$at] } };

		$script .= "$sql\n";
		$model{$_}++ foreach @counts;
	}
	push @scripts, $script;
	$model{calls} += $count;
}
my $total = delete $model{calls};

# Counters of this database begin now.
$node->safe_psql('postgres', 'SELECT idem_stats_reset()');
my @running = map {
	my $script = $scripts[$_];
	my %client = (out => '', err => '');

	$client{run} = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ],
		'<', \$script, '>', \$client{out}, '2>', \$client{err});
	\%client;
} 0 .. $#scripts;
my $unexpected = '';
foreach my $client (@running)
{
	$client->{run}->finish;
	$unexpected .= join "\n", grep { /^(psql:.*)?(FATAL|PANIC|server|connection)/ } split /\n/, $client->{err};
}
is($unexpected, '', 'all clients came to their end');

# The first statement above set expired keys aside.  Each of their rows goes.
is($node->safe_psql('postgres', 'SELECT idem_purge()'), $expired, 'expired keys are purged');
$model{purge_rows} = $expired;
$model{purge_batches} = 1;

my $counted = counted($node);
my $waited = delete $counted->{key_waited};
$model{$_} //= 0 foreach keys %$counted;
foreach my $counter (sort keys %model)
{
	is($counted->{$counter}, $model{$counter}, "$counter: $model{$counter}");
}
note("$total calls, of which $waited waited");
cmp_ok($waited, '<=', $shared * CLIENTS, 'only calls for the same key wait');

# Which of them wait: one, for one other.
my $holder = $node->background_psql('postgres');
$holder->query_safe(q{BEGIN; SELECT * FROM idem_execute('waited for', 'SELECT 1')});
my $waiter = $node->background_psql('postgres');
$waiter->query_until(qr//, "SELECT 'pid', pg_backend_pid();\nSELECT replayed FROM idem_execute('waited for', 'SELECT 1');\n");
ok($node->poll_query_until('postgres',
		q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%waited for%'}),
	'a call waits');
is(counted($node)->{key_waited}, $waited + 1, 'and is counted while it does');
$holder->query_safe('COMMIT');
$holder->quit;
$waiter->quit;
is(counted($node)->{key_waited}, $waited + 1, 'once');

# What is lost on purpose.
$node->psql('postgres', q{SET idem.lose_every = 1; CREATE TABLE lost ()});
$node->psql('postgres', q{SET idem.lose_request = 1; CREATE TABLE not_made ()});
$counted = counted($node);
is("$counted->{ack_lost} $counted->{request_lost}", '1 1', 'a lost acknowledgement, and a lost request');

# A second database has counters of its own; a reset is for one database.
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', q{CREATE EXTENSION idem; SELECT * FROM idem_execute('k', 'SELECT 1')});
is($node->safe_psql('postgres', q{SELECT value FROM idem_stats WHERE datname = 'other' AND counter = 'key_new'}),
	'1', 'another database has its own');
$node->safe_psql('other', 'SELECT idem_stats_reset()');
is($node->safe_psql('postgres', q{SELECT sum(value) FROM idem_stats WHERE datname = 'other'}), '0', 'and begins anew');
is(counted($node)->{key_new}, $model{key_new} + 1, 'by itself');
$node->safe_psql('other', q{SELECT * FROM idem_execute('k2', 'SELECT 1')});

# After a crash all are zero.
my $pid = $node->safe_psql('postgres', 'SELECT pg_backend_pid()');
my $victim = $node->background_psql('postgres');
my $victim_pid = $victim->query_safe('SELECT pg_backend_pid()');
kill 'KILL', $victim_pid;
eval { $victim->quit };
ok($node->poll_query_until('postgres',
		q{SELECT count(*) > 0 FROM idem_stats HAVING bool_and(value = 0)}, 't'),
	'after a crash all counters are zero');
is($node->safe_psql('other', q{SELECT count(*), sum(value) FROM idem_stats WHERE datname = 'other'}),
	keys(%model) + 1 . '|0', 'in all databases');
is($node->safe_psql('postgres', q{SELECT count(DISTINCT reset_at) FROM idem_stats WHERE datname = 'postgres'}),
	'1', 'together');
$node->stop;

done_testing();
