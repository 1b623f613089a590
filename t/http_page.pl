# The page of the orders service in a browser: place an order, lose the answer, send it
# again, see one order, pay it, move it on, and be refused.
use strict;
use utf8;
use warnings;

use FindBin;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use lib "$FindBin::RealBin/lib";
use Chromium;
use HttpCases;
use OrdersService;

my $lacking = OrdersService::lacking_parts() // (Chromium::found() ? undef : 'there is no Chromium that starts');
plan skip_all => $lacking if defined $lacking;

my $node = PostgreSQL::Test::Cluster->new('page');
$node->init;
$node->start;
my $service = OrdersService->new($node);
my $page = Chromium->new(1280, 900);

sub text { return $page->evaluate("document.querySelector('$_[0]').textContent") }
sub sees { return ok($page->until_true($_[0]), $_[1]) }
sub rows { return $node->safe_psql('shop', "SELECT count(*) FROM $_[0]") }

# The attempts shown are so many, the newest of this kind.
sub sees_attempt
{
	my ($number, $kind, $pattern, $name) = @_;

	sees("document.querySelectorAll('#log li').length === $number && document.querySelector('#log li').classList.contains('$kind')",
		$name);
	like(text('#log li'), $pattern, "$name: what is said");
}

$page->open_page($service->url . '/');
sees(q{document.getElementById('count').textContent === '0 orders'}, 'no orders yet');
is(text('#total'), '30.30', 'a basket');
my $key = text('#key');
like($key, qr/^"[0-9a-f-]{36}"$/, 'a key');

# the line is cut before the answer arrives
$page->click('input[name=cut][value=answer] + span');
$page->click('#place');
sees_attempt(1, 'lost', qr/no answer.*0 → 1 order\./s, 'the answer is lost, the order is placed');
sees(q{document.getElementById('place').textContent.startsWith('Send it again')}, 'the page offers to send it again');
is(text('#key'), $key, 'with the same key');
is_deeply([ $page->complaints ], ['network: Failed to load resource: net::ERR_EMPTY_RESPONSE'], 'the browser knows of the line only');
$page->screenshot("$PostgreSQL::Test::Utils::log_path/page-lost.png");

$page->click('#place');
sees_attempt(2, 'done', qr/201.*replayed.*nothing was written.*1 order, as before/s, 'the retry is a replay');
ok($page->evaluate(q{document.querySelector('#log li').classList.contains('is-replay')}), 'and is shown as one');
sees(q{document.getElementById('place').textContent === 'Place the order'}, 'that was it');
isnt(text('#key'), $key, 'the next order has another key');
is(rows('orders'), 1, 'there is one order');
is(text('#orders article .what'), '2 tea, 1 cup', 'with its items');

# the line is cut before the request arrives
$page->click('input[name=cut][value=request] + span');
$page->click('#place');
sees_attempt(3, 'lost', qr/no answer.*1 order, as before/s, 'the request is lost');
$page->click('#place');
sees_attempt(4, 'done', qr/201.*1 → 2 orders/s, 'the retry places the order');
ok(!$page->evaluate(q{document.querySelector('#log li').classList.contains('is-replay')}), 'and is no replay');
is(scalar(grep { !/^network: .*ERR_EMPTY_RESPONSE$/ } $page->complaints), 0, 'no complaints');

# moving on, and being refused
my $order = q{#orders article:last-child};
$page->click("$order button[data-state=PROCESSING]");
sees_attempt(5, 'done', qr/200.*has version 2/s, 'a step');
sees(qq{document.querySelector('$order .now').textContent === 'PROCESSING'}, 'the order has moved on');
$page->click("$order button[data-state=DELIVERED]");
sees_attempt(6, 'refused', qr/409.*cannot go there/s, 'a step left out is refused');
sees(qq{document.querySelector('$order .refusal').textContent.includes('Allowed: SHIPPED')}, 'the page says what is allowed');
is_deeply([ $page->complaints ], ['network: Failed to load resource: the server responded with a status of 409 (Conflict)'],
	'the browser knows of the refusal');
$page->click("$order .past.quiet");
sees(qq{document.querySelectorAll('$order .history tbody tr').length === 2}, 'the history has two entries');
$page->screenshot("$PostgreSQL::Test::Utils::log_path/page-refused.png");

# paying, with the answer lost
$page->click('input[name=cut][value=answer] + span');
$page->click("$order .pay");
sees_attempt(7, 'lost', qr/no answer/, 'the answer to a payment is lost');
is(scalar $service->charges, 1, 'it was charged');
sees(qq{document.querySelector('$order .money').textContent.includes('paid')}, 'the order is paid');
$page->complaints;

# what is sold out is refused for good
$page->click('#basket button[data-sku=sold-out]:last-child');
$page->click('#place');
sees_attempt(8, 'refused', qr/409.*not enough/s, 'what is sold out is refused');

# the other tenant sees its own orders
$page->click('input[name=tenant][value=bob]');
sees(q{document.getElementById('count').textContent === '0 orders'}, 'another tenant has no orders');
$page->click('input[name=tenant][value=ada]');
sees(q{document.getElementById('count').textContent === '2 orders'}, 'the first has two');
is(rows('orders'), 2, 'and so has the database');
$page->screenshot("$PostgreSQL::Test::Utils::log_path/page-end.png");
is(scalar(grep { !/^network: .* 409 / } $page->complaints), 0, 'no complaints');

# what comes from clients is text, not markup
http_send('POST', $service->url . '/orders', { Authorization => 'Bearer ada', 'Idempotency-Key' => 'markup' },
	encode_json({ items => [ { sku => 'tea', quantity => 1 } ], note => '<img src=x onerror=alert(1)>' }));
$page->open_page($service->url . '/');
sees(q{document.getElementById('count').textContent === '3 orders'}, 'an order with markup in its note');
is_deeply([ $page->complaints ], [], 'no complaints');

# a small window, and a dark one
$page->screen(width => 390, dark => 1);
ok($page->evaluate('document.documentElement.scrollWidth <= 390'), 'fits a small window');
$page->screenshot("$PostgreSQL::Test::Utils::log_path/page-small.png");

done_testing();
