# Random schedules of several sessions, one step at a time: each answer is the one that
# the model gives, and who waits has a reason; see t/storm/README.md.
# IDEM_STORM_SEED and IDEM_STORM_SECONDS say which, and for how long.  Here they are the
# same each time, so that a failure is of what was changed; make storm draws new ones.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use RandomSchedules;

$ENV{IDEM_STORM_SEED} //= 965831442;
$ENV{IDEM_STORM_SECONDS} //= 40;
storm('stepped');
