# A headless Chromium, told what to do by its DevTools protocol over a pipe: messages
# of JSON that end in a zero byte, ours on its descriptor 3, its own on 4.  What the
# page says and asks for meanwhile is kept.
package Browser;

use strict;
use warnings;

use Compress::Zlib qw(uncompress);
use Fcntl qw(F_DUPFD);
use File::Path qw(rmtree);
use IO::Select;
use JSON::PP;
use MIME::Base64;
use POSIX qw(WNOHANG);
use Time::HiRes qw(time);

my $limit = 60;			# seconds for an answer

# The program, if there is one.
sub program
{
	my ($path) = grep { -x } map { my $dir = $_; map { "$dir/$_" }
		  qw(chromium chromium-browser google-chrome) } split /:/, "$ENV{PATH}:/usr/bin";
	return $path;
}

sub start
{
	my ($class, $place) = @_;

	pipe(my $theirs, my $to) or die "pipe: $!";
	pipe(my $from, my $out) or die "pipe: $!";
	my $pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		# out of the way first: one of them may have the number of another
		my ($in_copy, $out_copy) = map { fcntl($_, F_DUPFD, 20) } $theirs, $out;
		POSIX::dup2($in_copy, 3);
		POSIX::dup2($out_copy, 4);
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>', "$place/browser.log");
		open(STDERR, '>&', \*STDOUT);
		$ENV{HOME} = $ENV{TMPDIR} = $place;
		# it may run as root in a container, where its sandbox cannot be
		exec(program(), '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage',
			'--hide-scrollbars', '--no-first-run', '--disable-background-networking',
			'--host-resolver-rules=MAP * ~NOTFOUND', '--proxy-server=127.0.0.1:9',
			'--remote-debugging-pipe', "--user-data-dir=$place/profile", 'about:blank')
		  or POSIX::_exit(127);
	}
	close $theirs;
	close $out;
	my $self = bless { pid => $pid, to => $to, from => $from, buffer => '', number => 0,
		events => [], place => $place }, $class;
	my $target = $self->call('Target.createTarget', url => 'about:blank')->{targetId};
	$self->{session} = $self->call('Target.attachToTarget', targetId => $target,
		flatten => JSON::PP::true)->{sessionId};
	$self->call("$_.enable") foreach qw(Page Runtime Log Network);
	return $self;
}

# The next message; what is no answer is an event.
sub message
{
	my ($self, $until) = @_;

	while ($self->{buffer} !~ /\0/)
	{
		my $left = $until - time;
		die "the browser does not answer\n"
		  if $left <= 0 || !IO::Select->new($self->{from})->can_read($left);
		my $read = sysread($self->{from}, $self->{buffer}, 1 << 16, length $self->{buffer});
		die "the browser is gone\n" unless $read;
	}
	$self->{buffer} =~ s/^([^\0]*)\0//;
	return decode_json($1);
}

