/*
 * saga.pml
 *	  The life of one saga: its steps, in turn, and their undoing, as src/saga/ and
 *	  the participants' barriers (src/saga/barrier.c) make it.  README.md says what is
 *	  what.
 *
 * Workers claim what is due, act in a participant's database behind a barrier, and
 * report.  They may stop for any time, crash and start anew wherever they are; they
 * act twice, report twice, act late and report late.  Leases run out, somebody
 * cancels, and somebody decides about what is stuck.
 *
 * What the ledger does is one step: its transactions lock the saga's row first.  What
 * a participant does is another, in another database; where it rolls back, it has not
 * been taken.  What lies between is what the model is about.
 *
 * What a MUTANT changes is a mistake on purpose, which check has to find out.
 */
#ifndef STEPS
#define STEPS	3
#endif
#ifndef WORKERS
#define WORKERS	2
#endif
#ifndef ATTEMPTS
#define ATTEMPTS	2			/* to do a step, and to undo it */
#endif
#ifndef DECISIONS
#define DECISIONS	1			/* about what is stuck */
#endif

mtype = { pending, running, done, failed, undoing, undone, stuck, skipped,
		  compensating, completed, compensated,
		  absent, in_progress, abandoned };

/* A step: its row, its two keys in the ledger, and what the participant has. */
typedef Step {
	mtype status = pending;
	byte attempts;
	byte start;					/* it was started as the n-th; 0: not yet */
	mtype do_key = absent;
	mtype undo_key = absent;
	mtype do_barrier = absent;	/* completed: it has run; failed: it never will */
	bool undo_barrier;			/* it has been undone, or was empty */
	byte effects;				/* what has really happened, so many times */
	byte undos
};

Step step[STEPS + 1];			/* from 1 */
mtype saga = running;
bool compensates;				/* it goes back */
byte pivot;						/* after that step only forward; 0: there is none */
bool leased;					/* by the server's clock, who holds the due step has
								 * a lease that runs */

byte starts;
byte decisions;
byte holders;					/* workers that remember a claim */
/*
 * What the workers remember.  Fences are numbers; what counts of them is whether a
 * worker's is that of the latest claim, and whether there was one before.
 */
byte mine[WORKERS];				/* the step it has claimed; 0: none */
bool undo[WORKERS];
bool latest[WORKERS];			/* its fence is that of the key */
bool alone[WORKERS];			/* and nobody has claimed the action before */
bool acted[WORKERS];			/* it knows that the work is there */
bool refused[WORKERS];			/* it knows that the work never will be */

byte next;						/* scratch of the steps below; 0 between them */

/* What only the observer knows. */
bool twice;						/* an end or an effect came twice, or an undo of
								 * what had not happened */
bool disordered;				/* undone before what was started later is settled */
bool forward_late;				/* claimed forward while the saga goes back */
bool back_past_pivot;
bool ran_late;					/* an action ran after its undo */
bool purged_live;

#define ENDED		(saga == completed || saga == compensated)
#define LIVE		(saga == running || saga == compensating)
/* nothing will come any more */
#define OVER		(ENDED || (saga == stuck && decisions == DECISIONS && holders == 0))
#define SETTLED(s)	(step[s].status == failed || step[s].status == undone || \
					 step[s].status == skipped)
#define MIGHT_BE(s)	(step[s].start > 0 && !SETTLED(s))

#ifdef MUTANT_NO_PIVOT
#define STOPS_AT_PIVOT	false
#else
#define STOPS_AT_PIVOT	PAST_PIVOT
#endif
#define PAST_PIVOT	(pivot > 0 && MIGHT_BE(pivot))

#ifdef MUTANT_NO_FENCE
#define HOLDS_DO	(step[mine[me]].do_key == in_progress)
#else
#define HOLDS_DO	(step[mine[me]].do_key == in_progress && latest[me])
#endif
#define HOLDS_UNDO	(step[mine[me]].undo_key == in_progress && latest[me])

/* May a holder still report, by the status that the step has? */
#define OPEN_DO		(step[mine[me]].status == running || \
					 (step[mine[me]].status == stuck && !compensates))
#define OPEN_UNDO	(step[mine[me]].status == undoing || \
					 (step[mine[me]].status == stuck && compensates))

#define EVEN(s)		(step[s].effects == step[s].undos)
#define WHOLE(s)	(step[s].effects == 1 && step[s].undos == 0)
#if STEPS == 3
#define ALL_EVEN	(EVEN(1) && EVEN(2) && EVEN(3))
#define ALL_WHOLE	(WHOLE(1) && WHOLE(2) && WHOLE(3))
#define ANY_STUCK	(step[1].status == stuck || step[2].status == stuck || \
					 step[3].status == stuck)
