# A headless Chromium, by the DevTools protocol over a pair of pipes: no driver and no
# socket.  Notes what a page says, complains of and asks for.
package Chromium;

use strict;
use warnings;

use Compress::Zlib qw(uncompress);
use IO::Handle;
use JSON::PP;
use MIME::Base64;
use POSIX ();
use PostgreSQL::Test::Utils;
use Time::HiRes qw(sleep time);

use constant BOUND => 60;    # seconds for anything to happen

my %running;

# The program, if there is one that starts.
sub found
{
	foreach my $path (map { ("$_/chromium", "$_/chromium-browser", "$_/google-chrome") } split /:/, "$ENV{PATH}:/usr/bin")
	{
		return $path if -x $path && `"$path" --version 2>/dev/null` =~ /^\w.*\d/;
	}
	return;
}

# Opens a window of this size.
sub new
{
	my ($class, $width, $height) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir_short();

	# its descriptors 3 and 4: commands, and answers
	pipe(my $commands, my $in) or die "pipe: $!";
	pipe(my $out, my $answers) or die "pipe: $!";
	my $pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		# out of the way of each other first
		POSIX::dup2(fileno $commands, 30);
		POSIX::dup2(fileno $answers, 31);
		POSIX::dup2(30, 3);
		POSIX::dup2(31, 4);
		POSIX::close($_) foreach 30, 31;
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>', "$dir/log");
		open(STDERR, '>&', \*STDOUT);
		@ENV{qw(HOME XDG_CONFIG_HOME XDG_CACHE_HOME)} = ($dir) x 3;
		exec(found(), '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
			'--disable-background-networking', '--disable-component-update', '--disable-sync', '--hide-scrollbars',
			'--no-proxy-server', '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1',
			"--user-data-dir=$dir/profile", "--window-size=$width,$height",
			'--remote-debugging-pipe', 'about:blank')
		  or POSIX::_exit(127);
	}
	close $_ foreach $commands, $answers;
	$in->autoflush(1);
	$running{$pid} = 1;
	my $self = bless { pid => $pid, in => $in, out => $out, buffer => '', number => 0, said => [], requests => [], log => "$dir/log" }, $class;

	my ($target) = wait_for(sub {
		grep { $_->{type} eq 'page' } @{ $self->call('Target.getTargets')->{targetInfos} } });
	$self->{session} = $self->call('Target.attachToTarget', { targetId => $target->{targetId}, flatten => JSON::PP::true })->{sessionId};
	$self->call("$_.enable") foreach qw(Page Runtime Log Network);
	$self->call('Emulation.setDeviceMetricsOverride',
		{ width => $width, height => $height, deviceScaleFactor => 1, mobile => JSON::PP::false });
	return $self;
}

sub wait_for
{
	my ($condition) = @_;
	my $end = time + BOUND;

	while (1)
	{
		my @found = $condition->();
		return @found if @found && $found[0];
		die 'nothing came of waiting' if time > $end;
		sleep 0.05;
	}
}

# One message of Chromium's.
sub message
{
	my ($self) = @_;
	my $end = time + BOUND;

	while (1)
	{
		return decode_json($1) if $self->{buffer} =~ s/\A([^\0]*)\0//;
		my $ready = '';
		vec($ready, fileno $self->{out}, 1) = 1;
		die 'Chromium does not answer: ' . slurp_file($self->{log}) if time > $end;
		next unless select($ready, undef, undef, 1);
		sysread($self->{out}, $self->{buffer}, 65536, length $self->{buffer})
		  or die 'Chromium has ended: ' . slurp_file($self->{log});
	}
}

