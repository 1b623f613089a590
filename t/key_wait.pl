# A session that waits for a key returns when the claim ends, however it does, and
# holds nothing meanwhile: at each isolation level, of claims under a lease and
# without one, and of prepared transactions.  Cancelling and terminating end it.
use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('wait');
$node->init;
$node->append_conf('postgresql.conf', "max_prepared_transactions = 10\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION idem;
	CREATE TABLE t (id int PRIMARY KEY, v text);
	CREATE TABLE watched (id int);
	CREATE ROLE other LOGIN;
});

# Starts to wait for a key, in a session of its own, and returns once that sleeps.
sub wait_for
{
	my ($key, %how) = @_;
	my $wait = { out => '', err => '' };
	my $timer = IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default);
	my @begin = $how{level} ?
		('-c', "BEGIN ISOLATION LEVEL $how{level}", '-c', 'SELECT count(*) FROM watched') : ();
	my $sql = "SELECT outcome, response, fence FROM idem_wait('$key', '1 minute')";

	$wait->{run} = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr('postgres') . " application_name=$key",
			'-v', 'VERBOSITY=sqlstate', @begin, '-c', $sql ],
		'<', \undef, '>', \$wait->{out}, '2>', \$wait->{err}, $timer);
	$node->poll_query_until('postgres', qq{
		SELECT count(*) = 1 FROM pg_stat_activity
		WHERE application_name = '$key' AND state = 'active' AND wait_event_type = 'Extension'})
		or die "no session waits for $key: $wait->{err}";
	return $wait;
}

# What a wait returned, once it has; errors as their SQLSTATE.
sub answer
{
	my ($wait) = @_;

	$wait->{run}->finish;
	my ($state) = $wait->{err} =~ /(?:ERROR|FATAL):\s+(\w{5})/;
	return $state // (split /\n/, $wait->{out})[-1] // $wait->{err};
}

sub sql { return $node->safe_psql('postgres', @_) }

# How the claims of a lease end.
my %end = (
	completed => [ q{idem_complete('KEY', '{"paid": 1}', 1)}, 'completed|{"paid": 1}|1' ],
	failed => [ q{idem_fail('KEY', '"declined"', 1)}, 'failed|"declined"|1' ],
	released => [ q{idem_release('KEY', 1)}, 'abandoned|{"data": null, "name": "half"}|1' ],
	forgotten => [ q{idem_release('KEY', 1, forget => true)}, 'abandoned||1' ]);

foreach my $case (sort keys %end)
{
	my ($call, $expected) = @{ $end{$case} };

	# Where one snapshot is kept, what it does not see is not returned.
	foreach my $level ('', 'READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE')
	{
		my $key = "$case in " . ($level || 'no block') =~ s/ /-/gr;
		$key =~ s/ /_/g;

		sql("SELECT idem_claim('$key', lease => '1 hour'); SELECT idem_checkpoint('$key', 1, 'half')");
		my $wait = wait_for($key, level => $level);

		sql('SELECT ' . $call =~ s/KEY/$key/r);
		is(answer($wait), $level =~ /REPEATABLE|SERIALIZABLE/ ? '40001' : $expected, $key);
	}
}

# What has not committed ends no wait.
{
	sql(q{SELECT idem_claim('undone', lease => '1 hour')});
	my $wait = wait_for('undone');
	my $session = $node->background_psql('postgres', on_error_stop => 1);

	$session->query_safe(q{BEGIN; SELECT idem_complete('undone', '1', 1)});
	$session->query_safe('ROLLBACK');
	$session->query_safe(q{SELECT idem_complete('undone', '2', 1)});
	is(answer($wait), 'completed|2|1', 'the end that has committed counts');
	$session->quit;
}

# Taken over meanwhile, the key is in progress all the same.
{
	sql(q{SELECT idem_claim('taken', lease => '1 hour')});
	my $wait = wait_for('taken');

	sql(q{SELECT idem_release('taken', 1), idem_claim('taken', lease => '1 hour')});
	$node->poll_query_until('postgres', q{
		SELECT query_start < clock_timestamp() - interval '1 s' AND wait_event_type = 'Extension'
		FROM pg_stat_activity WHERE application_name = 'taken'}) or die 'it does not wait on';
	sql(q{SELECT idem_complete('taken', '"by the second"', 2)});
	is(answer($wait), 'completed|"by the second"|2', 'a claim that was taken over is waited for, too');
}

