# Random schedules of several sessions, one step at a time: each answer is the one that
# the model gives, and who waits has a reason; see t/storm/README.md.
# IDEM_STORM_SEED and IDEM_STORM_SECONDS say which, and for how long; by default others
# whenever the sources have changed.  A failure says by which seed it is run again.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use RandomSchedules;

$ENV{IDEM_STORM_SECONDS} //= 40;
storm('stepped');
