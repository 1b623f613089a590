# The page that scripts/report draws: what is in it, that it keeps to itself, that what
# others have written does no harm in it, and how it looks in a headless Chromium: wide
# and on a phone, in light and in dark.
use strict;
use warnings;
use utf8;

use Cwd qw(abs_path);
use FindBin;
use lib "$FindBin::RealBin/lib";
use Chromium;
use File::Basename;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $report = abs_path(dirname(__FILE__) . '/../scripts/report');
my ($python) = grep { -x } map { "$_/python3" } split /:/, "$ENV{PATH}:/usr/bin";
plan skip_all => 'there is no python3' unless $python;

my $node = PostgreSQL::Test::Cluster->new('report');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'idem'\nidem.worker = off\n");
$node->start;
my $place = abs_path(PostgreSQL::Test::Utils::tempdir());

# What users may call their keys, scopes, states and columns.
my $nasty = q{<script>alert('key')</script>};
my $quote = q{x" onmouseover="alert('scope')};
my $turned = "a\x{202e}gpj.exe";
# In strings of that database, as far as there is a choice.
my $escapes = $node->safe_psql('postgres', 'SHOW server_version_num') >= 190000 ? '' :
  'ALTER DATABASE postgres SET standard_conforming_strings = off;';
$node->safe_psql('postgres', <<"SQL");
CREATE SCHEMA idem;
CREATE EXTENSION idem SCHEMA idem;
CREATE ROLE regress_idem_watcher LOGIN IN ROLE pg_monitor;
GRANT USAGE ON SCHEMA idem TO regress_idem_watcher;
CREATE DATABASE bare;
$escapes
ALTER ROLE regress_idem_watcher SET search_path = nowhere;
SET search_path = idem, public;
CREATE TABLE public.orders (id bigint PRIMARY KEY, total int, status order_status NOT NULL DEFAULT 'PENDING',
	version bigint NOT NULL DEFAULT 1, "</title><b>" text NOT NULL DEFAULT 'odd');
SELECT idem_attach('orders', 'order');
CREATE FUNCTION public."is <i>fine</i>"(orders, jsonb) RETURNS boolean LANGUAGE sql AS 'SELECT true';
SELECT idem_machine_define('parcel & co', 'NEW', '{
	"NEW": ["PAID", "CANCELLED", "NEW"], "PAID": ["PACKED", "CANCELLED", "REFUNDED"], "PACKED": ["SENT", "PAID"],
	"SENT": ["RETURNED", "DELIVERED"], "DELIVERED": ["RETURNED"], "RETURNED": ["REFUNDED"], "LOST": ["REFUNDED"]}');
SELECT idem_machine_define('odd', 'odd', '{
	"odd": [{"to": "<img src=x onerror=alert(1)>", "guard": "\\"is <i>fine</i>\\""}],
	"<img src=x onerror=alert(1)>": ["\\"q\\" & #35;", "odd"]}');
SELECT idem_attach('orders', 'odd', '</title><b>');
SELECT idem_machine_define('wild', 's1', (SELECT jsonb_object_agg('s' || i, (SELECT jsonb_agg('s' || j)
	FROM generate_series(1, 60) AS j WHERE j <> i)) FROM generate_series(1, 60) AS i));
SQL
$node->safe_psql('postgres', <<"SQL");
SET search_path = idem, public;
SELECT idem_execute('k' || i, 'INSERT INTO orders VALUES (\$1, 1)', jsonb_build_array(i)) FROM generate_series(1, 20) AS i;
SELECT idem_execute('k' || i, 'INSERT INTO orders VALUES (\$1, 1)', jsonb_build_array(i)) FROM generate_series(1, 5) AS i;
SELECT idem_claim(\$k\$$nasty\$k\$, lease => '1 hour', scope => \$k\$$quote\$k\$);
SELECT idem_claim(\$k\$$turned\$k\$, lease => '1 hour');
SELECT idem_claim('late', lease => '10 ms');
SELECT idem_checkpoint('late', 1, '<u>half</u>', '{"a": "</td>"}');
SELECT idem_claim('given back', lease => '1 hour');
SELECT idem_release('given back', 1);
SELECT idem_claim('private-' || repeat('y', 200), lease => '1 hour');
SQL
# sagas: one under way, and one whose undo has failed for good
$node->safe_psql('postgres', <<"SQL");
SET search_path = idem, public;
SELECT idem_saga_start('order-1', '[{"do": "pay", "undo": "refund"}, {"do": "pack", "undo": "unpack"}, {"do": "send"}]');
SELECT idem_saga_start(\$k\$trip $nasty\$k\$, '[{"do": "fly", "undo": "stay"}, {"do": "sleep"}]', scope => \$k\$$quote\$k\$);
SELECT idem_saga_start('over', '[{"do": "end"}]');
DO \$\$ DECLARE
	s record;
	there text := \$k\$$quote\$k\$;
