# The random schedules once more where keys are in a store, and where all tables are
# reached as if an engine kept them elsewhere: the same answers, and what cannot be done
# there is refused; see t/storm/README.md.
# IDEM_STORM_SEED and IDEM_STORM_SECONDS say which, and for how long each.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use RandomSchedules;

storms([ 'stepped', 'routed', 7 ], [ 'stepped', 'store', 3 ], [ 'free', 'routed', 4 ]);
