# What one service has answered, every other one answers again: what they keep is the same.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use HttpCases;
use Middleware;
use Shops;
use Test::More;

my (@shops, @lacking);
foreach my $shop (map { shop($_) } qw(fastapi django express rack go java))
{
	push @{ defined $shop->{lacking} ? \@lacking : \@shops }, $shop;
}
plan skip_all => join '; ', map { "$_->{name}: $_->{lacking}" } @lacking if @shops < 2;
diag("$_->{name} skipped: $_->{name}: $_->{lacking}") foreach @lacking;

my $node = shop_server();
my @services = map { serve($node, $_) } @shops;

sub send_to
{
	my ($service, $headers, $body) = @_;

	return http_send('POST', "$service->{url}/orders", $headers, $body);
}

foreach my $first (@services)
{
	foreach my $case ([ 201, order('tea') ], [ 409, order('sold-out') ], [ 400, order('tea', 0) ])
	{
		my ($status, $body) = @$case;
		my $headers = headers();
		my $answer = send_to($first, $headers, $body);
		is($answer->{status}, $status, "$first->{name} answers $status");

		foreach my $other (grep { $_ != $first } @services)
		{
			my $again = send_to($other, $headers, $body);
			my $name = "$other->{name} after $first->{name}: $status";

			is("$again->{status} $again->{content}", "$answer->{status} $answer->{content}", $name);
			is($again->{headers}{$_} // '', $answer->{headers}{$_} // '', "$name, $_") foreach qw(content-type location);
			is($again->{headers}{'idempotent-replayed'}, 'true', "$name, replayed");
			is(send_to($other, $headers, order('tea', 7))->{status}, 422, "$name, and 422 for another payload");
		}
	}
}
is($node->safe_psql('shop', 'SELECT count(*) FROM orders'), scalar(@services), 'each has placed one order');

$_->{kill}->() foreach @services;
$node->stop;
done_testing();
