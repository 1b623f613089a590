# The server crashes at each point of a saga's step; and what is left is dumped,
# restored by the role that owns the extension, and goes on where it was.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->start;
$node->safe_psql('postgres', q{
	CREATE ROLE regress_owner LOGIN;
	CREATE DATABASE shop OWNER regress_owner;
});

# In which database all is asked.
my $database = 'shop';

sub ask
{
	my ($sql) = @_;

	return $node->safe_psql($database, $sql, extra_params => [ '-U', 'regress_owner' ]);
}

# The SQLSTATE of an error.
sub fail_of
{
	my ($sql) = @_;
	my (undef, undef, $err) = $node->psql($database, $sql,
		extra_params => [ '-U', 'regress_owner', '-v', 'VERBOSITY=sqlstate' ]);

	return $err =~ /ERROR:\s+(\w+)/ ? $1 : "no error: $err";
}

sub crash
{
	$node->stop('immediate');
	$node->start;
}

# A transaction that is under way when the server crashes.
sub crash_within
{
	my ($sql) = @_;
	my $session = $node->background_psql($database, extra_params => [ '-U', 'regress_owner' ]);

	$session->query_safe("BEGIN; $sql");
	crash();
	$session->{run}->kill_kill;
}

sub key
{
	my ($saga, $step, $what) = @_;

	return "idem_derive_key('', '$saga', '$step', '$what')";
}

my $claim = q{SELECT saga, step, work, undo, fence FROM idem_saga_claim(ARRAY['a', '-a', 'b', '-b'], '1 hour')};

# As if the leases had run out.
sub lapse
{
	ask(q{UPDATE idem_key SET lease_until = now() - interval '1 s' WHERE outcome = 'in_progress';
		UPDATE idem_saga_step SET next_at = now() - interval '1 s' WHERE due IS NOT NULL});
}

ask('CREATE EXTENSION idem');
my $start = q{SELECT * FROM idem_saga_start('s', '[{"do": "a", "undo": "-a"}, {"do": "b", "undo": "-b"}]')};

crash_within($start);
is(ask('SELECT count(*) FROM idem_saga'), '0', 'before start commits: nothing');
is(ask($start), 'f|running', 'start again');
crash();
is(ask($start), 't|running', 'after start: it is there');

crash_within($claim);
is(ask($claim), 's|1|a|f|1', 'before a claim commits: nothing');
crash();
is(ask($claim), '', 'after a claim, before the effect: a lease');
lapse();
is(ask($claim), 's|1|a|f|2', 'takeover, with the next fence');
is(fail_of('SELECT idem_saga_done(' . key('s', 1, 'do') . ', 1)'), 'ID002', 'the one before has lost it');

my $done = 'SELECT idem_saga_done(' . key('s', 1, 'do') . q{, 2, '"paid"')};
crash_within($done);
is(ask('SELECT status FROM idem_saga_step WHERE step = 1'), 'running', 'in the transaction of done: nothing');
is(ask($done), 'running', 'done');
crash();
is(ask($done), 'running', 'after done, the answer lost: the same answer');
is(ask(q{SELECT output FROM idem_saga_step WHERE step = 1}), '"paid"', 'done once');

is(ask($claim), 's|2|b|f|1', 'the next step');
is(ask(q{SELECT idem_saga_cancel('s', '"enough"')}), 'compensating', 'cancelled while it runs');
crash();
is(ask($claim), '', 'its lease is waited for');
lapse();
crash_within($claim);
is(ask($claim), 's|2|-b|t|1', 'the lease is over: its undo begins');
is(fail_of('SELECT idem_saga_done(' . key('s', 2, 'do') . ', 1)'), 'ID002', 'a late done is lost');
crash();
lapse();
is(ask($claim), 's|2|-b|t|2', 'after the effect of the undo: a lease, and the same key again');
my $undone = 'SELECT idem_saga_done(' . key('s', 2, 'undo') . ', 2)';
is(ask($undone), 'compensating', 'undone');
crash();
is(ask($undone), 'compensating', 'and again: the same');
is(ask($claim), 's|1|-a|t|1', 'then the step before it');

# A prepared transaction holds the saga over a restart.
$node->append_conf('postgresql.conf', "max_prepared_transactions = 5\n");
$node->restart;
ask(q{SELECT idem_saga_start('p', '[{"do": "p"}]')});
ask(q{BEGIN; SELECT fence FROM idem_saga_claim(ARRAY['p'], '1 hour'); PREPARE TRANSACTION 'claim'});
crash();
is(ask(q{SELECT count(*) FROM idem_saga_claim(ARRAY['p'])}), '0', 'a prepared claim is passed over');
ask(q{COMMIT PREPARED 'claim'});
is(ask('SELECT idem_saga_done(' . key('p', 1, 'do') . ', 1)'), 'completed', 'and counts once it is committed');

# In every status, dumped and restored.
ask(q{SELECT idem_saga_start('stuck', '[{"do": "x", "undo": "-x", "attempts": 1}, {"do": "y"}]');
	SELECT idem_saga_done(key, fence) FROM idem_saga_claim(ARRAY['x']);
	SELECT idem_saga_cancel('stuck');
	SELECT idem_saga_fail(key, fence, NULL) FROM idem_saga_claim(ARRAY['-x']);
	SELECT idem_saga_start('early', '[{"do": "z"}]');
	SELECT idem_saga_cancel('early');
	SELECT idem_saga_start('waiting', '[{"do": "w"}]')});
is(ask('SELECT string_agg(DISTINCT status, $$ $$ ORDER BY status) FROM idem_saga'),
	'compensated compensating completed running stuck', 'sagas of every status');
my $all = q{SELECT * FROM idem_saga ORDER BY saga; SELECT * FROM idem_saga_step ORDER BY saga, step;
	SELECT * FROM idem_saga_status ORDER BY saga; SELECT key, outcome, fence, expires_at FROM idem_key ORDER BY key;
	SELECT version, from_state, to_state, note FROM idem_history('idem_saga_step', '{"saga": "s", "scope": "", "step": 2}')};
my $before = ask($all);
my $dump = $node->basedir . '/dump';
$node->command_ok([ 'pg_dump', '-Fc', '-U', 'regress_owner', '-f', $dump, $node->connstr('shop') ], 'the owner takes a dump');
$node->safe_psql('postgres', 'CREATE DATABASE copy OWNER regress_owner');
$node->command_ok([ 'pg_restore', '-U', 'regress_owner', '--exit-on-error', '-d', $node->connstr('copy'), $dump ], 'and restores it');
$database = 'copy';
is(ask($all), $before, 'all is as it was');
is(ask('SELECT idem_saga_done(' . key('s', 1, 'undo') . ', 1)'), 'compensated', 'what was claimed there is reported here');
is(ask(q{SELECT idem_saga_resolve('stuck', 1, 'undone')}), 'compensated', 'what was stuck is decided here');
is(ask(q{SELECT idem_saga_done(key, fence) FROM idem_saga_claim(ARRAY['w'])}), 'completed', 'and work goes on');
is(fail_of(q{UPDATE idem_saga SET status = 'running' WHERE saga = 'waiting'}), 'ID201', 'changes are validated there, too');
$node->stop;
done_testing();
