# Kafka: consumers that book payments in batches, by their offsets.
#
# Debian has no Kafka; the cluster is the one that librdkafka makes for tests of
# its own. Groups, generations and offsets are there, and behave as Kafka's.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Consumers;
use PostgreSQL::Test::Utils;
use Test::More;

my $python = python(qw(confluent_kafka psycopg));
need(
	'python3-confluent-kafka' => python('confluent_kafka'),
	'python3-psycopg' => python('psycopg'));

start_database();
my $output = background({}, $python, "$FindBin::RealBin/kafka/cluster.py");
chomp(my $servers = await('the cluster', sub { slurp_file($output) =~ /.*\n/ && $& }));

published($python, "$FindBin::RealBin/kafka/publish.py", $servers);
my %count = rehearse(
	command => [ $python, "$FindBin::RealBin/kafka/consumer.py", $servers ],
	strikes => 1500,
	settles => 6,
	faults => sub {
		my ($number, $count) = @_;

		return {
			# delivered again is what those get who go by Kafka's offsets
			$number % 2 ? (FORGET_OFFSETS => 1) : (),
			# one is away until its partitions are another's, and is to be fenced
			$number == 1 && !$count->{fenced} ? (PAUSE_WITHIN => 3) : (DIE_WITHIN => 16)
		};
	});
cmp_ok($count{fenced}, '>', 0, 'a consumer from an older generation was refused');

done_testing();
