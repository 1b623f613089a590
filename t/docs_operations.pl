# What docs/operations.md says beside its examples, which t/docs_readme.pl runs: how
# large keys are, what a failover loses, what other databases and the function by hand
# do, and each case of the runbook, made and found as the page says.  The page's own list
# of tests leaves no section out, and the tests are there.
use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = "$FindBin::RealBin/..";
my $page = slurp_file("$top/docs/operations.md");
my ($list) = $page =~ /^## What stands behind this page\n(.*?)(?=^## |\z)/ms;

# A statement of the page.
sub shown
{
	my ($pattern) = @_;
	my ($statement) = $page =~ /^($pattern.*?;)$/ms;

	die "the page has no $pattern" unless defined $statement;
	return $statement;
}

# What is wrong with the list, where the page has these sections.
sub gaps
{
	my ($rows, @sections) = @_;
	my %known = map { $_ => 1 } @sections;
	my (%listed, @gaps);

	foreach my $row (split /\n/, $rows)
	{
		my ($section, $what, $tests) = $row =~ /^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$/ or next;
		next if $section eq 'section';
		$listed{$section} = 1;
		push @gaps, "$section is no section" unless $known{$section};
		push @gaps, "$what: no test" unless $tests =~ /`/;
		push @gaps, "$what: there is no $_" foreach grep { !-f "$top/$_" } $tests =~ /`([^`]+)`/g;
	}
	push @gaps, "$_ is not listed" foreach grep { !$listed{$_} } @sections;
	return join "\n", @gaps;
}

my @sections = grep { $_ ne 'What stands behind this page' } $page =~ /^## (.*)$/mg;
cmp_ok(scalar @sections, '>', 15, 'the page has sections');
is(gaps($list, @sections), '', 'each section has tests, which are there');
foreach my $section (@sections)
{
	my $without = join '', grep { !/^\| \Q$section\E \|/ } split /^/, $list;
	like(gaps($without, @sections), qr/^\Q$section\E is not listed$/m, "$section would be missed");
}
like(gaps($list =~ s{t/key_forget}{t/key_forgotten}r, @sections), qr/there is no t\/key_forgotten/, 'so would a test');

my $node = PostgreSQL::Test::Cluster->new('operations');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', "autovacuum = off\nmax_prepared_transactions = 2\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION idem;
	CREATE TABLE orders (id bigint PRIMARY KEY, customer text, total numeric(10,2));
	CREATE ROLE app; CREATE ROLE app_march LOGIN; CREATE ROLE app_april LOGIN;
	GRANT app TO app_march, app_april;
	ALTER ROLE app_march SET role = 'app'; ALTER ROLE app_april SET role = 'app';
});
sub sql { return $node->safe_psql('postgres', @_) }

# The check of this name, as severity and hint.
sub health { return sql(qq{SELECT severity, hint FROM idem_health WHERE "check" = '$_[0]'}) }

#
# Size
#

# What the page says of keys that contain these words.
sub size_said
{
	my ($words) = @_;
	my ($section) = $page =~ /^## Size\n(.*?)(?=^## )/ms;
	my ($bytes) = $section =~ /^\| [^|]*\Q$words\E[^|]* \| (\d+) \|$/m or die "no size of $words";
	return $bytes;
}

# The bytes on disk of each of 20,000 keys, or messages, that these calls leave.
sub size_of
{
	my ($call, $table) = @_;

	return sql(qq{
		TRUNCATE orders, idem_key, idem_message;
		SELECT count(*) FROM generate_series(1, 20000) AS g, LATERAL $call \\g /dev/null
		SELECT pg_total_relation_size('$table') / count(*) FROM $table});
}