#else
#define ALL_EVEN	(EVEN(1) && EVEN(2))
#define ALL_WHOLE	(WHOLE(1) && WHOLE(2))
#define ANY_STUCK	(step[1].status == stuck || step[2].status == stuck)
#endif

#define TRUE_END	((saga == compensated -> ALL_EVEN) && \
					 (saga == completed -> ALL_WHOLE))
#define NO_WAY_OUT	(compensates -> saga == compensating || \
					 saga == compensated || saga == stuck)

/* The assumption: who remembers a claim forgets it before the barriers are purged. */
#ifdef MUTANT_LONG_SLEEP
#define NO_HOLDERS	true
#else
#define NO_HOLDERS	(holders == 0)
#endif

/* all of them at once */
ltl all_of_it		{ [] (!twice && !disordered && !forward_late && !back_past_pivot &&
						  !ran_late && !purged_live && (ANY_STUCK -> saga == stuck) &&
						  TRUE_END && NO_WAY_OUT) }
ltl one_end			{ [] !twice }
ltl undo_in_order	{ [] !disordered }
ltl forward_running	{ [] !forward_late }
ltl past_the_pivot	{ [] !back_past_pivot }
ltl empty_or_run	{ [] !ran_late }
ltl stuck_is_shown	{ [] (ANY_STUCK -> saga == stuck) }
ltl truth			{ [] TRUE_END }
ltl purge_ended		{ [] !purged_live }
ltl no_way_out		{ [] NO_WAY_OUT }

/* What is to be reached in some state: each of these is to be refuted. */
#define ANY(what)	((what(1)) || (what(2)) || (what(STEPS)))
#define EMPTY(s)	(step[s].undo_barrier && step[s].effects == 0)
#define UNDONE(s)	(step[s].undos == 1)
ltl never_completed		{ [] !(saga == completed) }
ltl never_compensated	{ [] !(saga == compensated && ANY(UNDONE)) }
ltl never_empty			{ [] !ANY(EMPTY) }
ltl never_late			{ [] !(refused[0] && step[1].do_barrier == failed && !latest[0]) }
ltl never_stuck			{ [] !(saga == stuck && !compensates) }
ltl never_stuck_back	{ [] !(saga == stuck && compensates) }
ltl never_decided		{ [] !(decisions > 0 && ENDED) }
ltl never_done_late		{ [] !(compensates && leased && step[2].status == done) }

/* The step of which something is due, or 0: idem_saga_rules_settle's next. */
inline find_next() {
	next = 0;
	for (i : 1 .. STEPS) {
		if
		:: !compensates && next == 0 &&
		   step[i].status != done && step[i].status != skipped ->
			next = i
#ifdef MUTANT_ANY_ORDER
		:: compensates && MIGHT_BE(i) && next == 0 ->
			next = i
#else
		:: compensates && MIGHT_BE(i) &&
		   (next == 0 || step[i].start > step[next].start) ->
			next = i
#endif
		:: else
		fi
	}
	i = 0
}

inline settle() {
	find_next();
	if
	:: next == 0 ->
		if
		:: compensates -> saga = compensated
		:: else -> saga = completed
		fi
	:: next != 0 && step[next].status == stuck -> saga = stuck
	:: else ->
		if
		:: compensates -> saga = compensating
		:: else -> saga = running
		fi
	fi;
	next = 0
}

inline compensate() {
	back_past_pivot = back_past_pivot || PAST_PIVOT;
	compensates = true;
	for (i : 1 .. STEPS) {
		if
		:: step[i].status == pending && step[i].start == 0 ->
			step[i].status = skipped
		:: else
		fi
	}
	i = 0;
	settle()
}

/* The lease of the step due is over, and it has had all its attempts. */
inline lose() {
	if
	:: !compensates && !STOPS_AT_PIVOT ->
		next = 0;
		compensate()
	:: else ->
#ifdef MUTANT_EXHAUSTED_IS_UNDONE
		step[next].status = (compensates -> undone : stuck);
#else
		step[next].status = stuck;
#endif
		settle()
	fi
}

/* A key is claimed anew: its fence is one higher, and those before are old. */
inline overtake(s, back) {
	for (i : 0 .. WORKERS - 1) {
		latest[i] = latest[i] && !(mine[i] == s && undo[i] == back)
	}
	i = 0
}

