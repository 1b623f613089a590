# docs/http.md: its table of errors is what idem_http_status() returns, and the code that
# it shows is in the examples.

use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = "$FindBin::RealBin/..";
my $page = slurp_file("$top/docs/http.md");

my $node = PostgreSQL::Test::Cluster->new('http');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION idem');

# | status | SQLSTATE | the client |
my %said;
while ($page =~ /^\| (\d{3}) \| ((?:`\w{5}`(?:, (?:and all others)?)?)+) \|/mg)
{
	my ($status, $codes) = ($1, $2);
	$said{$_} = $status foreach $codes =~ /`(\w{5})`/g;
}
cmp_ok(scalar(keys %said), '>=', 30, 'the table of errors was read');
foreach my $code (sort keys %said)
{
	is($node->safe_psql('postgres', "SELECT idem_http_status('$code')"), $said{$code}, "$code is $said{$code}");
}

# The codes of idem's own, as docs/errors.md has them
my @own = slurp_file("$top/docs/errors.md") =~ /^### (ID\d{3})/mg;
cmp_ok(scalar(@own), '>', 8, 'there are codes of its own');
is(join(' ', grep { !$said{$_} } @own), '', 'none of them is left out');

my ($shown) = $page =~ /^```python\n(.*?)^```$/ms;
ok(index(slurp_file("$top/examples/middleware/python/django_idempotency.py"), $shown // 'none') >= 0,
	'the code shown is in the example');

# Every file that is linked is there.
foreach my $target (map { s/#.*//r } $page =~ /\]\(([^)#:]+(?:#[^)]*)?)\)/g)
{
	ok(-e "$top/docs/$target", "there is $target");
}

$node->stop;
done_testing();