my $row = q{'orders', jsonb_build_object('id', g, 'customer', 'VINET', 'total', 440.00)};
my $upsert;
foreach my $case (
	[ 'without an answer', q{idem_execute(idem_new_key() || left(g::text, 0), 'SELECT 1', store_response => false)} ],
	[ 'a row of three columns', "idem_upsert(idem_new_key() || left(g::text, 0), $row)" ],
	[ 'random keys', "idem_upsert(gen_random_uuid()::text || left(g::text, 0), $row)" ],
	[ 'a claim with a lease', q{idem_claim(idem_new_key(), jsonb_build_object('order', g), lease => '1 hour')} ],
	[ 'a message', q{idem_consume('mail', 'message-' || (10000 + g))}, 'idem_message' ])
{
	my ($words, $call, $table) = @$case;
	my $bytes = size_of($call, $table // 'idem_key');
	my $said = size_said($words);

	$upsert = $bytes if $words =~ /three columns/;
	note("$words: $bytes bytes");
	ok(abs($bytes - $said) <= 0.08 * $said, "$words takes about $said bytes") or diag("$bytes");
}

# The table of what a ttl costs is that of the upsert.
my %hours = (0 => 1, 1 => 24, 2 => 168);
while ($page =~ /^\| (\d+) \| ([\d.]+) (MB|GB) \| ([\d.]+) (MB|GB) \| ([\d.]+) (MB|GB) \|$/mg)
{
	my ($rate, @said) = ($1, [ $2, $3 ], [ $4, $5 ], [ $6, $7 ]);

	foreach my $i (0 .. 2)
	{
		my $bytes = $rate * 3600 * $hours{$i} * $upsert;
		my $there = $said[$i][0] * ($said[$i][1] eq 'GB' ? 1e9 : 1e6);
		ok(abs($bytes - $there) <= 0.08 * $bytes, "$rate a second for $hours{$i} hours are $said[$i][0] $said[$i][1]")
		  or diag($bytes);
	}
}
sql('TRUNCATE orders, idem_key, idem_message');

#
# Managed services
#

sql(shown('CREATE TABLE once ') . shown('CREATE FUNCTION once_begin.*?^END \$\$'));
my $script = $node->basedir . '/once.sql';
append_to_file($script, q{
\set key random(1, 50)
BEGIN;
SELECT new FROM once_begin(:key::text, '{"a": 1}') \gset
\if :new
INSERT INTO orders (id) VALUES (:key);
UPDATE once SET response = '1' WHERE key = :key::text;
\endif
COMMIT;
SELECT 1 / (response IS NOT NULL)::int FROM once_begin(:key::text, '{"a": 1}');
});
$node->command_ok([ 'pgbench', '-n', '-c', '8', '-t', '100', '-f', $script, '-h', $node->host, '-p', $node->port, 'postgres' ],
	'by hand: eight clients, and no error, not even of an order that is there');
is(sql('SELECT count(*), count(DISTINCT id) FROM orders'), sql('SELECT count(*), count(*) FROM once'), 'each key does its work once');
my ($status, $out, $err) = $node->psql('postgres', q{\set VERBOSITY verbose
	SELECT once_begin('1', '{"a": 2}')});
like($err, qr/ID001: key "1" was used for a different request/, 'another request is refused');
sql('TRUNCATE orders');

#
# Preload or not, Rotating credentials, Several databases
#

is(sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'idem%'}), '0', 'not preloaded: nobody purges');
like(health('worker'), qr/^(?:warning|critical)\|.*\bidem_worker_start\b/, 'which idem_health says, and what to do');
sql(q{SELECT * FROM idem_execute('counted', 'SELECT 1')});
my $stat = q{SELECT value FROM idem_stats WHERE counter = 'key_new' AND datname = current_database()};
cmp_ok(sql($stat), '>', 0, 'not preloaded: calls are counted');
is(sql('SELECT idem_worker_start()'), 't', 'a worker for one database');
ok($node->poll_query_until('postgres', q{SELECT severity = 'ok' FROM idem_health WHERE "check" = 'worker'}), 'is enough');
sql('SELECT idem_worker_stop()');

my $retry = q{SELECT outcome, replayed FROM idem_execute('mine', 'SELECT 1')};
is(sql($retry, extra_params => [ '-U', 'app_march' ]), 'executed|f', 'a role calls as the group that it is a member of');
is(sql($retry, extra_params => [ '-U', 'app_april' ]), 'executed|t', 'the next one gets its answer');

$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION idem; ALTER DATABASE other SET idem.ttl = \'7d\'');
is($node->safe_psql('other', $retry), 'executed|f', 'a key of one database is new in another');
is($node->safe_psql('other', q{SELECT extract(day FROM expires_at - created_at) FROM idem_key WHERE key = 'mine'}), '7',
	'which has settings of its own');
$node->safe_psql('postgres', 'CREATE DATABASE copied TEMPLATE other');
is($node->safe_psql('copied', $retry), 'executed|t', 'a copy has the keys');

#
# Autovacuum
#