BEGIN
	FOR s IN SELECT * FROM idem_saga_claim('{pay,end}', max => 5) LOOP PERFORM idem_saga_done(s.key, s.fence); END LOOP;
	FOR s IN SELECT * FROM idem_saga_claim('{fly}', scope => there) LOOP PERFORM idem_saga_done(s.key, s.fence); END LOOP;
	FOR s IN SELECT * FROM idem_saga_claim('{sleep}', scope => there) LOOP
		PERFORM idem_saga_fail(s.key, s.fence, '"<b>full</b>"', false);
	END LOOP;
	FOR s IN SELECT * FROM idem_saga_claim('{stay}', scope => there) LOOP
		PERFORM idem_saga_fail(s.key, s.fence, '"no"', false);
	END LOOP;
END \$\$;
SQL
# one that has used a key for something else
$node->psql('postgres', q{SELECT idem.idem_execute('k1', 'INSERT INTO orders VALUES (99, 9)')});
my $watcher = $node->connstr('postgres') . ' user=regress_idem_watcher';

# Runs scripts/report; its exit status, and what it prints.
sub report
{
	my (@arguments) = @_;
	my ($out, $err) = ('', '');

	IPC::Run::run([ $python, $report, '--psql', $node->installed_command('psql'), @arguments ],
		'<', \undef, '>', \$out, '2>', \$err);
	return ($? >> 8, $out, $err);
}

# The text of the page of these arguments.
sub page
{
	my ($status, $out, $err) = report(@_, '-o', "$place/page.html");

	is($status, 0, "report @_[2 .. $#_]") or diag($err);
	my $text = slurp_file("$place/page.html");
	utf8::decode($text);
	return $text;
}

# Is something in a page, or not?  Without the page in the test's output.
sub has { return ok($_[0] =~ $_[1], $_[2]) }
sub lacks
{
	my ($page, $what, $name) = @_;
	my ($found) = $page =~ /($what)/;
	return ok(!defined $found, $name) || diag("there is: $found");
}

