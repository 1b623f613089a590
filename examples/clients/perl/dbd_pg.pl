# The shop by DBD::Pg.
use strict;
use warnings;

use DBI;
use JSON::PP qw(decode_json encode_json);

sub expect
{
	my ($right, $what) = @_;
	die "wrong: $what\n" unless $right;
	print "$what\n";
	return;
}

# libpq reads PGHOST and so on
sub connect_shop
{
	return DBI->connect('dbi:Pg:', undef, undef, { RaiseError => 1, PrintError => 0 });
}

sub place
{
	my ($key, $order, $lose) = @_;
	my $db = connect_shop();
	$db->begin_work;
	$db->do('SET LOCAL idem.lose_ack = 1') if $lose;
	my $placed = $db->selectrow_hashref(q{SELECT * FROM idem_upsert(?, 'orders', ?)},
		undef, $key, encode_json($order));
	$db->commit;
	return $placed;
}

my ($key) = connect_shop()->selectrow_array('SELECT idem_new_key()');
my $order = { customer => 'DBD::Pg', total => 440 };
eval { place($key, $order, 'lose'); 1 } and expect(0, 'nothing was lost');
print "lost: $DBI::state\n";
my $placed = place($key, $order);
expect($placed->{outcome} eq 'inserted' && $placed->{replayed}, 'placed: inserted, replayed');
my $row = decode_json($placed->{result});

my $db = connect_shop();
my $moved = $db->selectrow_hashref(
	q{SELECT * FROM order_transition('orders', ?, ?, expected_version => ?, key => ?)},
	undef, $row->{id}, 'PROCESSING', $row->{version}, "$key/PROCESSING");
expect($moved->{outcome} eq 'applied' && $moved->{version} == 2,
	"moved order: $moved->{from_state} -> $moved->{to_state}, version $moved->{version}");

my ($parcel) = $db->selectrow_array('SELECT gen_random_uuid()');
$db->do('INSERT INTO parcels VALUES (?, ?)', undef, $parcel, 'DBD::Pg');
$moved = $db->selectrow_hashref(q{SELECT * FROM order_transition('parcels', ?, ?)},
	undef, $parcel, 'PROCESSING');
expect($moved->{version} == 2,
	"moved parcel: $moved->{from_state} -> $moved->{to_state}, version $moved->{version}");

# a reference to an array is an array
my @counts = map {
	scalar @{ $db->selectcol_arrayref(q{SELECT * FROM idem_consume_batch('DBD::Pg', ?)},
		undef, [ "$key/1", "$key/2", "$key/1" ]) }
} 1 .. 2;
expect("@counts" eq '2 0', "consumed: $counts[0], then $counts[1]");

eval {
	$db->do(q{SELECT * FROM order_transition('orders', ?, ?)}, undef, $row->{id}, 'DELIVERED');
	1;
} and expect(0, 'not refused');
expect($db->state eq 'ID201', 'refused: ' . $db->state . ' (state)');