my $options = q{SELECT array_to_string(reloptions, ' ') FROM pg_class WHERE relname = 'idem_key'};
$node->safe_psql('other', 'ALTER TABLE idem_key SET (autovacuum_vacuum_scale_factor = 0.3)');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
my $dump = $node->basedir . '/other.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, '-d', $node->connstr('other') ], 'the other database is dumped');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $node->connstr('restored') ], 'and restored');
like($node->safe_psql('other', $options), qr/vacuum_scale_factor=0\.3\b/, 'a storage parameter is set');
like($node->safe_psql('restored', $options), qr/vacuum_scale_factor=0\.02\b/, 'and not dumped');
is($node->safe_psql('restored', $retry), 'executed|t', 'but the keys are');

#
# Runbook
#

# Keys run away: each retry has a key of its own.
sql(q{SELECT count(*) FROM generate_series(1, 30) AS g, LATERAL idem_execute('try-' || g, 'SELECT 1', scope => 'tenant 7')});
like(sql(shown('SELECT scope, claimed_by::text')), qr/\Atenant 7\|[^|]*\|executed\|30\|/, 'the scope with the most keys is first');
like(sql(q{SELECT * FROM idem_forget_scope('tenant 7')}), qr/^30\|0$/, 'and can be taken away');

# A claim is stuck; its work turns out to be done.
is(sql(q{SELECT fence FROM idem_claim('charge', '{"order": 1}', lease => '1 microsecond')}), '1', 'a holder dies');
my $stuck = shown('SELECT key, scope, role, fence');
like(sql($stuck), qr/^charge\|\|[^|]+\|1\|/, 'its claim is found');
is(sql(q{SELECT fence FROM idem_claim('charge', '{"order": 1}', lease => '1 minute')}), '2', 'claimed in its place');
is(sql(q{SELECT idem_complete('charge', '{"charge": "ch_1"}', 2)}), 't', 'and completed');
is(sql($stuck), '', 'it is stuck no longer');
is(sql(q{SELECT outcome, fence FROM idem_claim('mail', '1', lease => '1 hour')}), 'claimed|1', 'a holder that sleeps');
is(sql(q{SELECT idem_release('mail', 1)}), 't', 'can be released by another session');
is(sql(q{SELECT outcome, fence FROM idem_claim('mail', '1', lease => '1 hour')}), 'claimed|2', 'so that the next has it now');

