# The orders service of examples/: what the draft on Idempotency-Key wants, each route,
# and requests of those who mean no good.
use strict;
use warnings;

use FindBin;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use lib "$FindBin::RealBin/lib";
use HttpCases;
use OrdersService;

my $lacking = OrdersService::lacking_parts();
plan skip_all => $lacking if defined $lacking;

my $node = PostgreSQL::Test::Cluster->new('orders');
$node->init;
$node->start;
my $service = OrdersService->new($node);

http_cases(
	url => $service->url, node => $node, dbname => 'shop',
	kill => sub { $service->kill_process($_) foreach qw(first second) },
	start => sub { $service->start($_) foreach qw(first second) });

# ask(METHOD, PATH, HEADERS, BODY): as ada, if the headers do not say otherwise
my $answer;

sub ask
{
	my ($method, $path, $headers, $body) = @_;

	$answer = http_send($method, $service->url('first') . $path,
		{ 'Authorization' => 'Bearer ada', %{ $headers // {} } }, ref $body ? encode_json($body) : $body);
	return $answer->{status};
}

# The status of the answer to these bytes.
sub raw
{
	my ($bytes) = @_;
	my $socket = IO::Socket::INET->new(PeerAddr => $service->url('first') =~ s{^http://}{}r) or die "connect: $!";

	local $SIG{PIPE} = 'IGNORE';
	local $SIG{ALRM} = sub { die "no answer to $bytes" };
	alarm 30;
	print $socket $bytes;
	my $line = <$socket> // '';
	alarm 0;
	return $line =~ m{^HTTP/1.1 (\d+)} ? $1 : "no answer: $line";
}

sub field { return decode_json($answer->{content})->{ $_[0] } }
sub rows { return $node->safe_psql('shop', "SELECT count(*) FROM $_[0]") }

my $number = 0;

# The id of a new order.
sub place
{
	$number++;
	is(ask('POST', '/orders', { 'Idempotency-Key' => "\"place-$number\"" }, { items => [ { sku => 'cup', quantity => 2 } ] }), 201, 'an order');
	return field('id');
}

subtest 'an order and its items, in one transaction' => sub {
	my $order = { items => [ { sku => 'tea', quantity => 2 }, { sku => 'cup', quantity => 1 }, { sku => 'tea', quantity => 1 } ], note => 'soon' };
	my $before = rows('order_item');

	is(ask('POST', '/orders', { 'Idempotency-Key' => '"one"' }, $order), 201, 'placed');
	is($answer->{headers}{etag}, '"1"', 'its version');
	is($answer->{headers}{location}, '/orders/' . field('id'), 'its place');
	is(field('total'), 39.2, 'its total');
	is(rows('order_item') - $before, 3, 'its items');
	push @{ $order->{items} }, { sku => 'sold-out', quantity => 1 };
	my $stock = $node->safe_psql('shop', 'SELECT sum(stock) FROM product');
	is(ask('POST', '/orders', { 'Idempotency-Key' => '"two"' }, $order), 409, 'what is not in stock');
	is(rows('order_item') - $before, 3, 'leaves no items');
	is($node->safe_psql('shop', 'SELECT sum(stock) FROM product'), $stock, 'and takes nothing out of stock');
	is(ask('POST', '/orders', { 'Idempotency-Key' => '"one"' }, ' {"note": "soon", "items" : [{"quantity":2,"sku":"tea"},{"sku":"cup","quantity":1},{"sku":"tea","quantity":1}]}'),
		201, 'the same order in another spelling');
	is($answer->{headers}{'idempotent-replayed'}, 'true', 'is the same request');
};

subtest 'PUT and PATCH' => sub {
	my $path = '/orders/' . place();
	my $details = { address => 'Elm Street', note => '' };

	is(ask('PUT', $path, {}, $details), 428, 'PUT without If-Match');
	is(ask('PUT', $path, { 'If-Match' => '"7"' }, $details), 412, 'PUT on another version');
	is(ask('PUT', $path, { 'If-Match' => '"1"' }, $details), 200, 'PUT');
	is($answer->{headers}{etag}, '"2"', 'raises the version');
	my $first = $answer->{content};
	is(ask('PUT', $path, { 'If-Match' => '"1"' }, $details), 200, 'its retry');
	is($answer->{content}, $first, 'is answered the same');
	is(ask('PUT', $path, { 'If-Match' => '"1"' }, { %$details, note => 'other' }), 412, 'another on the old version is not');
	is(ask('PUT', $path, { 'If-Match' => '*' }, { %$details, note => 'any' }), 200, 'PUT on any version');
	is(ask('PUT', '/orders/4711', { 'If-Match' => '*' }, $details), 404, 'PUT makes no order');
	is(ask('PUT', $path, { 'If-Match' => 'W/"3"' }, $details), 412, 'a weak tag matches nothing');
	is(ask('PATCH', $path, {}, { note => 'x' }), 428, 'PATCH without If-Match');
	is(ask('PATCH', $path, { 'If-Match' => '"3"' }, { note => 'x' }), 200, 'PATCH');
	is(ask('PATCH', $path, { 'If-Match' => '"3"' }, { note => 'x' }), 200, 'its retry');
	is($answer->{headers}{etag}, '"4"', 'raises no version');
	is(field('address'), 'Elm Street', 'PATCH leaves the rest alone');
	is(ask('PATCH', $path, { 'If-Match' => '"3"' }, { note => 'y' }), 412, 'another on the old version');
	is(ask('PATCH', $path, { 'If-Match' => '"4"' }, { $_ => 'SHIPPED' }), 400, "PATCH of $_")
	  foreach qw(status version id tenant total);
	is(ask('PATCH', $path, { 'If-Match' => '"4"' }, '{"note": null}'), 400, 'PATCH to null');
	is(ask('GET', $path), 200, 'GET');
	is($answer->{headers}{etag}, '"4"', 'nothing of this has changed it');
};

subtest 'transitions' => sub {
	my $path = '/orders/' . place();

	is(ask('POST', "$path/transition", {}, { to => 'SHIPPED' }), 409, 'a step left out');
	is_deeply(field('allowed'), ['PROCESSING'], 'the answer has those that are allowed');
	is(ask('POST', "$path/transition", { 'Idempotency-Key' => '"step"' }, { to => 'PROCESSING' }), 200, 'a step');
	my $first = $answer->{content};
	is(ask('POST', "$path/transition", {}, { to => 'SHIPPED' }), 200, 'the next, without a key');
	is(ask('POST', "$path/transition", { 'Idempotency-Key' => '"step"' }, { to => 'PROCESSING' }), 200, 'the first again');
	is($answer->{content}, $first, 'is answered the same, although the order has moved on');
	is($answer->{headers}{'idempotent-replayed'}, 'true', 'as a replay');
	is(ask('POST', "$path/transition", { 'Idempotency-Key' => '"step"' }, { to => 'DELIVERED' }), 422, 'another under its key');
	is(ask('POST', "$path/transition", { 'If-Match' => '"1"' }, { to => 'DELIVERED' }), 412, 'on an old version');
	is(ask('POST', "$path/transition", {}, { to => 'FLYING' }), 400, 'to no state at all');
	is(ask('GET', "$path/history"), 200, 'the history');
	is(join(' ', map { $_->{to} } @{ decode_json($answer->{content}) }), 'PENDING PROCESSING SHIPPED', 'has each state once');
};

subtest 'payments' => sub {
	my $id = place();
	my $payment = { order_id => $id, card => 'tok_visa' };
	my $charges = $service->charges;

	is(ask('POST', '/payments', {}, $payment), 400, 'without a key');
	is(ask('POST', '/payments', { 'Idempotency-Key' => '"pay"' }, $payment), 201, 'paid');
	my $first = $answer->{content};
	is(ask('POST', '/payments', { 'Idempotency-Key' => '"pay"' }, $payment), 201, 'its retry');
	is($answer->{content}, $first, 'is answered the same');
	is(ask('POST', '/payments', { 'Idempotency-Key' => '"pay again"' }, $payment), 409, 'under another key');
	is(scalar $service->charges - $charges, 1, 'one charge');
	is(ask('POST', '/payments', { 'Idempotency-Key' => '"pay"' }, { %$payment, card => 'tok_other' }), 422, 'another card under the key');

	$payment->{order_id} = place();
	is(ask('POST', '/payments', { 'Idempotency-Key' => '"declined"' }, { %$payment, card => 'tok_declined' }), 402, 'a card is declined') for 1, 2;
	is($answer->{headers}{'idempotent-replayed'}, 'true', 'for good');
	$service->kill_process('provider');
	is(ask('POST', '/payments', { 'Idempotency-Key' => '"later"' }, $payment), 503, 'the provider is away');
	like($answer->{headers}{'retry-after'}, qr/^\d+$/, 'the answer says when to try again');
	$service->start('provider');
	is(ask('POST', '/payments', { 'Idempotency-Key' => '"later"' }, $payment), 201, 'the retry is done, since the key was freed');
};

# Begins a payment, and gives a function that waits for its answer.
sub pay
{
	my ($key, $id) = @_;

	return send_in_background('POST', $service->url('first') . '/payments',
		{ 'Authorization' => 'Bearer ada', 'Idempotency-Key' => "\"$key\"" }, encode_json({ order_id => $id, card => 'tok_visa' }));
}

sub claim { return $node->safe_psql('shop', "SELECT outcome, fence FROM idem_lookup('$_[0]', 'ada')") }

sub held
{
	my ($key, $fence) = @_;

	return ok(wait_until(sub { claim($key) eq "in_progress|$fence" }), "$key is claimed, with fence $fence");
}

# As if the time of the lease were over.
sub end_lease
{
	$node->safe_psql('shop', "UPDATE idem_key SET lease_until = clock_timestamp() - interval '1 ms' WHERE key = '$_[0]'");
}

subtest 'payments at the same time' => sub {
	my $id = place();
	my $charges = $service->charges;

	kill 'STOP', $service->{pid}{provider};
	my $first = pay('slow', $id);
	held('slow', 1);
	is(ask('POST', '/payments', { 'Idempotency-Key' => '"slow"' }, { order_id => $id, card => 'tok_visa' }), 409, 'the same');
	cmp_ok($answer->{headers}{'retry-after'}, '>=', 1, 'may be tried again');
	cmp_ok($answer->{headers}{'retry-after'}, '<=', 30, 'when the lease is over, at the latest');
	is(ask('POST', '/payments', { 'Idempotency-Key' => '"other"' }, { order_id => $id, card => 'tok_visa' }), 409, 'another, of the order');
	is($answer->{headers}{'retry-after'}, undef, 'is refused for good');

	# a process that is slow, and another that takes over
	end_lease('slow');
	my $second = pay('slow', $id);
	held('slow', 2);
	kill 'CONT', $service->{pid}{provider};
	my @statuses = map { $_->()->{status} } $first, $second;
	is("@statuses", '409 201', 'the first has lost its claim, the second ends it');
	is(ask('POST', '/payments', { 'Idempotency-Key' => '"slow"' }, { order_id => $id, card => 'tok_visa' }), 201, 'its retry');
	is($answer->{headers}{'idempotent-replayed'}, 'true', 'is a replay');
	is(scalar $service->charges - $charges, 1, 'one charge');

	# a process that dies, and one that takes over
	$id = place();
	kill 'STOP', $service->{pid}{provider};
	$first = pay('crash', $id);
	held('crash', 1);
	$service->kill_process('first');
	is($first->()->{status}, 599, 'the service dies while it waits for the provider');
	kill 'CONT', $service->{pid}{provider};
	$service->start('first');
	is(ask('POST', '/payments', { 'Idempotency-Key' => '"crash"' }, { order_id => $id, card => 'tok_visa' }), 409, 'the lease holds');
	end_lease('crash');
	is(ask('POST', '/payments', { 'Idempotency-Key' => '"crash"' }, { order_id => $id, card => 'tok_visa' }), 201, 'until it is over');
	is(claim('crash'), 'completed|2', 'by then another has the claim');
	is(scalar $service->charges - $charges, 2, 'one charge');
};

subtest 'retries of transactions' => sub {
	my $orders = rows('orders');
	my $retries = sub { return $answer->{headers}{'server-timing'} =~ /retries;desc="(\d+)"/ ? $1 : undef };

	$node->safe_psql('shop', q{
		CREATE SEQUENCE attempt;
		CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
			$$ BEGIN IF nextval('attempt') <= TG_ARGV[1]::int THEN RAISE 'no' USING ERRCODE = TG_ARGV[0]; END IF; RETURN NEW; END $$});
	my $failing = sub {
		$node->safe_psql('shop', "CREATE OR REPLACE TRIGGER fail BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION fail('$_[0]', '$_[1]');"
			. "SELECT setval('attempt', 1, false)");
		return ask('POST', '/orders', { 'Idempotency-Key' => "\"fail $_[0]\"" }, { items => [ { sku => 'tea', quantity => 1 } ] });
	};
	foreach my $state ('40001', '40P01', '57P01')
	{
		is($failing->($state, 2), 201, "$state twice");
		is($retries->(), 2, 'two retries');
	}
	is($failing->('40000', 100), 503, '40000, which is not one to retry');
	is($retries->(), 0, 'no retries');
	is($failing->('08003', 100), 503, '08003 always');
	is($retries->(), 5, 'no more than five retries');
	is($answer->{headers}{'retry-after'}, 1, 'the client may retry');
	is($failing->('23514', 100), 400, '23514, a refusal');
	is($failing->('23514', 0), 400, 'is final');
	is($answer->{headers}{'idempotent-replayed'}, 'true', 'and remembered');
	is($failing->('42P01', 100), 500, '42P01, a fault of the service');
	is($answer->{headers}{'retry-after'}, undef, 'that a retry does not mend');
	is($failing->('42P01', 0), 201, 'frees the key');
	is(rows('orders') - $orders, 4, 'orders');
	$node->safe_psql('shop', 'DROP FUNCTION fail CASCADE');

	$node->stop;
	is(ask('POST', '/orders', { 'Idempotency-Key' => '"away"' }, { items => [ { sku => 'tea', quantity => 1 } ] }), 503, 'no server');
	is($answer->{headers}{'retry-after'}, 1, 'the client may retry');
	is(ask('GET', '/'), 200, 'the page is there');
	$node->start;
	ok(wait_until(sub { ask('POST', '/orders', { 'Idempotency-Key' => '"away"' }, { items => [ { sku => 'tea', quantity => 1 } ] }) == 201 }),
		'the server is back');
	is(rows('orders') - $orders, 5, 'an order');
};

subtest 'the published policy' => sub {
	is(ask('GET', '/.well-known/idempotency', { Authorization => '' }), 200, 'for everybody');
	is(field('lifetime-seconds'), 86400, 'the lifetime of keys');
	is_deeply(field('required'), [ 'POST /orders', 'POST /payments' ], 'what needs one');
};

subtest 'tenants' => sub {
	my $id = place();
	my @bob = (Authorization => 'Bearer bob');

	is(ask('GET', "/orders/$id", {@bob}), 404, "another's order");
	is(ask('GET', "/orders/$id/history", {@bob}), 404, 'its history');
	is(ask('PUT', "/orders/$id", { @bob, 'If-Match' => '"1"' }, { address => '', note => '' }), 404, 'PUT');
	is(ask('PATCH', "/orders/$id", { @bob, 'If-Match' => '"1"' }, { note => 'mine' }), 404, 'PATCH');
	is(ask('POST', "/orders/$id/transition", {@bob}, { to => 'PROCESSING' }), 404, 'a step');
	is(ask('POST', '/payments', { @bob, 'Idempotency-Key' => '"bob pays"' }, { order_id => $id, card => 'tok_visa' }), 404, 'a payment');
	is(ask('POST', "/orders/$id/transition", { 'Idempotency-Key' => "\"shared-$id\"" }, { to => 'PROCESSING' }), 200, 'a step under a key');
	is(ask('POST', "/orders/$id/transition", { @bob, 'Idempotency-Key' => "\"shared-$id\"" }, { to => 'PROCESSING' }), 404,
		"another's key tells nothing");
	is(ask('GET', '/orders', {@bob}), 200, 'the list');
	ok(!grep({ $_->{id} == $id } @{ field('orders') }), "has no other's orders");
	foreach my $token ('', 'Bearer ', 'Bearer eve', 'Basic YWRhOmFkYQ==', "Bearer ada' OR true --", 'Bearer ' . 'a' x 5000)
	{
		is(ask('GET', "/orders/$id", { Authorization => $token }), 401, 'no token of anybody: ' . substr($token, 0, 30) =~ s/[^ -~]/?/gr);
		like($answer->{headers}{'www-authenticate'}, qr/^Bearer/, 'and the answer says so');
	}
};

subtest 'odd requests' => sub {
	my $before = rows('orders');
	my %key = ('Idempotency-Key' => '"odd"');
	my $items = '"items": [{"sku": "tea", "quantity": 1}]';

	foreach my $body ('', 'null', '[]', '"x"', '{', '{}', "{$items", '{"items": []}', '{"items": {}}', '{"items": [1]}',
		'{"items": [{"sku": "tea"}]}', '{"items": [{"sku": "tea", "quantity": 0}]}', '{"items": [{"sku": "tea", "quantity": -1}]}',
		'{"items": [{"sku": "tea", "quantity": 1.5}]}', '{"items": [{"sku": "tea", "quantity": "1"}]}',
		'{"items": [{"sku": "tea", "quantity": true}]}', '{"items": [{"sku": "tea", "quantity": 1e999}]}',
		'{"items": [{"sku": "tea", "quantity": NaN}]}', '{"items": [{"sku": "tea", "quantity": 99999999999999999999}]}',
		"{$items, \"total\": 0}", "{$items, \"note\": 5}", "{$items, \"note\": \"a\\u0000b\"}", "{$items, \"note\": \"\\ud800\"}",
		"{$items, \"note\": \"\xff\"}", "\xef\xbb\xbf{$items}", '{"items": ' . '[' x 20000 . ']' x 20000 . '}',
		"{$items, \"note\": \"" . 'x' x 501 . '"}', '{"items": [' . join(',', ('{"sku": "tea", "quantity": 1}') x 51) . ']}')
	{
		my $shown = length $body > 60 ? substr($body, 0, 60) . '...' : $body;
		is(ask('POST', '/orders', {%key}, $body), 400, 'body ' . $shown =~ s/[^ -~]/?/gr);
		like($answer->{headers}{'content-type'}, qr{^application/problem\+json}, 'is a problem');
	}
	is(ask('POST', '/orders', {%key}, '{"note": "' . 'x' x 70000 . '"}'), 413, 'a body that is too long');
	is(raw("POST /orders HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ada\r\nIdempotency-Key: odd\r\n"
		. "Transfer-Encoding: chunked\r\n\r\n" . "3e8\r\n" . 'x' x 1000 . "\r\n" x 1 . join('', map { "3e8\r\n" . 'x' x 1000 . "\r\n" } 1 .. 80)
		. "0\r\n\r\n"), 413, 'one that does not say how long it is');
	is(rows('orders'), $before, 'none of these has placed an order');
	is($node->safe_psql('shop', q{SELECT count(*) FROM idem_key WHERE key = 'odd'}), 0, 'and none has kept a key');

	# keys: whatever they are made of, they are only keys
	foreach my $key (q{'; DROP TABLE orders; --}, '%s %(x)s $1', '../../etc/passwd', '<script>alert(1)</script>', ' ', '\\\\', 'x' x 255)
	{
		is(ask('POST', '/orders', { 'Idempotency-Key' => "\"$key\"" }, "{$items}"), 201, 'key ' . substr($key, 0, 30));
		is(ask('POST', '/orders', { 'Idempotency-Key' => "\"$key\"" }, "{$items}"), 201, 'and again');
		is($answer->{headers}{'idempotent-replayed'}, 'true', 'as a replay');
	}
	is(rows('orders') - $before, 7, 'an order for each');
	is(ask('POST', '/orders', { 'Idempotency-Key' => $_ }, "{$items}"), 400, 'no key: ' . substr($_, 0, 30) =~ s/[^ -~]/?/gr)
	  foreach '', '"' . 'x' x 256 . '"', '("a")', '"a";A=1';
	is(raw("POST /orders HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ada\r\nIdempotency-Key: $_\r\nContent-Length: "
		. (2 + length $items) . "\r\n\r\n{$items}"), 400, 'bytes that are not ASCII')
	  foreach "\"\xc3\xa4\"", "\xe4", "\"\x01\"";
	is(raw("GET /orders HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n"), 401, 'nor are those of a token');
	is(ask('POST', '/orders', { 'Idempotency-Key' => [ '"a"', '"b"' ] }, "{$items}"), 400, 'two headers');
	is(rows('orders') - $before, 7, 'no order for these');

	# text that is SQL, or HTML, is text
	is(ask('POST', '/orders', { 'Idempotency-Key' => '"sql"' },
		{ items => [ { sku => 'tea', quantity => 1 } ], note => q{'); DROP TABLE orders; -- %s <b>} }), 201, 'a note');
	is(field('note'), q{'); DROP TABLE orders; -- %s <b>}, 'is kept as it is');
	is(ask('POST', '/orders', { 'Idempotency-Key' => '"sku"' }, { items => [ { sku => q{tea' OR true --}, quantity => 1 } ] }), 409, 'no such thing');

	# paths
	foreach my $path ('/orders/0', '/orders/-1', '/orders/1x', '/orders/1%20', '/orders/99999999999999999999', '/orders/%00',
		'/orders/%D9%A1', '/orders/1;a', q{/orders/1'--}, '/../service.py', '/page/../service.py', '/%2e%2e/schema.sql',
		'/page.js/..%2fservice.py', '//etc/passwd', '/service.py', '/docs', '/openapi.json', '/orders/1/history/x')
	{
		is(ask('GET', $path), 404, "path $path");
	}
	is(ask('DELETE', '/orders/1'), 405, 'a method that is not there');
	is(ask('GET', '/orders', { 'If-Match' => 'x' x 20000 }), 200, 'a long header') or diag($answer->{content});
	is(ask('GET', '/'), 200, 'the page');
	like($answer->{headers}{'content-security-policy'}, qr/default-src 'self'/, 'runs no scripts of others');
};

# What the service may not do, it cannot be made to do.
is($node->psql('shop', 'SELECT * FROM idem_key', extra_params => [ '-U', 'shop' ]), 3, 'the service cannot read the table of keys');
is($node->psql('shop', 'UPDATE product SET price = 0', extra_params => [ '-U', 'shop' ]), 3, 'nor set prices');
is($node->safe_psql('shop', 'SELECT count(*) FROM orders', extra_params => [ '-U', 'shop' ]), 0, 'nor see orders without a tenant');
unlike(slurp_file($service->{log}), qr/Traceback|Exception in ASGI/, 'no error that was not foreseen')
  or diag(slurp_file($service->{log}));

done_testing();
