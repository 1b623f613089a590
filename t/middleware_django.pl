# The draft's cases, by Django and examples/middleware/python/django_idempotency.py.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Clients;
use Middleware;

my $python = python(qw(django psycopg2));

test_middleware(
	source => 'python/django_idempotency.py',
	lacking => lacking('python3-django or python3-psycopg2' => $python),
	command => [ $python // '', "$middleware/python/django_shop.py" ]);
