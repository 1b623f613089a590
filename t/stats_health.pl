# idem_health alone says what is wrong, and what to do: each thing is broken in turn,
# and put right by what the hint says.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('health');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'idem'
idem.purge_naptime = '50ms'
# so that a second is long
idem.ttl = '10s'
autovacuum = off
max_prepared_transactions = 5
});
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION idem;
	CREATE TABLE item (id int PRIMARY KEY, n int);
});

sub row
{
	my ($check) = @_;

	return $node->safe_psql('postgres', qq{SELECT severity, value, hint FROM idem_health WHERE "check" = '$check'});
}

# Waits until a check has such a row, and nothing else is wrong.
sub becomes
{
	my ($check, $severity, $value, $hint, $name, @also) = @_;
	my $others = join ', ', map { "'$_'" } $check, @also;

	my $met = $node->poll_query_until('postgres', qq{
		SELECT severity = '$severity' AND value ~ '$value' AND coalesce(hint, '') ~ '$hint'
		FROM idem_health WHERE "check" = '$check'});
	ok($met, $name);
	diag("$check: " . row($check)) unless $met;
	is( $node->safe_psql('postgres',
			qq{SELECT string_agg("check" || ': ' || value, '; ') FROM idem_health
			WHERE severity <> 'ok' AND "check" NOT IN ($others)}),
		'', "$name: nothing else");
}

sub is_well
{
	my ($check, $name) = @_;

	ok($node->poll_query_until('postgres', qq{SELECT severity = 'ok' AND hint IS NULL FROM idem_health WHERE "check" = '$check'}),
		$name);
}

is_well('worker', 'to begin with, all is well');
is($node->safe_psql('postgres', q{SELECT count(*) FROM idem_health WHERE severity <> 'ok' OR hint IS NOT NULL}), '0',
	'all of it');
ok($node->poll_query_until('postgres', q{SELECT value ~ 'last pass' FROM idem_health WHERE "check" = 'worker'}),
	'the worker comes by');
like(row('worker'), qr/^ok\|on, last pass 0:00:\d\d ago\|$/, 'and that is told');
like(row('purge_lag'), qr/^ok\|0:00:\d\d, about 0 keys\|$/, 'it is not behind');

# The worker.
sub set
{
	my ($setting) = @_;

	$node->safe_psql('postgres', "ALTER SYSTEM SET $setting");
	$node->reload;
}
set('idem.worker = off');
becomes('worker', 'warning', '^off, last pass .* ago$', 'idem\.worker is off\. Set it to on and reload', 'the worker is off', 'purge_lag');
becomes('worker', 'critical', '^off', 'idem\.worker is off', 'and critical after the time that keys are kept', 'purge_lag');
becomes('purge_lag', 'critical', '^0:00:[1-9]\d', 'longer', 'so rows stay', 'worker');
# somebody may purge by other means
$node->safe_psql('postgres', 'SELECT idem_purge()');
is_well('worker', 'a call of idem_purge() will do');
is_well('purge_lag', 'and rows are gone');
set('idem.worker = on');
is_well('worker', 'the worker is on again');

# A transaction that keeps vacuum from what was purged.
my $idle = $node->background_psql('postgres');
$idle->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM item');
my $pid = $idle->query_safe('SELECT pg_backend_pid()');
becomes('purge_blocked', 'warning', "^process $pid, transaction open for", 'pg_terminate_backend\(\)', 'a transaction that stays open');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
is_well('purge_blocked', 'it is ended');
eval { $idle->quit };

# One that is prepared.
$node->safe_psql('postgres', q{BEGIN; INSERT INTO item VALUES (0, 0); PREPARE TRANSACTION 'forgotten one'});
becomes('purge_blocked', 'warning', '^prepared transaction forgotten one', 'ROLLBACK PREPARED', 'a prepared transaction');
$node->safe_psql('postgres', q{ROLLBACK PREPARED 'forgotten one'});
is_well('purge_blocked', 'it is rolled back');

# Another role's session is not named.
$node->safe_psql('postgres', 'CREATE ROLE nobody; CREATE ROLE watcher IN ROLE pg_monitor');
$idle = $node->background_psql('postgres');
$idle->query_safe('BEGIN; SELECT pg_current_xact_id()');
becomes('purge_blocked', 'warning', '^process', 'end it', 'another transaction');
foreach my $case ([ nobody => qr/^a session of another role$/ ], [ watcher => qr/^process \d+, / ])
{
	my ($role, $value) = @$case;

	like($node->safe_psql('postgres', qq{SET ROLE $role; SELECT value FROM idem_health WHERE "check" = 'purge_blocked'}),
		$value, "as $role is told");
}
$idle->quit;
is_well('purge_blocked', 'it has ended');