my $file = "$place/samples";
my $page = page('-d', $watcher, '-n', 2, '-e', '20ms', '-f', $file);
is((stat "$place/page.html")[2] & 07777, 0600, 'a page with keys is for its owner alone');
is((stat $file)[2] & 07777, 0600, 'so are samples');
has($page, qr/<small>2 samples over/, 'two samples');
lacks($page, qr{https?://|//\w+\.\w+|\bsrc="|url\(|\@import|<(?:script|link|img|iframe|object|embed|base)\b}i,
	'nothing is loaded, and no element is there that others brought');
lacks($page, qr/Not shown/, 'a member of pg_monitor sees all');
has($page, qr/regress_idem_watcher/, 'and the page says whose eyes these are');
foreach ("&lt;script&gt;alert(&#x27;key&#x27;)&lt;/script&gt;", 'a\u202egpj.exe')
{
	has($page, qr/\Q$_\E/, "escaped: $_");
}

has($page, qr{<b>s60</b> → every other}, 'a machine that no picture would make clear is a list');

# Something moves between the samples, and the ones of before are drawn, too.
$node->safe_psql('postgres', q{SELECT idem.idem_execute('m' || i, 'SELECT 1') FROM generate_series(1, 300) AS i});
append_to_file($file, "not a sample\n" . encode_json({ database => 'other', t => 1, counters => {} }) . "\n");
$page = page('-d', $watcher, '-n', 1, '-f', $file);
has($page, qr/<small>3 samples over/, 'the file keeps samples; what is none of this database is left out');
my ($drawn) = $page =~ m{<tr><th scope="row"><i class="c\d"></i>key_new</th><td>([\d.,\x{202f}]+)</td>};
ok(defined $drawn && $drawn =~ /[1-9]/, 'new keys are a line') or diag($drawn // 'there is none');
lacks(page('-d', $watcher, '-n', 1, '-f', $file, '-l', 1), qr/<polyline/, 'one sample is no line');

my $hidden = page('-d', $node->connstr('postgres'), '-n', 1, '--hide-keys');
lacks($hidden, qr/alert\(&#x27;key|private-|half|gpj|onmouseover|order-1|full/, 'keys, scopes and checkpoints can be hidden');
has($hidden, qr/<bdi>#[0-9a-f]{12}</, 'which leaves their hashes');
has(page('-d', $watcher, '-n', 1, '-r', 2), qr/More than these are there/, 'and rows can be left out');

my ($status, $out, $err) = report('-d', $watcher, '-n', 1, '-o', '-');
like($out, qr/^<!DOCTYPE html>.*<\/html>\n\z/s, 'the page on the standard output');
($status, $out, $err) = report('-d', $node->connstr('bare'), '-o', "$place/none.html");
is("$status $err", "1 report: the extension idem is not in this database\n", 'a database without idem');
ok(!-e "$place/none.html", 'makes no page');
($status, $out, $err) = report('-d', $node->connstr('nowhere'));
like("$status $err", qr/^1 report: .*database "nowhere" does not exist/, 'a database that is not there');
($status, $out, $err) = report('-d', $watcher, '-n', 1, '-o', "$place/no/page.html");
like("$status $err", qr/^1 report: .*No such file/, 'a place that is not there');
($status, $out, $err) = report('--psql', "$place/psql", '-n', 1);
like("$status $err", qr/^1 report: .*No such file/, 'a psql that is not there');
($status, $out, $err) = report('--help');
like($out, qr/examples:/, '--help');
foreach ([ '-n', 0 ], [ '-e', 'soon' ])
{
	($status) = report(@$_);
	is($status, 2, "report @$_ is refused");
}

# Nothing of a role that may see little stops the page.
$node->safe_psql('postgres', 'CREATE ROLE regress_idem_stranger LOGIN; GRANT USAGE ON SCHEMA idem TO regress_idem_stranger');
lacks(page('-d', $node->connstr('postgres') . ' user=regress_idem_stranger', '-n', 1),
	qr/script&gt;|private-|late</, 'a stranger sees no claims of others');

SKIP:
{
	skip 'there is no Chromium', 1 unless Chromium::found();
	# as one who sees checkpoints, which a member of pg_monitor does not
	page('-d', $node->connstr('postgres'), '-n', 1, '-f', $file);
	my $browser = Chromium->new(1200, 800);
	my %paper;

	foreach my $screen (
		{ title => 'wide', width => 1200 }, { title => 'dark', width => 1200, dark => 1 },
		{ title => 'on a phone', width => 360, mobile => 1 })
	{
		my $title = $screen->{title};

		$browser->screen(%$screen);
		$browser->open_page("file://$place/page.html");
		is_deeply([ $browser->requests ], ["file://$place/page.html"], "$title: nothing is asked for but the page");
		is_deeply([ $browser->said ], [], "$title: nothing on the console, and no dialog");
		$paper{$title} = $browser->evaluate('getComputedStyle(document.body).backgroundColor');
		cmp_ok($browser->evaluate('document.documentElement.scrollWidth'), '<=', $screen->{width},
			"$title: nothing is wider than the screen");
		# what is drawn differs from paper, and not only by a letter
		my $colours = Chromium::colours($browser->picture(0.25));
		my ($most, $all) = (0, 0);
		foreach (values %$colours)
		{
			$all += $_;
			$most = $_ if $_ > $most;
		}
		cmp_ok(keys %$colours, '>', 100, "$title: has colours");
		cmp_ok($most / $all, '<', 0.97, "$title: is not blank");
		# letters that are too small to read
		cmp_ok($browser->evaluate(q{Math.min(...[...document.querySelectorAll('main *')].filter(e => e.childNodes.length
			&& [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim())).map(e => parseFloat(getComputedStyle(e).fontSize)))}),
			'>=', 11, "$title: can be read");
	}
	isnt($paper{dark}, $paper{wide}, 'dark is another paper');

	# what is not to be there would be seen
	append_to_file("$place/other.html", '<img src="http://elsewhere.example/a.png"><script>console.log("here")</script>');
	$browser->open_page("file://$place/other.html");
	is_deeply([ $browser->requests ], [ "file://$place/other.html", 'http://elsewhere.example/a.png' ], 'what a page asks for is known');
	my @said = $browser->said;
	is(scalar(grep { /^console: .*here/ } @said), 1, 'and what it says') or diag(explain(\@said));

	$browser->screen(width => 1200);
	$browser->open_page("file://$place/page.html");
	my $text = $browser->evaluate('document.body.innerText');
	foreach my $expected ('idem in postgres', 'retries saved', 'mismatches', 'Health', 'Counters', 'Open claims',
		'State machines', $nasty, $quote, '<u>half</u>', 'late', 'the lease ended', 'left of the lease', 'key_new',
		'parcel & co', 'DELIVERED', 'REFUNDED', 'orders.status', '<img src=x onerror=a', '"q" & #35;', 'is <i>fine</i>',
		'Act now', 'Sagas under way', "trip $nasty", '1 of 3 done', 'step 1 is stuck', '<b>full</b>')
	{
		has($text, qr/\Q$expected\E/, "shows $expected");
	}
	is($browser->evaluate('document.scripts.length'), 0, 'no script');
	is($browser->evaluate(q{[...document.querySelectorAll('*')].filter(e => e.localName == 'img' || e.localName == 'u' &&
		!e.closest('.bar') || [...e.attributes].some(a => /^on|^href|^src/i.test(a.name))).length}), 0,
		'no element or attribute that others brought');
	cmp_ok($browser->evaluate(q{Math.max(...[...document.querySelectorAll('polyline')].map(e => e.getBoundingClientRect().width))}),
		'>', 200, 'a line is drawn over the width of its chart');
	is($browser->evaluate(q{[...document.querySelectorAll('.state')].filter(g =>
		g.querySelector('text').getBBox().width > g.querySelector('rect').getBBox().width).length}), 0,
		'each name fits the box of its state');
	is($browser->evaluate(q{[...document.querySelectorAll('svg.machine')].map(svg => {
		const boxes = [...svg.querySelectorAll('.state > rect:not(.inner), .guard > rect')].map(r => r.getBoundingClientRect());
		return boxes.filter((a, i) => boxes.some((b, j) => i < j && a.left < b.right && b.left < a.right &&
			a.top < b.bottom && b.top < a.bottom)).length;
	}).join()}), '0,0,0', 'no state or guard lies upon another');
	is($browser->evaluate(q{[...document.querySelectorAll('svg.machine')].map(svg =>
		[svg.querySelectorAll('.state').length, svg.querySelectorAll('.edge').length, svg.querySelectorAll('.guard').length].join('/')).join()}),
		'3/3/1,4/3/0,9/13/0', 'every state, transition and guard is drawn');
	my $bars = decode_json($browser->evaluate(q{JSON.stringify([...document.querySelectorAll('.age')].map(e =>
		[e.className, e.querySelector('i').getBoundingClientRect().width / e.querySelector('.bar').getBoundingClientRect().width]))}));
	is($bars->[0][0] . ' ' . sprintf('%.1f', $bars->[0][1]), 'age critical 1.0', 'a claim long past its lease has a full bar');
	ok((grep { $_->[0] eq 'age ok' && $_->[1] < 0.1 } @$bars), 'a young one a short bar');
	is($browser->evaluate(q{[...document.querySelectorAll('td[data-label=Status]')].map(e => e.innerText).join()}),
		'stuck,running', 'stuck sagas come first, and one that has ended is not there');
}

done_testing();
