# Asks a service what examples/http-cases.json wants of it, over HTTP, and looks at
# what it has done in its database.
package HttpCases;

use strict;
use warnings;

use Exporter 'import';
use File::Basename;
use HTTP::Tiny;
use JSON::PP;
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(http_cases http_send send_in_background wait_until);

use constant BOUND => 30;    # seconds for anything to happen

my $file = dirname(__FILE__) . '/../../examples/http-cases.json';

# Headers of the moment, which a replay need not repeat.
my %volatile = map { $_ => 1 }
  qw(date server connection keep-alive transfer-encoding idempotent-replayed server-timing
  x-powered-by x-runtime x-request-id);

# Waits for a condition; whether it came to be.
sub wait_until
{
	my ($condition) = @_;
	my $end = time + BOUND;

	until ($condition->())
	{
		return 0 if time > $end;
		sleep 0.02;
	}
	return 1;
}

# One request, and what HTTP::Tiny makes of its answer: 599 where there is none.
sub http_send
{
	my ($method, $url, $headers, $body) = @_;
	my $client = HTTP::Tiny->new(
		timeout => BOUND, keep_alive => 0, max_redirect => 0, no_proxy => [ '127.0.0.1', 'localhost' ]);

	return $client->request($method, $url,
		{ headers => $headers, defined $body ? (content => $body) : () });
}

# Sends in a process of its own; gives a function that waits for the answer.
sub send_in_background
{
	my @request = @_;

	pipe(my $out, my $in) or die "pipe: $!";
	my $pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		my $answer = http_send(@request);
		print $in encode_json($answer);
		close $in;
		POSIX::_exit(0);
	}
	close $in;
	return sub {
		local $/;
		my $json = <$out>;
		waitpid($pid, 0);
		return decode_json($json);
	};
}