/* Claims to do the step due. */
inline claim_do() {
	forward_late = forward_late || saga != running;
	if
	:: step[next].start == 0 ->
		starts++;
		step[next].start = starts
	:: else
	fi;
	step[next].status = running;
	step[next].attempts++;
	alone[me] = step[next].do_key == absent;
	overtake(next, false);
	step[next].do_key = in_progress;
	leased = true;
	mine[me] = next;
	undo[me] = false;
	latest[me] = true
}

/* Claims to undo it.  Who might still do it loses that. */
inline claim_undo() {
	for (i : 1 .. STEPS) {
		disordered = disordered ||
			(step[i].start > step[next].start && !SETTLED(i))
	}
	i = 0;
	back_past_pivot = back_past_pivot || PAST_PIVOT;
	if
	:: step[next].status == running || step[next].status == pending ->
		overtake(next, false);
		step[next].do_key = failed
	:: else
	fi;
	if
	:: step[next].status != undoing ->
		step[next].attempts = 0;
		step[next].status = undoing
	:: else
	fi;
	step[next].attempts++;
	overtake(next, true);
	step[next].undo_key = in_progress;
	leased = true;
	mine[me] = next;
	undo[me] = true;
	latest[me] = true
}

/* idem_barrier() of an undo, and the participant's work. */
inline undo_behind_barrier(s) {
	if
	:: step[s].undo_barrier		/* duplicate */
	:: !step[s].undo_barrier && step[s].do_barrier == completed ->
		step[s].undo_barrier = true;
		step[s].undos++;
		twice = twice || step[s].undos > step[s].effects
	:: else ->					/* empty */
#ifndef MUTANT_OPEN_BARRIER
		step[s].do_barrier = failed;
#endif
		step[s].undo_barrier = true
	fi
}

/* The step is done, or undone. */
inline finish() {
	leased = false;
		if
	:: undo[me] ->
		twice = twice || step[mine[me]].undo_key == completed;
		step[mine[me]].undo_key = completed;
		step[mine[me]].status = undone
	:: else ->
		twice = twice || step[mine[me]].do_key == completed;
		step[mine[me]].do_key = completed;
		step[mine[me]].status = done
	fi;
	settle()
}

/* The step has failed, and nobody knows whether it happened. */
inline fail_unknown() {
	leased = false;
	if
	:: step[mine[me]].status == stuck ->
		if
		:: undo[me] -> step[mine[me]].undo_key = abandoned
		:: else -> step[mine[me]].do_key = abandoned
		fi
	:: step[mine[me]].status != stuck && step[mine[me]].attempts < ATTEMPTS &&
	   (undo[me] || saga == running) ->
				if
		:: undo[me] -> step[mine[me]].undo_key = abandoned
		:: else ->
			step[mine[me]].do_key = abandoned;
			step[mine[me]].status = pending
		fi;
		settle()
	:: else ->
				if
		:: undo[me] ->
			step[mine[me]].undo_key = abandoned;
#ifdef MUTANT_EXHAUSTED_IS_UNDONE
			step[mine[me]].status = undone;
#else
			step[mine[me]].status = stuck;
#endif
			settle()
		:: !undo[me] && !compensates && STOPS_AT_PIVOT ->
			step[mine[me]].do_key = abandoned;
			step[mine[me]].status = stuck;
			settle()
		:: else ->
			step[mine[me]].do_key = failed;
			step[mine[me]].attempts = 0;
			step[mine[me]].status = undoing;
			if
			:: compensates -> settle()
			:: else -> compensate()
			fi
		fi
	fi
}

/* The step was refused for good, and has not happened. */
inline fail_for_good() {
	leased = false;
		if
	:: step[mine[me]].status == stuck -> step[mine[me]].do_key = abandoned
	:: else ->
		step[mine[me]].status = failed;	/* a pivot that was refused is none */
		if
		:: compensates ->
			step[mine[me]].do_key = failed;
			settle()
		:: !compensates && STOPS_AT_PIVOT ->
			step[mine[me]].do_key = abandoned;
			step[mine[me]].status = stuck;
			settle()
		:: else ->
			step[mine[me]].do_key = failed;
			compensate()
		fi
	fi
}

inline forget() {
	mine[me] = 0;
	undo[me] = false;
	latest[me] = false;
	alone[me] = false;
	acted[me] = false;
	refused[me] = false;
	holders--
}