# The first holder comes back late.
($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY sqlstate\nSELECT idem_complete('charge', '{}', 1)");
like($err, qr/ID002/, 'a late holder is refused');
like(health('stale_fence'), qr/^(?:warning|critical)\|./, 'and seen');

# A client reuses keys: its request has the time of sending in it.
my $sent = sub { return $node->psql('postgres', qq{\\set VERBOSITY verbose
	SELECT idem_upsert('checkout-1', 'orders', '{"id": 1, "customer": "sent at $_[0]"}')}) };
like(health('key_mismatch'), qr/^ok\|/, 'no key was reused');
$sent->('09:00');
($status, $out, $err) = $sent->('09:01');
like($err, qr/ID001: .*\n.*DETAIL: +It was used for .* at .* by role/, 'a request with its time in it is no retry');
like(health('key_mismatch'), qr/^(?:warning|critical)\|./, 'which is an alarm');
like(slurp_file($node->logfile), qr/ERROR: +key "checkout-1" was used for a different request\n.*DETAIL: /, 'with the key in the log');
is(sql('SELECT customer FROM orders WHERE id = 1'), 'sent at 09:00', 'and nothing was written');

# Purging lags: a prepared transaction keeps vacuum away from what was purged.
sql(q{BEGIN; SELECT idem_execute('prepared', 'SELECT 1'); PREPARE TRANSACTION 'forgotten'});
sql(q{SELECT count(*) FROM generate_series(1, 30) AS g, LATERAL idem_execute('old-' || g, 'SELECT 1', ttl => '1 microsecond')});
my $dead = sub {
	my ($status, $out, $err) = $node->psql('postgres', 'VACUUM (VERBOSE) idem_key');
	return $err =~ /(\d+) are dead but not yet removable/ ? $1 : "no number: $err";
};
sql('VACUUM idem_key; SELECT idem_purge()');
is(sql(q{SELECT count(*) FROM idem_key WHERE key LIKE 'old-%'}), '0', 'what has expired is purged');
cmp_ok($dead->(), '>=', 30, 'but vacuum cannot remove it');
is(sql(q{SELECT gid FROM pg_prepared_xacts}), 'forgotten', 'because of a prepared transaction');
sql(q{ROLLBACK PREPARED 'forgotten'});
is($dead->(), '0', 'until that is ended');

# A client waits, for work that goes on, and for a commit.
foreach my $case ([ 'advisory', [ q{SELECT idem_execute('busy', 'SELECT pg_sleep(600)')} ] ],
	[ 'transactionid', [ 'BEGIN', q{SELECT idem_execute('busy', 'SELECT 1')}, 'SELECT pg_sleep(600)' ] ])
{
	my ($event, $work) = @$case;
	my @sessions;

	foreach my $statements ($work, [ q{SELECT idem_execute('busy', 'SELECT pg_sleep(600)')} ])
	{
		push @sessions, IPC::Run::start([ 'psql', '-X', '-d', $node->connstr('postgres'), map { ('-c', $_) } @$statements ],
			'>', \my $nothing, '2>', \my $noise);
		ok($node->poll_query_until('postgres', q{SELECT count(*) >= } . @sessions . q{ FROM pg_stat_activity
			WHERE query ~ 'sleep' AND pid <> pg_backend_pid() AND wait_event IN ('PgSleep', 'advisory', 'transactionid')}),
			'a session is there');
	}
	like(sql(shown('SELECT pid, pg_blocking_pids')), qr/^\d+\|\{\d+\}\|$event$/, "a call that waits shows as $event");
	sql(q{SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE query ~ 'sleep' AND pid <> pg_backend_pid()});
	$_->finish foreach @sessions;
}

#
# Uninstalling
#

$node->safe_psql('other', q{
	CREATE TABLE orders (id int PRIMARY KEY, status order_status NOT NULL DEFAULT 'PENDING', version int NOT NULL DEFAULT 1);
	CREATE TABLE kept (id int PRIMARY KEY, status text NOT NULL DEFAULT 'PENDING', version int NOT NULL DEFAULT 1);
	SELECT idem_attach('orders', 'order'); SELECT idem_attach('kept', 'order');
	INSERT INTO kept VALUES (1);
});
($status, $out, $err) = $node->psql('other', 'DROP EXTENSION idem');
like($err, qr/other objects depend on it/, 'a table that follows a machine holds the extension');
$node->safe_psql('other', 'DROP EXTENSION idem CASCADE');
is($node->safe_psql('other', q{SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute
	WHERE attrelid = 'orders'::regclass AND attnum > 0 AND NOT attisdropped}), 'id version', 'CASCADE takes columns of type order_status');
is($node->safe_psql('other', q{UPDATE kept SET status = 'anything' RETURNING status}), 'anything',
	'and the triggers of others, whose rows stay');

#
# Replicas and failover
#

$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
my $order = sub { return qq{SELECT outcome, replayed FROM idem_upsert('order-$_[0]', 'orders', '{"id": 10$_[0]}')} };
sql($order->(1));
$node->wait_for_catchup($standby);
$standby->stop;
is(sql($order->(2)), 'inserted|f', 'the primary answers, and its standby is not there');
# synchronously, a client is not answered for what the standby does not have
$node->append_conf('postgresql.conf', "synchronous_standby_names = '*'\n");
$node->reload;
my $waiting = IPC::Run::start([ 'psql', '-X', '-A', '-t', '-d', $node->connstr('postgres'), '-c', $order->(3) ],
	'>', \my $answer, '2>', \my $noise);
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'}),
	'synchronously, a call waits for the standby');
$node->stop('immediate');
$waiting->finish;
is($answer // '', '', 'and its client has no answer that could be lost');
$standby->start;
$standby->promote;
is($standby->safe_psql('postgres', 'SELECT string_agg(id::text, \' \' ORDER BY id) FROM orders WHERE id > 100'), '101',
	'promoted, it lacks the last row');
is($standby->safe_psql('postgres', $order->(1)), 'inserted|t', 'it answers for those that it has');
foreach my $lost (2, 3)
{
	is($standby->safe_psql('postgres', $order->($lost)), 'inserted|f', 'a retry does the rest again');
	is($standby->safe_psql('postgres', $order->($lost)), 'inserted|t', 'once');
}

# A library that is preloaded must be there.
$standby->append_conf('postgresql.conf', "shared_preload_libraries = 'idem_removed'\n");
$standby->stop;
ok(!$standby->start(fail_ok => 1), 'a server whose preloaded library is missing does not start');

done_testing();
