# Through PgBouncer in transaction mode, where each transaction of a client may
# run in another session: keys, claims and transitions keep nothing there.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($pgbouncer) = grep { -x } map { "$_/pgbouncer" } split(/:/, $ENV{PATH}), '/usr/sbin';
plan skip_all => 'pgbouncer is not installed' unless defined $pgbouncer;

my ($version) = qx($pgbouncer --version) =~ /PgBouncer (\d+\.\d+)/;
my $prepares = (split /\./, $version)[1] >= 21;

my $node = PostgreSQL::Test::Cluster->new('pooler');
$node->init;
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION idem;
CREATE TABLE account (id int PRIMARY KEY, v int, calls int NOT NULL DEFAULT 0);
CREATE FUNCTION count_call() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	new.calls := old.calls + 1;
	RETURN new;
END $$;
CREATE TRIGGER count_call BEFORE UPDATE ON account
	FOR EACH ROW EXECUTE FUNCTION count_call();
CREATE TABLE orders (id int PRIMARY KEY,
	status order_status NOT NULL DEFAULT 'PENDING', version int NOT NULL DEFAULT 1);
SELECT idem_attach('orders', 'order');
INSERT INTO orders SELECT generate_series(1, 50);
CREATE TABLE session (pid int);
SQL

# A pooler with two connections to the server, on a socket of its own.
my $place = PostgreSQL::Test::Utils::tempdir_short();
my ($server, $port, $user) = ($node->host, $node->port,
	$node->safe_psql('postgres', 'SELECT current_user'));
append_to_file("$place/pgbouncer.ini", <<"INI");
[databases]
postgres = host=$server port=$port user=$user
[pgbouncer]
listen_addr =
listen_port = 6432
unix_socket_dir = $place
auth_type = any
pool_mode = transaction
default_pool_size = 2
max_client_conn = 100
logfile = $place/log
pidfile = $place/pid
INI
append_to_file("$place/pgbouncer.ini", "max_prepared_statements = 100\n")
  if $prepares;
system_or_bail($pgbouncer, '-q', '-d', "$place/pgbouncer.ini");
# it goes into the background before it listens
for (1 .. 1800)
{
	last if -S "$place/.s.PGSQL.6432";
	select undef, undef, undef, 0.1;
}

END
{
	kill 'INT', slurp_file("$place/pid") if defined $place && -s "$place/pid";
}

my $pooled = "host=$place port=6432 dbname=postgres";

sub ask
{
	my ($sql) = @_;
	my ($out, $err);

	$node->psql('postgres', $sql, connstr => $pooled, stdout => \$out,
		stderr => \$err, on_error_die => 1);
	return $out;
}

# The whole protocol, a transaction a step.

is(ask(q{SELECT outcome, fence FROM idem_claim('card-1', '{"amount": 5}', lease => '1 hour')}),
	'claimed|1', 'a key is claimed');
is(ask(q{SELECT outcome, fence FROM idem_claim('card-1', '{"amount": 5}', lease => '1 hour')}),
	'in_progress|', 'another client is told');
is(ask(q{SELECT idem_complete('card-1', '{"charge": "ch_1"}', 1)}),
	't', 'the claim is completed in another transaction');
is(ask(q{SELECT outcome, response FROM idem_lookup('card-1')}),
	'completed|{"charge": "ch_1"}', 'and looked up in yet another');

# A setting made by SET is the server session's, which the pooler lends to whoever
# comes next: it takes the session that was given back last.  SET LOCAL goes with its
# transaction, and an argument with its call.
my $pid = ask(q{SET idem.scope = 'tenant a'; SELECT pg_backend_pid()});
is(ask(q{SELECT pg_backend_pid(), outcome FROM idem_execute('scope-1', 'SELECT 1')}),
	"$pid|executed", 'the next client is served by the same session');
is($node->safe_psql('postgres', q{SELECT scope FROM idem_key WHERE key = 'scope-1'}),
	'tenant a', 'and uses a key of the scope that the former has set');
ask(q{RESET idem.scope});
is(ask(q{BEGIN; SET LOCAL idem.scope = 'tenant a'; SELECT outcome FROM idem_execute('scope-2', 'SELECT 1'); COMMIT}),
	'executed', 'SET LOCAL');
is(ask(q{SELECT pg_backend_pid(), outcome FROM idem_execute('scope-2', 'SELECT 1')}),
	"$pid|executed", 'the next client, served by the same session');
is(ask(q{SELECT outcome, replayed FROM idem_execute('scope-2', 'SELECT 1', scope => 'tenant a')}),
	'executed|t', 'and one that names the scope');
is($node->safe_psql('postgres', q{SELECT string_agg(quote_literal(scope), ' ' ORDER BY scope) FROM idem_key WHERE key = 'scope-2'}),
	q{'' 'tenant a'}, 'have each the scope that they mean');

# Work that is refused, and what is not to be kept, in any session.
is(ask(q{SELECT outcome, replayed, result->>'sqlstate' FROM idem_execute('refused', 'SELECT 1/0', remember_errors => '{22012}')}),
	'failed|f|22012', 'an error is remembered');
is(ask(q{SELECT outcome, replayed, result->>'sqlstate' FROM idem_execute('refused', 'SELECT 1/0')}),
	'failed|t|22012', 'for all clients');

# The same under load, in as many ways as the pooler lets statements be sent.
my $script = "$place/script.sql";
append_to_file($script, <<'SQL');
\set n random(1, 50)
\set k random(1, 1000000000)
INSERT INTO session VALUES (pg_backend_pid());
SELECT outcome FROM idem_upsert('u-' || :n::int, 'account', jsonb_build_object('id', :n::int, 'v', 1));
SELECT outcome FROM idem_execute('x-' || :n::int, 'UPDATE account SET v = v + 10 WHERE id = $1', jsonb_build_array(:n::int));
SELECT outcome FROM order_transition('orders', :n::int, 'PROCESSING', key => 't-' || :n::int);
SELECT fence AS f FROM idem_claim('c-' || :client_id::int || '-' || :k::int, lease => '1 hour') \gset
SELECT idem_complete('c-' || :client_id::int || '-' || :k::int, '{"done": true}', :f::bigint);
SQL
foreach my $mode ('simple', 'extended', $prepares ? 'prepared' : ())
{
	$node->command_checks_all(
		[
			'pgbench', '-n', '-c', '8', '-t', '40', '-M', $mode, '-f', $script,
			$pooled
		],
		0,
		[qr{processed: 320/320}],
		[qr{^(?!.*(error|aborted))}is],
		"statements sent as pgbench's $mode ones");
}

is($node->safe_psql('postgres', 'SELECT count(DISTINCT pid) FROM session'),
	'2', 'two sessions served them all');
is( $node->safe_psql('postgres',
		q{SELECT count(*) FROM idem_key WHERE starts_with(key, 'c-') AND outcome <> 'completed'}),
	'0', 'every claim was completed');
is( $node->safe_psql('postgres', q{
	SELECT count(*) FROM account WHERE v <> 11 OR calls <> 1}),
	'0', 'every statement was executed once');
is( $node->safe_psql('postgres', q{
	SELECT count(*) FROM orders WHERE status = 'PROCESSING' AND version <> 2}),
	'0', 'every transition was made once');

$node->stop;
done_testing();