# The transaction of a call, or of a claim without a lease.
foreach my $what (
	[ 'upsert', q{idem_upsert('KEY', 't', '{"id": 1, "v": "x"}')}, 'COMMIT', 'inserted|{"v": "x", "id": 1}|1' ],
	[ 'upsert_undone', q{idem_upsert('KEY', 't', '{"id": 2, "v": "x"}')}, 'ROLLBACK', '||' ],
	[ 'claim', q{idem_claim('KEY'), idem_complete('KEY', '"all"')}, 'COMMIT', 'completed|"all"|1' ],
	[ 'claim_undone', q{idem_claim('KEY')}, 'ROLLBACK', '||' ])
{
	my ($key, $call, $end, $expected) = @$what;
	my $session = $node->background_psql('postgres', on_error_stop => 1);

	$session->query_safe('BEGIN; SELECT ' . $call =~ s/KEY/$key/gr);
	my $wait = wait_for($key);
	$session->query_safe($end);
	is(answer($wait), $expected, "the transaction's end: $key");
	$session->quit;
}

# A call that has not written its row yet, and is held up by another.
{
	my $holder = $node->background_psql('postgres', on_error_stop => 1);
	$holder->query_safe('BEGIN; LOCK TABLE t IN SHARE MODE');
	my $call = $node->background_psql('postgres');
	$call->query_until(qr/now/, "\\echo now\nSELECT idem_upsert('held_up', 't', '{\"id\": 3}');\n");
	$node->poll_query_until('postgres', q{SELECT outcome = 'in_progress' FROM idem_lookup('held_up')}) or die;
	my $wait = wait_for('held_up');
	$holder->query_safe('COMMIT');
	is(answer($wait), 'inserted|{"v": null, "id": 3}|1', 'a call that is at work');
	$holder->quit;
	$call->quit;
}

# A prepared transaction.
foreach my $end ([ 'COMMIT', 'completed|1|1' ], [ 'ROLLBACK', '||' ])
{
	my $key = "prepared_$end->[0]";

	sql("BEGIN; SELECT idem_claim('$key'), idem_complete('$key', '1'); PREPARE TRANSACTION '$key'");
	my $wait = wait_for($key);
	sql("$end->[0] PREPARED '$key'");
	is(answer($wait), $end->[1], $key);
}

# It is in the way of no session: it holds no lock on any object, and has no
# transaction number.  VACUUM FULL moves the row, and REINDEX the index, meanwhile.
{
	sql(q{SELECT idem_claim('nobody', lease => '1 hour')});
	my $wait = wait_for('nobody', level => 'SERIALIZABLE');

	ok( $node->poll_query_until('postgres', q{
			SELECT bool_and(locktype = 'virtualxid' OR relation = 'watched'::regclass)
			FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE application_name = 'nobody'}),
		'no lock but those of the statement before');
	is(sql(q{SELECT count(*) FROM pg_stat_activity WHERE application_name = 'nobody' AND backend_xid IS NOT NULL}),
		'0', 'no transaction number');
	sql($_) foreach 'VACUUM FULL idem_key', 'REINDEX TABLE idem_key', 'CLUSTER idem_key USING idem_key_pkey';
	# Serializable neighbours and the key itself come to no harm.
	foreach my $n (1 .. 5)
	{
		sql("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM watched; INSERT INTO watched VALUES ($n);"
			. " SELECT idem_claim('nobody$n', lease => '1 hour'); COMMIT");
	}
	sql(q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'nobody'});
	is(answer($wait), '57014', 'cancelled');

	$wait = wait_for('nobody');
	sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'nobody'});
	is(answer($wait), '57P01', 'terminated');
	is(sql(q{SELECT outcome FROM idem_lookup('nobody')}), 'in_progress', 'which the claim does not feel');
}

# Another role learns nothing, and does not wait for it: not of a claim, and not of a
# transaction that runs.
{
	my $session = $node->background_psql('postgres', on_error_stop => 1);
	$session->query_safe(q{BEGIN; SELECT idem_claim('not committed')});
	foreach my $key ('nobody', 'not committed')
	{
		my ($rc, $out, $err) = $node->psql('postgres',
			"\\set VERBOSITY sqlstate\nSET statement_timeout = '30s'; SELECT idem_wait('$key', '1 minute')",
			extra_params => [ '-U', 'other' ]);
		like($err, qr/ERROR:\s+42501/, "$key is not for others");
	}
	$session->quit;
}

# The extension goes while a session waits for a key of it.
{
	my $wait = wait_for('nobody');
	sql('DROP EXTENSION idem');
	# XX000: it has come to the table just as that went
	like(answer($wait), qr/^(42704|XX000)$/, 'dropped');
	sql(q{CREATE EXTENSION idem; SELECT idem_claim('nobody', lease => '1 hour')});
}

$node->stop;
done_testing();
