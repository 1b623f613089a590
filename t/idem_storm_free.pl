# Random calls of several sessions at once, while they are hurt: all that they were told
# is so; see t/storm/README.md.
# IDEM_STORM_SEED and IDEM_STORM_SECONDS say which, and for how long.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use RandomSchedules;

storm('free');
