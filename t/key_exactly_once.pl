# Exactly once under fire: clients that retry until they are answered, while
# backends are terminated, connections are cut before the answer is read, and
# the server crashes.  At the end every request has had its effect once, all
# answers to one key are equal, and nothing acknowledged was lost.

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
	REQUESTS => 1000,
	ORDERS => 100,
};

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "restart_after_crash = on\n");
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION idem;
CREATE TABLE request_row (id int PRIMARY KEY, amount numeric NOT NULL,
	serial bigint GENERATED ALWAYS AS IDENTITY);
CREATE TABLE effect (id int, command text);
CREATE FUNCTION note_effect() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO effect VALUES (new.id, tg_op);
	RETURN NULL;
END $$;
CREATE TRIGGER effect AFTER INSERT OR UPDATE ON request_row
	FOR EACH ROW EXECUTE FUNCTION note_effect();

CREATE TABLE orders (id int PRIMARY KEY,
	status order_status NOT NULL DEFAULT 'PENDING',
	version bigint NOT NULL DEFAULT 1);
SELECT idem_attach('orders', 'order');
CREATE TABLE step (id int, status order_status);
CREATE FUNCTION note_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO step VALUES (new.id, new.status);
	RETURN NULL;
END $$;
CREATE TRIGGER step AFTER UPDATE ON orders
	FOR EACH ROW EXECUTE FUNCTION note_step();
SQL
$node->safe_psql('postgres',
	'INSERT INTO orders SELECT i FROM generate_series(1, ' . ORDERS . ') AS i');

# Upserts: REQUESTS requests, each sent by every client.
my %answers = storm(
	$node, CLIENTS * REQUESTS,
	sub {
		my $keys = key_list(@_);

		return $node->safe_psql('postgres', <<"SQL");
SELECT count(*) FROM (VALUES $keys) AS acknowledged (key)
WHERE NOT EXISTS (SELECT FROM idem_key AS k WHERE k.key = acknowledged.key)
	OR NOT EXISTS (SELECT FROM request_row WHERE id = acknowledged.key::int)
SQL
	},
	sub {
		return map {
			[
				$_,
				"SELECT outcome, result FROM idem_upsert('$_', 'request_row', '{\"id\": $_, \"amount\": $_.50}')"
			]
		} shuffle(1 .. REQUESTS);
	});

is(scalar(keys %answers), REQUESTS, 'every key was answered');
is(scalar(grep { !all_equal($_) } values %answers),
	0, 'all answers to one key are equal');
is(scalar(grep { $_->[0] !~ /^inserted\|/ } values %answers),
	0, 'the answer is that of the first time');
is( $node->safe_psql('postgres',
		'SELECT count(*), count(DISTINCT id), sum(amount - id) FROM request_row'),
	REQUESTS . '|' . REQUESTS . '|' . REQUESTS / 2 . '.00',
	'one row a request');
is( $node->safe_psql('postgres',
		'SELECT count(*), count(DISTINCT id), max(command) FROM effect'),
	REQUESTS . '|' . REQUESTS . '|INSERT',
	'each was written once, and never updated');

# Transitions: every client walks every order through its life, the even ones
# with a key for each step, the odd ones with the version they expect.
my @states = qw(PROCESSING SHIPPED DELIVERED);

%answers = storm(
	$node, CLIENTS * ORDERS * @states,
	sub {
		my $keys = key_list(@_);

		return $node->safe_psql('postgres', <<"SQL");
SELECT count(*) FROM (VALUES $keys) AS acknowledged (key),
	split_part(key, ':', 1) AS order_id, split_part(key, ':', 2) AS state
WHERE NOT EXISTS (SELECT FROM step
	WHERE id = order_id::int AND status::text = state)
SQL
	},
	sub {
		return map {
			my $id = $_;

			map {
				my $expect = $id % 2 == 0 ? "key => '$id:$states[$_]'" :
				  'expected_version => ' . ($_ + 1);

				[
					"$id:$states[$_]",
					"SELECT outcome, from_state, to_state, version FROM order_transition('orders', $id, '$states[$_]', $expect)"
				]
			} 0 .. $#states;
		} shuffle(1 .. ORDERS);
	});

my @keyed = grep { $_ % 2 == 0 } 1 .. ORDERS;
my $unequal = 0;
my $untrue = 0;
my $twice = 0;
foreach my $id (1 .. ORDERS)
{
	foreach my $step (0 .. $#states)
	{
		my $got = $answers{"$id:$states[$step]"};
		my $from = $step == 0 ? 'PENDING' : $states[ $step - 1 ];
		my $applied = "applied|$from|$states[$step]|" . ($step + 2);

		if ($id % 2 == 0)
		{
			$unequal++ unless all_equal($got) && $got->[0] eq $applied;
			next;
		}
		# without a key a retry learns that it is done, or that it is late
		$twice++ if grep({ $_ eq $applied } @$got) > 1;
		$untrue++
		  if grep { $_ ne $applied && !/^noop\|/ && $_ ne 'ID203' } @$got;
	}
}
is($unequal, 0, 'with a key, every answer is that of the first time');
is($twice, 0, 'without a key, no step is told to be applied twice');
is($untrue, 0, 'without a key, a retry is told so or refused');
is( $node->safe_psql('postgres',
		'SELECT status, version, count(*) FROM orders GROUP BY 1, 2'),
	'DELIVERED|4|' . ORDERS,
	'versions count exactly the applied transitions');
is( $node->safe_psql('postgres',
		'SELECT count(*), count(DISTINCT (id, status)) FROM step'),
	3 * ORDERS . '|' . 3 * ORDERS,
	'each transition was made once');

$node->stop;
done_testing();