proctype worker(byte me) {
	byte i;

	do
	:: atomic { mine[me] == 0 && LIVE && !leased ->
		find_next();
		if
		:: (step[next].status == running && !compensates ||
			step[next].status == undoing) && step[next].attempts >= ATTEMPTS ->
			lose()
		:: else ->
			holders++;
#ifdef MUTANT_FORWARD_TOO
			if
			:: step[next].status == pending || step[next].status == running ->
				claim_do()
			:: else ->
				if
				:: compensates -> claim_undo()
				:: else -> claim_do()
				fi
			fi;
#else
			if
			:: compensates -> claim_undo()
			:: else -> claim_do()
			fi;
#endif
			next = 0
		fi
	   }

	:: atomic { mine[me] != 0 && !undo[me] && !acted[me] && !refused[me] ->	/* in the participant */
		if
		:: step[mine[me]].do_barrier == absent ->
			step[mine[me]].do_barrier = completed;
			ran_late = ran_late || step[mine[me]].undo_barrier;
			step[mine[me]].effects++;
			twice = twice || step[mine[me]].effects > 1;
			acted[me] = true
		:: step[mine[me]].do_barrier == completed -> acted[me] = true	/* duplicate */
		:: step[mine[me]].do_barrier == failed -> refused[me] = true	/* late */
		fi
	   }
	:: atomic { mine[me] != 0 && undo[me] && !acted[me] ->
		undo_behind_barrier(mine[me]);
		acted[me] = true
	   }
	:: atomic { mine[me] != 0 && !undo[me] && !acted[me] && !refused[me] &&
		/* the participant refuses it: it is not there */
		step[mine[me]].do_barrier == absent ->
#ifndef MUTANT_REFUSED_IN_PASSING
		if
		:: alone[me]
		/* one before may still be on its way: its action is closed, as empty */
		:: undo_behind_barrier(mine[me])
		fi;
#endif
		refused[me] = true
	   }

	:: atomic { mine[me] != 0 && acted[me] ->	/* done; refused with an old fence, or again */
		if
		:: !undo[me] && HOLDS_DO && OPEN_DO -> finish()
		:: undo[me] && HOLDS_UNDO && OPEN_UNDO -> finish()
		:: else
		fi
	   }
	:: atomic { mine[me] != 0 && !refused[me] ->	/* failed, to be tried again */
		if
		:: !undo[me] && HOLDS_DO && OPEN_DO -> fail_unknown()
		:: undo[me] && HOLDS_UNDO && OPEN_UNDO -> fail_unknown()
		:: else
		fi;
		forget()
	   }
	:: atomic { mine[me] != 0 && refused[me] ->		/* failed for good */
		if
		:: HOLDS_DO && OPEN_DO -> fail_for_good()
		:: else
		fi;
		forget()
	   }
	:: atomic { mine[me] != 0 -> forget() }		/* a crash, or nothing more to do */

	:: mine[me] == 0 && OVER -> break
	od
}

/* Somebody cancels, or the deadline passes; perhaps twice. */
proctype cancel() {
	byte i;

end:
	do
	:: atomic { saga == running && !STOPS_AT_PIVOT -> compensate() }
#ifdef MUTANT_CANCEL_ENDS
	:: atomic { saga == compensating -> saga = compensated }
#endif
	od
}

/* Somebody decides about what is stuck, by what is really there. */
proctype decide() {
	byte i;
	byte s;

end:
	do
	:: atomic { saga == stuck && decisions < DECISIONS ->
		decisions++;
		find_next();
		s = next;
		next = 0;
		if
		:: step[s].attempts = 0;	/* retry */
			step[s].status = (compensates -> undoing : pending)
		:: compensates ->			/* undone, by hand */
			undo_behind_barrier(s);
			step[s].status = undone
		:: !compensates && step[s].effects == 1 ->
			step[s].status = done
		fi;
		s = 0;
		leased = false;
				settle()
	   }
	od
}

proctype clock() {
	do
	:: leased -> leased = false
	:: OVER -> break
	od
}

/* The participants' barriers are purged, which know nothing of the saga. */
proctype purge() {
	byte i;

end:
	if
#ifdef MUTANT_SHORT_WINDOW
	:: atomic { LIVE && NO_HOLDERS ->
#else
	:: atomic { ENDED && NO_HOLDERS ->
		purged_live = purged_live || !ENDED;
#endif
		for (i : 1 .. STEPS) {
			step[i].do_barrier = absent;
			step[i].undo_barrier = false
		}
		i = 0
	   }
	fi
}

init {
	byte i;

	atomic {
		if
		:: pivot = 0
		:: pivot = 2
		fi;
		for (i : 1 .. WORKERS) {
			run worker(i - 1)
		}
		i = 0;
		run cancel();
		run decide();
		run clock();
		run purge()
	}
}