# Sends a command, and waits for its answer.
sub call
{
	my ($self, $method, $params) = @_;
	my $number = ++$self->{number};

	print { $self->{in} } encode_json({
		id => $number, method => $method, params => $params // {},
		$self->{session} ? (sessionId => $self->{session}) : () }) . "\0";
	while (1)
	{
		my $message = $self->message;
		if (($message->{id} // 0) == $number)
		{
			die "$method: $message->{error}{message}" if $message->{error};
			return $message->{result};
		}
		$self->note($message) if $message->{method};
	}
}

# What a page says, as whether that is a complaint, and a text; and what it asks for.
sub note
{
	my ($self, $message) = @_;
	my $params = $message->{params};

	if ($message->{method} eq 'Runtime.exceptionThrown')
	{
		push @{ $self->{said} }, [ 1, "exception: " . encode_json($params->{exceptionDetails}) ];
	}
	elsif ($message->{method} eq 'Runtime.consoleAPICalled')
	{
		push @{ $self->{said} }, [ scalar($params->{type} =~ /^(?:error|warning|assert)$/), "console: " . encode_json($params->{args}) ];
	}
	elsif ($message->{method} eq 'Log.entryAdded')
	{
		push @{ $self->{said} }, [ scalar($params->{entry}{level} =~ /^(?:error|warning)$/), "$params->{entry}{source}: $params->{entry}{text}" ];
	}
	elsif ($message->{method} eq 'Page.javascriptDialogOpening')
	{
		push @{ $self->{said} }, [ 1, "dialog: $params->{message}" ];
	}
	elsif ($message->{method} eq 'Network.requestWillBeSent')
	{
		push @{ $self->{requests} }, substr $params->{request}{url}, 0, 200;
	}
}

# What it has said so far, and nothing any more: all, or what are complaints.
sub said
{
	my ($self, $complaints) = @_;

	$self->evaluate('1');    # what was said before is here now
	return map { $_->[1] } grep { $_->[0] || !$complaints } splice @{ $self->{said} };
}

sub complaints { return $_[0]->said(1) }

# What it has asked for so far, and nothing any more.
sub requests
{
	my ($self) = @_;

	$self->evaluate('1');
	return splice @{ $self->{requests} };
}

# The value of an expression in the page.
sub evaluate
{
	my ($self, $expression) = @_;
	my $answer = $self->call('Runtime.evaluate',
		{ expression => $expression, returnByValue => JSON::PP::true, awaitPromise => JSON::PP::true });

	die "$expression: " . encode_json($answer->{exceptionDetails}) if $answer->{exceptionDetails};
	return $answer->{result}{value};
}

# Waits until an expression is true there; whether it came to be.
sub until_true
{
	my ($self, $expression) = @_;

	return eval { wait_for(sub { $self->evaluate($expression) }) ? 1 : 0 } // 0;
}

# From the next page on: a screen of this width, of a phone or not, and in light or dark.
sub screen
{
	my ($self, %screen) = @_;

	$self->call('Emulation.setDeviceMetricsOverride', {
		width => $screen{width}, height => $screen{height} // 800, deviceScaleFactor => 1,
		mobile => $screen{mobile} ? JSON::PP::true : JSON::PP::false });
	$self->call('Emulation.setEmulatedMedia', { features => [
		{ name => 'prefers-color-scheme', value => $screen{dark} ? 'dark' : 'light' } ] });
}

sub open_page
{
	my ($self, $url) = @_;

	$self->call('Page.navigate', { url => $url });
	$self->until_true('document.readyState === "complete"') or die "$url does not load";
}

# Clicks with the mouse where an element is, as a person does.
sub click
{
	my ($self, $selector) = @_;
	my $json = JSON::PP->new->allow_nonref->encode($selector);
	my $place = $self->evaluate("(() => { const e = document.querySelector($json); e.scrollIntoView({block: 'center'});"
		. 'const r = e.getBoundingClientRect(); const x = r.x + r.width / 2, y = r.y + r.height / 2;'
		. 'const top = document.elementFromPoint(x, y);'
		. 'return { x, y, hit: e === top || e.contains(top) || top.contains(e) } })()');

	die "$selector cannot be clicked" unless $place->{hit};
	$self->call('Input.dispatchMouseEvent',
		{ type => $_, x => $place->{x}, y => $place->{y}, button => 'left', clickCount => 1 })
	  foreach 'mousePressed', 'mouseReleased';
}

# The page as a picture, of PNG, smaller by this factor.
sub picture
{
	my ($self, $scale) = @_;
	my ($width, $height) = map { $self->evaluate("document.documentElement.$_") } qw(scrollWidth scrollHeight);

	return decode_base64($self->call('Page.captureScreenshot', {
		format => 'png', captureBeyondViewport => JSON::PP::true,
		clip => { x => 0, y => 0, width => $width, height => $height, scale => $scale } })->{data});
}

sub screenshot
{
	my ($self, $file) = @_;

	open(my $out, '>:raw', $file) or die "$file: $!";
	print $out $self->picture(1);
	close $out;
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
	my $status = $?;
	foreach my $pid (keys %running)
	{
		kill 'TERM', $pid;
		my $end = time + 5;
		my $ended;
		sleep 0.05 until ($ended = waitpid($pid, POSIX::WNOHANG())) || time > $end;
		next if $ended;
		kill 'KILL', $pid;
		waitpid $pid, 0;
	}
	%running = ();
	$? = $status;
}

END { stop() }

1;
