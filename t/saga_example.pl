# The programs of examples/saga: three databases, workers in two languages that die at
# random places, and a carrier that fails.  In the end every order has been charged,
# reserved and shipped once, or nothing of it is left.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use Clients;
use File::Basename;
use File::Spec;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

use constant { ORDERS => 60, SECONDS => 50 };

my $python = python('psycopg');
my $lacking = lacking('python3-psycopg' => $python, 'libdbd-pg-perl' => eval { require DBD::Pg });
plan skip_all => $lacking if $lacking;

my $example = File::Spec->rel2abs(dirname(__FILE__) . '/../examples/saga');
my $node = PostgreSQL::Test::Cluster->new('shops');
$node->init;
$node->start;
foreach my $database ([ shop => 'ledger' ], [ payment => 'payment' ], [ stock => 'stock' ])
{
	$node->safe_psql('postgres', "CREATE DATABASE $database->[0]");
	$node->safe_psql($database->[0], slurp_file("$example/$database->[1].sql"));
}
sub where { return 'host=' . $node->host . ' port=' . $node->port . " user=" . (getpwuid($<))[0] . " dbname=$_[0]" }
sub ask { return $node->safe_psql(@_) }

my $place = place();
my $carrier = IPC::Run::start([ $python, "$example/carrier.py", "$place/port", 7 ], '<', \undef, '>', '/dev/null', '2>', "$place/carrier");
my $until = time + 20;
usleep(10_000) while !-s "$place/port" && time < $until;
my $url = 'http://127.0.0.1:' . slurp_file("$place/port") . '/';

# Workers die, and are started anew.
my @commands = (
	([ $python, "$example/worker.py", where('shop'), where('payment'), $url ]) x 2,
	([ $^X, "$example/worker.pl", where('shop'), where('stock') ]) x 2);
my (@workers, @inputs);
my $deaths = 0;
my $crash = 0.03;

sub start_worker
{
	my ($n) = @_;

	local $ENV{IDEM_CRASH} = $crash;
	local $ENV{IDEM_LEASE} = '500 milliseconds';
	$inputs[$n] = '';
	$workers[$n] = IPC::Run::start($commands[$n], '<', \$inputs[$n], '>>', '/dev/null', '2>>', "$place/worker$n");
	return;
}

sub look_after_workers
{
	foreach my $n (0 .. $#commands)
	{
		# it may die between the question and the answer
		next if $workers[$n]->pumpable && eval { $workers[$n]->pump_nb; 1 };
		eval { $workers[$n]->finish };
		$deaths++;
		start_worker($n);
	}
	return;
}

start_worker($_) foreach 0 .. $#commands;
# the stock does not do for all; every fifth order is cancelled while it is under way
foreach my $order (1 .. ORDERS)
{
	ask('shop', "SELECT place($order, 10 + $order, 1 + $order % 4)");
	$node->psql('shop', "SELECT idem_saga_cancel('order-$order', '\"changed her mind\"')") if $order % 5 == 0;
	look_after_workers();
}
$until = time + SECONDS;
my $left;
while (time < $until)
{
	look_after_workers();
	$left = ask('shop', q{SELECT count(*) FROM idem_saga_status WHERE status NOT IN ('completed', 'compensated')});
	last if $left == 0;
	$crash = 0 if time > $until - SECONDS / 2;
	usleep(50_000);
}
is($left, 0, 'every saga has ended')
  or diag(ask('shop', q{SELECT * FROM idem_saga_work}), map { slurp_file("$place/worker$_") } 0 .. $#commands);
cmp_ok($deaths, '>', 0, 'workers have died');
note("$deaths workers died");

my $completed = ask('shop', q{SELECT string_agg(saga, ' ' ORDER BY saga) FROM idem_saga_status WHERE status = 'completed'});
my $compensated = ask('shop', q{SELECT count(*) FROM idem_saga_status WHERE status = 'compensated'});
cmp_ok($compensated, '>', 0, 'some were undone');
cmp_ok(scalar(split / /, $completed), '>', 0, 'some were not');
foreach my $participant ([ payment => 'booking', 'amount' ], [ stock => 'movement', 'quantity' ])
{
	my ($database, $table, $what) = @$participant;

	is(ask($database, "SELECT string_agg(saga, ' ' ORDER BY saga) FROM (SELECT saga FROM $table GROUP BY saga HAVING sum($what) <> 0) AS s"),
		$completed, "$database: what is left is that of the orders that are completed");
	is(ask($database, "SELECT count(*) FROM (SELECT saga FROM $table WHERE $what > 0 GROUP BY saga HAVING count(*) > 1) AS s"),
		'0', "$database: nothing was done twice");
	is(ask($database, "SELECT count(*) FROM (SELECT saga FROM $table WHERE $what < 0 GROUP BY saga HAVING count(*) > 1) AS s"),
		'0', "$database: nothing was undone twice");
	is(ask('shop', "SELECT sum($what) FROM orders WHERE 'order-' || id = ANY (string_to_array('$completed', ' '))"),
		ask($database, "SELECT sum($what) FROM $table"), "$database: the sums agree");
}
is(ask('payment', 'SELECT balance + (SELECT sum(amount) FROM booking) FROM account'), '1000000', 'no money is lost');
is(ask('stock', 'SELECT available + (SELECT sum(quantity) FROM movement) FROM item'), '100', 'no goods are');

# The carrier has a parcel for each order that is completed, and no other.
my $seen = `$python -c "import json, urllib.request as r; a = json.load(r.urlopen('$url')); print(a['requests'], ' '.join(sorted('order-%d' % p['order'] for p in a['parcels'])))"`;
my ($requests, $parcels) = $seen =~ /^(\d+) (.*)$/;
is($parcels, join(' ', sort split / /, $completed), 'the carrier has a parcel of each, and of no other');
cmp_ok($requests, '>', scalar(split / /, $parcels), 'though it was asked more often');

# Their inputs end, and so do the workers.
eval { $_->finish } foreach @workers;
$carrier->kill_kill;
$node->stop;
done_testing();
