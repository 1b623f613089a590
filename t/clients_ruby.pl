# The programs of examples/clients/ruby, by ruby-pg and ActiveRecord.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Clients;

foreach (
	[ 'ruby-pg', 'pg', [ 'pg' ], 'ruby-pg' ],
	[ 'active_record', 'active_record', [ 'pg', 'active_record' ], 'ruby-pg or ruby-activerecord' ])
{
	my ($name, $program, $libraries, $packages) = @$_;
	my $ruby = found('ruby', (map { "-r$_" } @$libraries), '-e', '');

	client(
		$name,
		lacking => lacking($packages => $ruby),
		command => [ $ruby // '', "$clients/ruby/$program.rb" ]);
}
test_clients();