# A claim whose holder does not come back.
$node->safe_psql('postgres', q{SELECT outcome FROM idem_claim('stuck', '{"charge": 1}', lease => '1 second', ttl => '1 hour')});
becomes('stuck_lease', 'warning', '^claimed 0:00:\d\d ago, lease over for', 'See idem_claims.*idem_release\(\)', 'a stuck claim');
is($node->safe_psql('postgres', 'SELECT key, fence, request FROM idem_claims WHERE lease_until < now()'),
	'stuck|1|{"charge": 1}', 'idem_claims says which');
# as long as it is in progress, and no longer
$node->safe_psql('postgres', q{SELECT idem_release('stuck', 1)});
is_well('stuck_lease', 'it is released');
$node->safe_psql('postgres', q{SELECT outcome FROM idem_claim('held', lease => '1 hour')});
my $passes = q{SELECT value FROM idem_health WHERE "check" = 'worker'};
is_well('stuck_lease', 'a claim that is held is not stuck');

# Clients.
$node->psql('postgres', q{SELECT outcome FROM idem_upsert('k', 'item', '{"id": 1, "n": 1}', ttl => '1 hour')});
$node->psql('postgres', q{SELECT outcome FROM idem_upsert('k', 'item', '{"id": 1, "n": 2}', ttl => '1 hour')});
becomes('key_mismatch', 'warning', '^1$', 'different requests under one key.*idem_stats_reset\(\)', 'a client that reuses a key');
$node->safe_psql('postgres', 'SELECT idem_stats_reset()');
is_well('key_mismatch', 'it is mended');
$node->psql('postgres', q{SELECT idem_complete('held', '1', 7)});
becomes('stale_fence', 'warning', '^1$', 'lease longer', 'a late holder');
$node->safe_psql('postgres', 'SELECT idem_stats_reset()');
is_well('stale_fence', 'it is mended');

# Purging fails.
$node->safe_psql('postgres', q{
	CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one'; END $$;
	CREATE TRIGGER keep BEFORE DELETE ON idem_message FOR EACH ROW EXECUTE FUNCTION keep();
	INSERT INTO idem_message (expires_at, consumer, message_id) VALUES (now(), 'c', 'm');
});
becomes('purge_errors', 'warning', '^[1-9]', 'server.s log', 'a table that cannot be purged', 'purge_lag');
ok($node->log_contains(qr/ERROR:  not this one.*CONTEXT:.*purge of table "idem_message" of database "postgres"/s), 'the log says which and why');
becomes('purge_lag', 'warning', '^0:00:', 'purge_errors', 'so its rows stay', 'purge_errors');
$node->safe_psql('postgres', 'DROP TRIGGER keep ON idem_message; DELETE FROM idem_message; SELECT idem_stats_reset()');
is_well('purge_errors', 'it is mended');
is_well('purge_lag', 'and its rows go');

# Dead rows.
$node->safe_psql('postgres', q{
	INSERT INTO idem_message (expires_at, consumer, message_id)
	SELECT now() + interval '1 hour', 'c', i::text FROM generate_series(1, 20000) AS i;
	DELETE FROM idem_message;
});
becomes('bloat', 'warning', '^idem_message: [12]\d{4} dead rows, 0 live, \d+ MB$', 'Autovacuum is off', 'a bloated table');
$node->safe_psql('postgres', 'VACUUM idem_message');
is_well('bloat', 'it is vacuumed');

# Settings.
# as ALTER DATABASE takes it as long as the library is not there
$node->safe_psql('postgres', q{
	INSERT INTO pg_db_role_setting SELECT oid, 0, '{idem.ttl=soon}' FROM pg_database WHERE datname = 'postgres'});
becomes('ttl', 'critical', '^soon$', 'ALTER DATABASE', 'a setting that is none');
$node->safe_psql('postgres', q{ALTER DATABASE postgres RESET idem.ttl});
is_well('ttl', 'it is reset');
$node->safe_psql('postgres', q{ALTER DATABASE postgres SET idem.lose_request = 0.000001});
becomes('lost_acks', 'warning', '^on$', 'Reset them', 'acknowledgements that are lost on purpose');
$node->safe_psql('postgres', q{ALTER DATABASE postgres RESET idem.lose_request});
is_well('lost_acks', 'no longer');

# What has to be looked at is found by reading few pages, a look after the other.
$node->safe_psql('postgres', q{
	INSERT INTO idem_key (created_at, expires_at, fence, outcome, claimed_by, scope, key, response)
	SELECT now(), now() + interval '1 hour', 1, 'executed', 10::oid::idem_role, 'many', i::text, to_jsonb(repeat('x', 1900))
	FROM generate_series(1, 5000) AS i;
	SELECT outcome FROM idem_claim('far away', lease => '1 second', ttl => '1 hour');
});
cmp_ok($node->safe_psql('postgres', q{SELECT pg_relation_size('idem_key') / 8192}), '>', 1000, 'a table of many pages');
becomes('stuck_lease', 'warning', '^claimed', 'idem_claims', 'a claim at its end is found');
$node->stop;

done_testing();
