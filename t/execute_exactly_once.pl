# Any statement exactly once under fire: "add ten" is sent by eight clients for
# every key until it is answered, while backends are terminated, connections are
# cut before the answer is read, and the server crashes.  At the end the
# balances come to the number of distinct keys times ten.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use List::Util qw(shuffle);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Storm;
use Test::More;

use constant {
	KEYS => 1000,
	ACCOUNTS => 10,
};

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "restart_after_crash = on\n");
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION idem;
CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL DEFAULT 0);
CREATE TABLE movement (key text, account int, amount bigint);
SQL
$node->safe_psql('postgres',
	'INSERT INTO account SELECT i FROM generate_series(1, ' . ACCOUNTS . ') AS i');

# The statement knows nothing of keys.  Half of the requests are the plain
# update, whose repetition nothing but the key can tell; the other half note
# what they did as well, and are read back after each crash.
my $update =
  'UPDATE account SET balance = balance + 10 WHERE id = $1 RETURNING id';
my $noted =
  'WITH paid AS (UPDATE account SET balance = balance + 10 WHERE id = $1 RETURNING id) '
  . 'INSERT INTO movement SELECT $2, id, 10 FROM paid RETURNING account';

my %answers = storm(
	$node,
	CLIENTS * KEYS,
	sub {
		my $keys = key_list(@_);

		return $node->safe_psql('postgres', <<"SQL");
SELECT count(*) FROM (VALUES $keys) AS acknowledged (key)
WHERE NOT EXISTS (SELECT FROM idem_key AS k WHERE k.key = acknowledged.key)
	OR key::int % 2 = 0
	AND NOT EXISTS (SELECT FROM movement AS m WHERE m.key = acknowledged.key)
SQL
	},
	sub {
		return map {
			my $account = 1 + $_ % ACCOUNTS;
			my ($command, $params) =
			  $_ % 2 == 0
			  ? ($noted, "[$account, \"$_\"]")
			  : ($update, "[$account]");

			[
				$_,
				"SELECT outcome, result, processed FROM idem_execute('$_', '$command', '$params')"
			]
		} shuffle(1 .. KEYS);
	});

is(scalar(keys %answers), KEYS, 'every key was answered');
is(scalar(grep { !all_equal($_) } values %answers),
	0, 'all answers to one key are equal');
is( scalar(
		grep { $_->[0] !~ /^executed\|\[\{"(id|account)": \d+\}\]\|1$/ }
		  values %answers),
	0,
	'the answer is that of the first time');
is( $node->safe_psql('postgres',
		'SELECT sum(balance), min(balance), max(balance) FROM account'),
	join('|', KEYS * 10, (KEYS / ACCOUNTS * 10) x 2),
	'the balances come to the number of distinct keys times ten');
is( $node->safe_psql('postgres',
		'SELECT count(*), count(DISTINCT key) FROM movement'),
	join('|', (KEYS / 2) x 2),
	'each noted request was noted once');

$node->stop;
done_testing();
