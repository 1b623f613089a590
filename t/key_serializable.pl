# At SERIALIZABLE, transactions that use distinct keys do not fail because of
# them, though time-ordered keys all meet in the last page of the index.  A
# look-up of the key by a plain SELECT, which locks that page for conflict
# detection, makes them fail.
use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $clients = 8;
my $transactions = 250;		# of each client

my $node = PostgreSQL::Test::Cluster->new('serializable');
$node->init;
$node->append_conf('postgresql.conf', q{
default_transaction_isolation = 'serializable'
max_connections = 20
});
$node->start;

$node->safe_psql('postgres', q{
	CREATE EXTENSION idem;
	CREATE TABLE done (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, client int);
	CREATE TABLE plain_key (key text COLLATE "C" PRIMARY KEY);
});

# Runs a script in all clients, and tells how many transactions failed.
sub failures
{
	my ($name, $script) = @_;
	my $file = $node->basedir . "/$name.sql";
	my ($out, $err);

	append_to_file($file, $script);
	IPC::Run::run(
		[ 'pgbench', '-n', '-c', $clients, '-j', 2, '-t', $transactions,
		  '-M', 'prepared', '-f', $file, $node->connstr('postgres') ],
		'>', \$out, '2>', \$err) or die "pgbench: $err";
	$out =~ /^number of failed transactions: (\d+)/m or die "pgbench: $out";
	return $1;
}

my $key = q{to_char(clock_timestamp(), 'YYYYMMDDHH24MISSUS') || '-' || :client_id::text};

is(failures('idem', qq{
BEGIN;
SELECT $key AS key \\gset
SELECT * FROM idem_upsert(:key, 'done', jsonb_build_object('client', :client_id::int));
SELECT * FROM idem_upsert(:key, 'done', jsonb_build_object('client', :client_id::int));
COMMIT;
}), 0, 'no transaction fails because of its key');
is($node->safe_psql('postgres', 'SELECT count(*) FROM done'),
	$clients * $transactions, 'and each has done its work once');
is($node->safe_psql('postgres', 'SELECT count(*) FROM idem_key'),
	$clients * $transactions, 'under a key of its own');

cmp_ok(failures('plain', qq{
BEGIN;
SELECT $key AS key \\gset
SELECT * FROM plain_key WHERE key = :key;
INSERT INTO plain_key VALUES (:key);
COMMIT;
}), '>', 0, 'with a look-up by SELECT they do');

$node->stop;
done_testing();