sub call
{
	my ($self, $method, %params) = @_;
	my $id = ++$self->{number};
	my $text = encode_json({ id => $id, method => $method, params => \%params,
		$self->{session} ? (sessionId => $self->{session}) : () });
	my $until = time + $limit;

	syswrite($self->{to}, "$text\0") or die "the browser is gone\n";
	while (1)
	{
		my $message = $self->message($until);
		if (($message->{id} // 0) == $id)
		{
			die "$method: $message->{error}{message}\n" if $message->{error};
			return $message->{result};
		}
		push @{ $self->{events} }, $message if $message->{method};
	}
}

# What has happened, of these kinds; each is told once.
sub events
{
	my ($self, $kinds) = @_;
	my @found = grep { $_->{method} =~ $kinds } @{ $self->{events} };

	$self->{events} = [ grep { $_->{method} !~ $kinds } @{ $self->{events} } ];
	return @found;
}

# Goes to a page and waits until it is there; for a screen of this width, in light or dark.
sub visit
{
	my ($self, $url, %screen) = @_;
	my $until = time + $limit;

	$self->call('Emulation.setDeviceMetricsOverride', width => $screen{width} // 1200,
		height => 800, deviceScaleFactor => 1,
		mobile => $screen{mobile} ? JSON::PP::true : JSON::PP::false);
	$self->call('Emulation.setEmulatedMedia', features => [
		{ name => 'prefers-color-scheme', value => $screen{dark} ? 'dark' : 'light' } ]);
	$self->events(qr/^Page\.loadEventFired$/);
	$self->call('Page.navigate', url => $url);
	push @{ $self->{events} }, $self->message($until)
	  until grep { ($_->{method} // '') eq 'Page.loadEventFired' } @{ $self->{events} };
	return;
}

# What an expression of JavaScript is in the page.
sub evaluate
{
	my ($self, $expression) = @_;
	my $result = $self->call('Runtime.evaluate', expression => $expression,
		returnByValue => JSON::PP::true);

	die "$expression: $result->{exceptionDetails}{text}\n" if $result->{exceptionDetails};
	return $result->{result}{value};
}

# The page as a picture, of PNG, smaller by this factor.
sub screenshot
{
	my ($self, $scale) = @_;
	my ($width, $height) = map { $self->evaluate("document.documentElement.$_") } qw(scrollWidth scrollHeight);

	return decode_base64($self->call('Page.captureScreenshot', format => 'png',
		captureBeyondViewport => JSON::PP::true,
		clip => { x => 0, y => 0, width => $width, height => $height, scale => $scale })->{data});
}

# How often each colour is in a picture of PNG, of eight bits a channel.
sub colours
{
	my ($png) = @_;
	my ($width, $height, $kind, $data, $offset) = (0, 0, 0, '', 8);

	while ($offset < length $png)
	{
		my ($length, $type) = unpack("\@$offset N a4", $png);
		my $chunk = substr($png, $offset + 8, $length);
		($width, $height, $kind) = (unpack 'N N C C', $chunk)[ 0, 1, 3 ] if $type eq 'IHDR';
		$data .= $chunk if $type eq 'IDAT';
		$offset += 12 + $length;
	}
	my $bytes = { 2 => 3, 6 => 4 }->{$kind} or die "a picture of kind $kind";
	my $raw = uncompress($data) // die 'not a picture';
	my @above = (0) x ($width * $bytes);
	my %count;
	for my $y (0 .. $height - 1)
	{
		my $stride = $width * $bytes + 1;
		my ($filter, @line) = unpack('C*', substr($raw, $y * $stride, $stride));
		for my $i (0 .. $#line)
		{
			my $left = $i < $bytes ? 0 : $line[ $i - $bytes ];
			my $up = $above[$i];
			if ($filter == 1) { $line[$i] += $left }
			elsif ($filter == 2) { $line[$i] += $up }
			elsif ($filter == 3) { $line[$i] += ($left + $up) >> 1 }
			elsif ($filter == 4)
			{
				my $corner = $i < $bytes ? 0 : $above[ $i - $bytes ];
				my ($a, $b, $c) = map { abs($left + $up - $corner - $_) } $left, $up, $corner;
				$line[$i] += $a <= $b && $a <= $c ? $left : $b <= $c ? $up : $corner;
			}
			$line[$i] &= 255;
		}
		for (my $i = 0; $i < @line; $i += $bytes)
		{
			$count{"@line[$i .. $i + 2]"}++;
		}
		@above = @line;
	}
	return \%count;
}

sub stop
{
	my ($self) = @_;
	my $until = time + 10;

	return unless $self->{pid};
	close $self->{to};
	kill 'TERM', $self->{pid};
	until (waitpid($self->{pid}, WNOHANG) != 0)
	{
		kill 'KILL', $self->{pid} if time > $until;
		select(undef, undef, undef, 0.05);
	}
	$self->{pid} = 0;
	return;
}

sub DESTROY { local $?; $_[0]->stop; return }

1;
