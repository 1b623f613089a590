# The draft's cases, by com.sun.net.httpserver and examples/middleware/java/Idempotency.java.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Clients;
use Middleware;

my ($java, $javac) = (found('java', '-version'), found('javac', '--release', '16', '-version'));
my $jdbc = jars('postgresql');
my $json = jars(qw(jackson-databind jackson-core jackson-annotations));
my $classes = place();
my $path = join ':', $classes, $jdbc // '', $json // '';

test_middleware(
	source => 'java/Idempotency.java',
	lacking => lacking(
		'Java 16' => $java && $javac,
		'libpostgresql-jdbc-java' => $jdbc,
		'libjackson2-databind-java' => $json),
	build => [ $javac // '', '-d', $classes, '-cp', $path, glob "$middleware/java/*.java" ],
	command => [ $java // '', '-cp', $path, 'Shop' ]);
