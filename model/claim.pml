/*
 * claim.pml
 *	  The life of one key: claims with a lease and a fence, as the files
 *	  lease*.c and key_*.c of src/key and src/purge/purge.c make it.  README.md says
 *	  what is what.
 *
 * Clients claim the key, work outside the database, and write with the fence
 * they were given: checkpoint, extend, release, complete, fail.  They may stop
 * for any time, crash and start anew wherever they are.  They have no clock:
 * that a lease ran out they learn by being refused, so clients whose clocks
 * are wrong by any amount are among them.  Meanwhile leases run out, and rows
 * expire and are purged.
 *
 * A call is three steps, between which all others may take any number: find
 * the row as it is committed and judge it; lock it, if it is still the version
 * that was found; end the transaction, either way.  The lock of a key is left
 * out, as nothing may rest on it.
 *
 * What a MUTANT changes is a mistake on purpose, which check has to find out.
 */
#ifndef CLIENTS
#define CLIENTS	3
#endif
#ifndef CLAIMS
#define CLAIMS	4				/* after so many the clients give up */
#endif

mtype = { absent, in_progress, abandoned, completed, failed };

/* The key's row as it is committed; a row that is not there is absent. */
mtype outcome = absent;
byte fence;
byte response;					/* whose: the claim that ended the work */
bool leased;					/* by the server's clock, the lease still runs */
bool expired;					/* by the server's clock, the key's time is over */

/* Whose open transaction has locked the row, or the place where one would be. */
#define NOBODY	255
#define PURGE	254
byte writer = NOBODY;

byte found;						/* bit n: the row is as client n found it */

/*
 * What only the observer knows.  Claims are numbered for the whole history,
 * while fences may begin anew.
 */
byte claims;					/* the number of the newest claim */
byte completions;				/* effects committed in this life of the key */
mtype kept = absent;			/* the first end committed that has not expired */
byte kept_response;
byte holders;					/* clients that remember a fence */
bool stale_write;				/* a write of another than the newest claim, or of
								 * one that was released */
bool lost_lease;				/* a running lease was taken over or purged */
bool released;					/* the newest claim was given up */

#define CLAIMABLE	(outcome == absent || expired || outcome == abandoned || \
					 (outcome == in_progress && !leased))

#if defined(MUTANT_NO_FENCE)
#define HELD		(outcome == in_progress && !expired)
#elif defined(MUTANT_NO_OUTCOME)
#define HELD		(outcome != absent && !expired && fence == my_fence)
#elif defined(MUTANT_RELEASE_KEEPS)
#define HELD		((outcome == in_progress || outcome == abandoned) && \
					 !expired && fence == my_fence)
#else
#define HELD		(outcome == in_progress && !expired && fence == my_fence)
#endif

#define FIND		found = found | (1 << me)
#define FORGET		found = found & ~(1 << me)
#ifdef MUTANT_NO_SECOND_LOOK
#define AS_FOUND		true
#define STILL_EXPIRED	true
#else
#define AS_FOUND		((found >> me) & 1)
#define STILL_EXPIRED	expired
#endif

/*
 * The assumption: who remembers a fence forgets it before the key has
 * expired and is purged, because the fence of a new row begins at 1 again.
 */
#ifdef MUTANT_LONG_SLEEP
#define NO_HOLDERS	true
#else
#define NO_HOLDERS	(holders == 0)
#endif

ltl one_completion		{ [] (completions <= 1) }
ltl no_completion_lost	{ [] (kept != absent ->
							  outcome == kept && response == kept_response) }
ltl no_stale_write		{ [] !stale_write }
ltl no_lease_lost		{ [] !lost_lease }

/* The row has another version now. */
inline commit() {
	found = 0;
	writer = NOBODY
}

inline delete_row() {
	outcome = absent;
	fence = 0;
	response = 0;
	leased = false;
	expired = false
}

/* What a claim's transaction does to the row, when it commits. */
inline take() {
	lost_lease = lost_lease || leased;
	if
	:: outcome == absent || expired -> completions = 0
	:: else
	fi;
	fence++;
	claims++;
	released = false;
	expired = false;
	response = 0
}

/* The end of the work, committed together with its effect. */
inline end_work(how, number) {
	outcome = how;
	response = number;
	leased = false;
	expired = false;
	completions++;
	if
	:: kept == absent ->
		kept = how;
		kept_response = number
	:: else
	fi
}

/* What each write of a holder's transaction is judged by. */
inline judge_write() {
	stale_write = stale_write || my_claim != claims || released
}

proctype client(byte me) {
	byte my_fence;				/* 0: none */
	byte my_claim;

	do
	:: atomic { my_fence == 0 && CLAIMABLE -> FIND };
		atomic {
			writer == NOBODY;
			if
			:: AS_FOUND && claims < CLAIMS -> writer = me
			:: else
			fi;
			FORGET
		}
		if
		:: writer == me ->
			if
			:: atomic {			/* a lease, committed before the work */
				take();
				outcome = in_progress;
				leased = true;
				my_fence = fence;
				my_claim = claims;
				holders++;
				commit()
			}
			:: atomic {			/* no lease: the work in the same transaction */
				take();
				end_work(completed, claims);
				commit()
			}
			:: atomic {			/* a lease, but the client crashed on the way */
				take();
				outcome = in_progress;
				leased = true;
				commit()
			}
			:: writer = NOBODY	/* rolled back, by whatever crashed */
			fi
		:: else
		fi

	:: atomic { my_fence != 0 && HELD -> FIND };
		atomic {
			writer == NOBODY;
			if
			:: AS_FOUND -> writer = me
			:: else				/* find it again */
			fi;
			FORGET
		}
		if
		:: writer == me ->
			if
			:: atomic {			/* checkpoint: the work's own writes */
				judge_write();
				commit()
			}
			:: atomic {			/* extend, also where the lease ran out */
				judge_write();
				outcome = in_progress;
				leased = true;
				expired = false;
				commit()
			}
			:: atomic {			/* release */
				judge_write();
#ifdef MUTANT_RELEASE_DELETES
				delete_row();
#else
				outcome = abandoned;
#endif
				leased = false;
				released = true;
				commit()
			}
			:: atomic {			/* complete */
				judge_write();
				end_work(completed, my_claim);
				commit()
			}
			:: atomic {			/* fail */
				judge_write();
				end_work(failed, my_claim);
				commit()
			}
			:: writer = NOBODY
			fi
		:: else
		fi

	:: my_fence != 0 ->			/* a crash, or nothing more to do */
		atomic {
			my_fence = 0;
			my_claim = 0;
			holders--
		}

	:: break
	od
}

/* Time passes: a lease runs out first, since a key never expires before it. */
proctype clock() {
	do
	:: atomic { leased -> leased = false }
	:: atomic {
		outcome != absent && !leased && !expired ->
		expired = true;
		kept = absent;
		kept_response = 0
	}
	:: break
	od
}

proctype purge() {
	do
	:: expired && NO_HOLDERS ->
		atomic {				/* SKIP LOCKED: it waits for nobody */
			if
			:: writer == NOBODY && STILL_EXPIRED && NO_HOLDERS -> writer = PURGE
			:: else
			fi
		}
		if
		:: writer == PURGE ->
			if
			:: atomic {
				lost_lease = lost_lease || leased;
				delete_row();
				commit()
			}
			:: writer = NOBODY
			fi
		:: else
		fi
	:: break
	od
}

init {
	byte i;

	atomic {
		for (i : 1 .. CLIENTS) {
			run client(i)
		}
		run clock();
		run purge()
	}
}
