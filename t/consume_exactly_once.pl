# Messages under fire: consumers that are delivered every message, again and
# again until they are answered, while backends are terminated, connections are
# cut before the answer is read, and the server crashes.  At the end every
# message has had its effect once, one by one, in batches and by offset.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use List::Util qw(min shuffle);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Storm;
use Test::More;

use constant {
	MESSAGES => 600,
	BATCH => 15,
	PARTITIONS => 4,
	OFFSETS => 400,    # of each partition
	RANGE => 10,       # at most so many of them at a time
};

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "restart_after_crash = on\n");
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION idem;
CREATE TABLE effect (consumer text, message text);
CREATE TABLE applied ("partition" int, "offset" bigint);
SQL

# Counts those of the messages whose effect is not there.
sub without_effect
{
	my ($consumer, @messages) = @_;
	my $list = key_list(@messages);

	return $node->safe_psql('postgres', <<"SQL");
SELECT count(*) FROM (VALUES $list) AS acknowledged (message)
WHERE NOT EXISTS (SELECT FROM effect AS e
	WHERE e.consumer = '$consumer' AND e.message = acknowledged.message)
SQL
}

sub effects
{
	my ($consumer) = @_;

	return $node->safe_psql('postgres', <<"SQL");
SELECT count(*), count(DISTINCT message) FROM effect WHERE consumer = '$consumer'
SQL
}

sub remembered
{
	my ($consumer) = @_;

	return $node->safe_psql('postgres', <<"SQL");
SELECT count(*) FROM idem_message WHERE consumer = '$consumer'
SQL
}

# One by one.
my %answers = storm(
	$node, CLIENTS * MESSAGES,
	sub { return without_effect('single', @_) },
	sub {
		return map {
			[
				$_, "WITH done AS (
				INSERT INTO effect SELECT 'single', '$_'
				WHERE idem_consume('single', '$_') RETURNING 1)
				SELECT count(*) FROM done" =~ s/\s+/ /gr
			]
		} shuffle(1 .. MESSAGES);
	});
is(effects('single'), MESSAGES . '|' . MESSAGES,
	'every message had its effect once');
is(remembered('single'), MESSAGES, 'and is remembered once');
is( scalar(grep { my $new = grep { $_ eq '1' } @$_; $new > 1 } values %answers),
	0, 'nobody was told that a message is new after somebody else was');

# In batches, which overlap, in an order of each client's own.
%answers = storm(
	$node,
	CLIENTS * MESSAGES / BATCH,
	sub { return without_effect('batch', map { split / / } @_) },
	sub {
		my @messages = shuffle(1 .. MESSAGES);
		my @batches;

		while (my @batch = splice @messages, 0, BATCH)
		{
			my $ids = join ', ', map { "'$_'" } @batch;

			push @batches, [ "@batch", "WITH done AS (
				INSERT INTO effect SELECT 'batch', message
				FROM idem_consume_batch('batch', ARRAY[$ids]) AS message RETURNING 1)
				SELECT count(*) FROM done" =~ s/\s+/ /gr ];
		}
		return @batches;
	});
is(effects('batch'), MESSAGES . '|' . MESSAGES,
	'in batches, too, every message had its effect once');
is(remembered('batch'), MESSAGES, 'and is remembered once');
unlike(slurp_file($node->logfile), qr/deadlock detected/,
	'no two batches were in the way of each other');

# By offset: every client reads every partition from the start, in ranges of its
# own.
my $ranges = PARTITIONS * OFFSETS / RANGE;
storm(
	$node,
	CLIENTS * $ranges,
	sub {
		my $list = key_list(@_);

		return $node->safe_psql('postgres', <<"SQL");
SELECT count(*) FROM (VALUES $list) AS acknowledged (range),
	split_part(range, ':', 1) AS p, split_part(range, ':', 2) AS first,
	split_part(range, ':', 3) AS last, generate_series(first::int, last::int) AS o
WHERE NOT EXISTS (SELECT FROM applied
	WHERE "partition" = p::int AND "offset" = o)
SQL
	},
	sub {
		my @all;

		# so many ranges, of sizes that differ from client to client
		foreach my $p (1 .. PARTITIONS)
		{
			my $first = 0;

			foreach my $left (reverse 1 .. OFFSETS / RANGE)
			{
				my $size = $left == 1 ? OFFSETS - $first :
				  1 + int(rand(min(2 * RANGE, OFFSETS - $first - $left)));
				my $last = $first + $size - 1;

				push @all, [ "$p:$first:$last", "WITH done AS (
					INSERT INTO applied SELECT $p, o FROM generate_series(
						idem_advance('group', 'log', $p, $first, $last), $last) AS o
					RETURNING 1) SELECT count(*) FROM done" =~ s/\s+/ /gr ];
				$first = $last + 1;
			}
		}
		return @all;
	});
is( $node->safe_psql('postgres', <<'SQL'),
SELECT count(*), count(DISTINCT ("partition", "offset")) FROM applied
SQL
	PARTITIONS * OFFSETS . '|' . PARTITIONS * OFFSETS,
	'every offset had its effect once');
is( $node->safe_psql('postgres', <<'SQL'),
SELECT count(*), min(next_offset), max(next_offset) FROM idem_offset
SQL
	PARTITIONS . '|' . OFFSETS . '|' . OFFSETS,
	'one row a partition tells how far the group has come');

$node->stop;
done_testing();