sub new
{
	my ($class, %arguments) = @_;
	my $cases = decode_json(slurp_file($file));

	delete @{ $_->{expect} }{ @{ $arguments{unlike} // [] } }
	  foreach grep { $_->{expect} } map { @{ $_->{steps} } } @{ $cases->{cases} };
	return bless { dbname => 'postgres', %arguments, %$cases }, $class;
}

sub sql { return $_[0]{node}->safe_psql($_[0]{dbname}, $_[1]) }

# A setting of the whole server, known to each of its sessions before its next statement.
sub set
{
	my ($self, $setting, $value) = @_;

	$self->{node}->append_conf('postgresql.conf', "$setting = '$value'");
	$self->{node}->reload;
	wait_until(sub { $self->sql("LOAD 'idem'; SHOW $setting") eq $value }) or die "$setting is not $value";
}

my %do = (
	lock => sub {
		my ($self) = @_;

		$self->{locker} = $self->{node}->background_psql($self->{dbname});
		$self->{locker}->query_safe('BEGIN; LOCK TABLE orders IN SHARE MODE');
	},
	unlock => sub {
		my ($self) = @_;

		$self->{locker}->query_safe('COMMIT');
		$self->{locker}->quit;
	},
	expire => sub {
		$_[0]->sql("UPDATE idem_key SET created_at = created_at - interval '100 days', expires_at = expires_at - interval '100 days'");
	},
	break => sub {
		$_[0]->sql(q{
			CREATE FUNCTION http_cases_fault() RETURNS trigger LANGUAGE plpgsql AS
				$$ BEGIN RAISE 'disk of role % is on fire', current_user USING ERRCODE = 'XX000'; END $$;
			CREATE TRIGGER http_cases_fault BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION http_cases_fault()});
	},
	mend => sub { $_[0]->sql('DROP FUNCTION http_cases_fault CASCADE') },
	lose => sub { $_[0]->set('idem.lose_ack', 1) },
	keep => sub { $_[0]->set('idem.lose_ack', 0) },
	crash => sub {
		my ($self) = @_;

		$self->{kill}->();
		$self->{start}->();
	});

# What is to be seen of an answer by one that is the same.
sub image
{
	my ($answer) = @_;
	my %headers = map { $_ => $answer->{headers}{$_} } grep { !$volatile{$_} } keys %{ $answer->{headers} };

	return { status => $answer->{status}, body => $answer->{content}, headers => \%headers };
}

sub check
{
	my ($self, $name, $answer, $expect, $answers) = @_;
	my @status = ref $expect->{status} ? @{ $expect->{status} } : $expect->{status};
	my %headers = %{ $answer->{headers} };
	my $replayed = lc($headers{'idempotent-replayed'} // '') eq 'true';

	ok(scalar(grep { $_ == $answer->{status} } @status), "$name: status @status")
	  or diag("it is $answer->{status}: $answer->{content}");
	is($replayed ? 'replayed' : 'not replayed', $expect->{replayed} ? 'replayed' : 'not replayed', "$name: replayed or not")
	  if defined $expect->{replayed};
	like($headers{ lc $_ } // '', qr/$expect->{headers}{$_}/, "$name: $_") foreach sort keys %{ $expect->{headers} // {} };
	is_deeply(image($answer), image($answers->[ $expect->{same_as} ]), "$name: the same answer as in step $expect->{same_as}")
	  if defined $expect->{same_as};
	return unless $answer->{status} >= 400 && $answer->{status} != 599;

	# no client learns of the roles of the database
	my $roles = join '|', map { quotemeta } split /\n/, $self->sql(q{SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_'});
	unlike($answer->{content}, qr/\b(?:$roles)\b/, "$name: names no role");
	return unless $expect->{problem};

	my $problem = eval { decode_json($answer->{content}) } // {};
	like($headers{'content-type'} // '', qr{^application/problem\+json\b}, "$name: a problem");
	is($problem->{status} // '', $answer->{status}, "$name: its status in the body");
	like($problem->{title} // '', qr/\w/, "$name: its title");
}

sub run_case
{
	my ($self, $case) = @_;
	my $key = sprintf '%08x-%04x-4%03x-8%03x-%012x', map { int rand $_ } 2**32, 2**16, 2**12, 2**12, 2**48;
	my $before = $self->sql('SELECT count(*) FROM orders');
	my (@answers, %background);

	foreach my $step (@{ $case->{steps} })
	{
		my $name = "$case->{name}, step " . scalar @answers;

		if ($step->{do})
		{
			$do{ $step->{do} }->($self);
			push @answers, undef;
			next;
		}
		my %headers = (%{ $self->{request}{headers} }, %{ $step->{headers} // {} });
		delete $headers{$_} foreach grep { !defined $headers{$_} } keys %headers;
		s/\{key\}/$key/g foreach values %headers;
		my @request = ($self->{request}{method}, $self->{url} . $self->{request}{path}, \%headers,
			$step->{body} // $self->{request}{body});
		if ($step->{background})
		{
			$background{ $step->{background} } = send_in_background(@request);
			ok(wait_until(sub { $self->sql(q{SELECT count(*) FROM pg_locks
				WHERE relation = 'orders'::regclass AND NOT granted}) > 0 }), "$name: is being processed");
			push @answers, undef;
			next;
		}
		my $answer;
		if ($step->{join})
		{
			$answer = $background{ $step->{join} }->();
		}
		else
		{
			wait_until(sub {
				$answer = http_send(@request);
				return !($step->{patient} && $answer->{status} =~ /^(?:409|503)$/ && $answer->{headers}{'retry-after'});
			});
		}
		push @answers, $answer;
		$self->check($name, $answer, $step->{expect}, \@answers);
	}
	is($self->sql('SELECT count(*) FROM orders') - $before, $case->{orders}, "$case->{name}: orders placed");
}

# http_cases(url => ..., node => ..., dbname => ..., kill => ..., start => ..., not => {...},
#	unlike => [...])
#
# All cases, each a subtest, but for those that are named in not, with the reason, and
# without the expectations that are named in unlike.  The service is at the url; kill ends
# it by SIGKILL, start starts it and waits for it.
sub http_cases
{
	my $self = HttpCases->new(@_);

	foreach my $case (@{ $self->{cases} })
	{
		subtest "$case->{name}: $case->{rule}" => sub {
			plan skip_all => $self->{not}{ $case->{name} } if $self->{not}{ $case->{name} };
			my $lost = () = slurp_file($self->{node}->logfile) =~ /idem loses the acknowledgement/g;

			$self->run_case($case);
			return unless grep { ($_->{do} // '') eq 'lose' } @{ $case->{steps} };
			cmp_ok(scalar(() = slurp_file($self->{node}->logfile) =~ /idem loses the acknowledgement/g),
				'>', $lost, 'an acknowledgement was lost');
		};
	}
}

1;
