# Random schedules of several sessions, one step at a time: each answer is the one that
# the model gives, and who waits has a reason; see t/storm/README.md.
# IDEM_STORM_SEED and IDEM_STORM_SECONDS say which, and for how long.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use RandomSchedules;

storm('stepped');
