"""Single-stepped schedules: a statement is sent, and it either answers or is seen to
wait for another session; then comes the next.  So each answer is compared with what
the model says of that very moment.
"""

import itertools
import random
import select
import time
from collections import Counter

import calls
import layout
import model
import pq
from calls.base import public
from calls.upkeep import Upkeep

ISOLATIONS = ("read committed", "repeatable read", "serializable")
PATIENCE = 30                   # seconds for a statement that nobody holds up
DEADLOCK = 0.03                 # deadlock_timeout
SETTINGS = {
    # what ends a wait
    "lock_timeout": ("20ms", "55P03"), "idem.wait_timeout": ("20ms", "55P03"),
    "statement_timeout": ("60ms", "57014"),
}
LOSE = ("idem.lose_ack", "idem.lose_request")


class Violation(Exception):
    """idem has answered what it must not, or has not answered."""


class Disturbed(Exception):
    """A time limit has ended what it was not meant for, as it may on a slow machine: what
    follows is not known."""


class Step:
    """A step of a schedule: which session does what."""

    def __init__(self, session, what, p=None):
        self.session, self.what, self.p = session, what, p or {}

    def dump(self):
        return [self.session, self.what, self.p]

    def __str__(self):
        return f"s{self.session} {self.text()}"

    def text(self):
        if self.what in calls.CALLS:
            return layout.placed(calls.CALLS[self.what].sql(self.p))
        if self.what in STATEMENTS:
            return STATEMENTS[self.what](self.p)
        return f"({self.what})"


STATEMENTS = {
    "begin": lambda p: f"BEGIN ISOLATION LEVEL {p['isolation'].upper()}" + (
        f"; SELECT idem_begin('{p['key']}', 'begun')" if "key" in p else ""),
    "commit": lambda p: "COMMIT",
    "rollback": lambda p: "ROLLBACK",
    "savepoint": lambda p: f"SAVEPOINT {p['name']}",
    "rollback_to": lambda p: f"ROLLBACK TO {p['name']}",
    "release_savepoint": lambda p: f"RELEASE {p['name']}",
    "prepare": lambda p: f"PREPARE TRANSACTION '{p['gid']}'",
    "lose": lambda p: f"SET {p['name']} = 1",
    "set": lambda p: f"SET {p['name']} = '{p['value']}'",
}


def used_again(rng, admin):
    """A key or message whose time is over is used again, while a purge has an old snapshot."""
    call = calls.CALLS[rng.choice(("claim", "upsert", "execute", "consume"))]
    user, p = rng.randrange(admin), call.generate(rng)
    over = Step(admin, "expire_message" if "message" in p else "expire", {**p, "consumer": "one"})
    return [Step(user, call.name, over.p), over, Step(admin, "begin", {"isolation": "repeatable read"}),
            Step(admin, "lookup", {"key": "u1"}), Step(user, call.name, over.p), Step(admin, "purge"),
            Step(admin, "commit")]


def taken_over(rng, admin):
    """A claim is taken over, and then comes the former holder."""
    p = {**calls.CALLS["claim"].generate(rng), "lease": "1 hour"}
    one, other = rng.randrange(admin), rng.randrange(admin)
    end = calls.CALLS[rng.choice(("complete", "fail", "release", "extend", "checkpoint"))]
    lapse = Step(admin, "lapse", p) if rng.random() < 0.7 else Step(one, "release", {**p, "fence": 1, "forget": False})
    return [Step(one, "claim", p), lapse, Step(other, "claim", p),
            Step(one, end.name, {**end.generate(rng), **p, "fence": 1})]


def defined(rng, admin):
    """A scope or a consumer becomes some role's own while others are there, and then is for all again."""
    name = rng.choice(("scope", "consumer"))
    users = [rng.randrange(admin) for _ in range(4)]
    names = ("claim", "upsert", "execute", "lookup", "transition") if name == "scope" else (
        "consume", "consume_batch", "advance", "seen")
    define, drop = calls.CALLS[f"{name}_define"], calls.CALLS[f"{name}_drop"]
    p = {**define.generate(rng), "scope": "z", "consumer": "one"}
    using = [Step(user, call.name, {**call.generate(rng), **p} if name == "scope" else
                  {**call.generate(rng), "consumer": "one"})
             for user, call in ((u, calls.CALLS[rng.choice(names)]) for u in users)]
    return [using[0], Step(users[0], define.name, p), *using[1:3], Step(rng.choice((users[0], admin)), drop.name, p),
            using[3]]


def unheard(rng, admin):
    """A definition comes between two calls of a transaction."""
    user = rng.randrange(admin)
    define, drop, p, using = rng.choice((
        ("scope_define", "scope_drop", {"scope": "z"}, Step(user, "lookup", {"key": "u1", "scope": "z"})),
        ("consumer_define", "consumer_drop", {"consumer": "one", "ttl": None, "late": "reject"},
         Step(user, "seen", {"consumer": "one", "message": "m1"}))))
    return [Step(user, "begin", {"isolation": rng.choice(ISOLATIONS)}), using, Step(admin, define, p), using,
            Step(user, "commit"), Step(admin, drop, p)]


def dropped(rng, admin):
    """A definition is taken back, while another changes it."""
    p = {"consumer": "one", "late": "reject", "ttl": None}
    return [Step(0, "consumer_define", p), Step(rng.randrange(admin), "begin", {"isolation": "read committed"}),
            *[Step(user, "consumer_drop", p) for user in range(admin)], Step(admin, "consumer_define", {**p, "ttl": "7 days"}),
            *[Step(user, "commit") for user in range(admin)]]


def crossing_messages(rng, admin):
    """A batch waits for the first by order, and has none of the others."""
    one, batch, other = rng.sample(range(admin + 1), 3)
    p = {"consumer": "one", "old": None}
    return [Step(one, "begin", {"isolation": "read committed"}), Step(one, "consume", {**p, "message": "m1"}),
            Step(batch, "consume_batch", {**p, "messages": ["m4", "m3", "m1"]}),
            Step(other, "consume", {**p, "message": "m4"}), Step(one, "commit")]


def crossing_rows(rng, admin):
    """Likewise, of rows."""
    one, batch, other = rng.sample(range(admin + 1), 3)
    p = {"table": "job", "n": 2, "key": None}
    return [Step(one, "begin", {"isolation": "read committed"}), Step(one, "write", {**p, "id": 1}),
            Step(batch, "transition_batch", {**p, "ids": [2, 1], "to": rng.choice("bxy")}),
            Step(other, "write", {**p, "id": 2}), Step(one, "commit")]


def lost(rng, admin):
    """The acknowledgement of a transaction is lost, or its request, and it is retried."""
    user, name = rng.randrange(admin), rng.choice(LOSE)
    calls_ = [calls.CALLS[rng.choice(("claim", "upsert", "execute", "transition", "update", "consume"))]
              for _ in range(rng.randint(1, 2))]
    again = [Step(user, c.name, c.generate(rng)) for c in calls_]
    if rng.random() < 0.7:
        end = rng.choice(("commit", "commit", "prepare"))
        again = [Step(user, "begin", {"isolation": rng.choice(ISOLATIONS)}), *again]
        return [Step(user, "lose", {"name": name}), *again, Step(user, end, {"gid": "lost"}), *again,
                Step(user, "commit")]
    return [Step(user, "lose", {"name": name}), *again, *again]


def undone_first(rng, admin):
    """An undo comes, once or again, and its action after that: at once, or when the time of
    one of their keys is over."""
    saga, one, other = f"s{rng.randint(1, 2)}", rng.randrange(admin), rng.randrange(admin)

    def barrier(user, undo):
        return [Step(user, "begin", {"isolation": rng.choice(ISOLATIONS)}),
                Step(user, "barrier", {"saga": saga, "undo": undo}), Step(user, "commit")]
    over = [Step(admin, "expire_barrier", {"saga": saga, "what": rng.choice(("do", "do", "undo"))})] if rng.random() < 0.7 else []
    return [*barrier(one, True), *over, *barrier(other if rng.random() < 0.3 else one, False), *barrier(one, True)]


def went_back(rng, admin):
    """A saga goes its way, and perhaps back."""
    p, users = {"saga": f"s{rng.randint(1, 2)}"}, [rng.randrange(admin)] * 3 + [rng.randrange(admin)]

    def step(call, **more):
        return Step(rng.choice(users), call, {**p, **more})

    def report(what, number, which):
        return [step("saga_claim"), step(what, step=number, what=which, fence=1)]
    end = rng.choice(([], [step("saga_cancel")], report("saga_fail", 2, "do"), report("saga_done", 2, "do"),
                      [step("saga_claim"), step("saga_cancel"), step("saga_done", step=2, what="do", fence=1)]))
    back = report("saga_done", 2, "undo") if len(end) == 3 else []
    return [step("saga_start", other=False), *report("saga_done", 1, "do"), *end, *back,
            *report(rng.choice(("saga_done", "saga_done", "saga_fail")), 1, "undo")]


# What chance would seldom bring about, with all else that happens in between.
MOTIFS = (used_again, taken_over, defined, unheard, dropped, crossing_messages, crossing_rows, lost, undone_first, went_back)


def weave(rng, steps, motif):
    """Puts the steps of a motif, in their order, among the others."""
    places = sorted(rng.randrange(len(steps) + 1) for _ in motif)
    for place, step in reversed(list(zip(places, motif))):
        steps.insert(place, step)


def generate(seed, crashes=True):
    """The schedule of a seed, made without a look at the server."""
    rng = random.Random(seed)
    admin = rng.randint(2, 4)
    users = ["alice", "bob" if admin > 2 else "alice", *(["alice"] * (admin - 2)), "postgres"]
    if rng.random() < 0.25:
        users[rng.randrange(admin)] = "carol"
    names = list(calls.CALLS)
    # a few kinds at a time, which meet more often: most of one topic, or any
    kinds = set(rng.sample(names, rng.randint(4, 12)))
    if rng.random() < 0.6:
        topic = rng.choice(calls.MODULES)
        kinds = {c.name for c in topic.CALLS} | set(rng.sample(names, rng.randint(0, 3)))
    if rng.random() < 0.6:
        kinds |= {c.name for c in calls.purging.CALLS}
    if kinds & {c.name for c in calls.claims.CALLS}:
        kinds |= {"claim"}              # or else there is nothing to complete
    chosen = {w: [calls.CALLS[n] for n in names if n in kinds and calls.CALLS[n].where in w]
              for w in (("any",), ("any", "super"))}
    calm = rng.random() < 0.6           # neither upkeep nor crashes nor lost connections
    if calm:
        chosen = {w: [c for c in cs if c is not Upkeep] for w, cs in chosen.items()}
    under_keys = rng.random() < 0.3
    losing = rng.random() < 0.4         # acknowledgements and requests
    isolation = rng.choices([(1, 0, 0), (4, 1, 1), (1, 2, 0), (1, 0, 2)], [4, 3, 1, 1])[0]
    blocks = rng.choice((0.1, 0.3, 0.5))
    steps, inside, prepared = [], [False] * len(users), []
    points = [[] for _ in users]        # savepoints that a block may have
    for number in range(rng.randint(20, 70)):
        s = rng.randrange(len(users))
        menu = chosen[("any", "super") if s == admin else ("any",)]
        dice = rng.random()
        if dice < 0.02 and prepared:
            gid = prepared.pop(rng.randrange(len(prepared)))
            steps.append(Step(s, rng.choice(("commit_prepared", "rollback_prepared")), {"gid": gid}))
        elif dice < 0.035:
            steps.append(Step(s, "cancel"))
        elif dice < 0.045 and not calm:
            steps.append(Step(s, "terminate"))
            inside[s] = False
        elif dice < 0.047 and not calm and crashes:
            steps.append(Step(s, "crash"))
            inside = [False] * len(users)
        elif dice < 0.055:
            name = rng.choice(list(SETTINGS))
            steps.append(Step(s, "set", {"name": name, "value": rng.choice((SETTINGS[name][0], "0"))}))
        elif dice < 0.075 and losing:
            steps.append(Step(s, "lose", {"name": rng.choice(LOSE)}))
        elif dice < 0.075 + blocks and not inside[s] and (s != admin or rng.random() < 0.5):
            level = rng.choices(ISOLATIONS, (1, 3, 0) if s == admin else isolation)[0]
            steps.append(Step(s, "begin", {"isolation": level}))
            # under a key that nobody has used, all goes on as without; so it can be sent to simple sessions alone
            if under_keys and s % 2 == 0 and rng.random() < 0.7:
                steps[-1].p["key"] = f"begun {number}"
            inside[s], points[s] = True, []
        elif inside[s] and dice > 0.72:
            back = 5 if points[s] else 0.2
            what = rng.choices(("commit", "rollback", "savepoint", "rollback_to", "release_savepoint", "prepare"),
                               (10, 3, 4, back, back / 4, 1))[0]
            p = {}
            if "savepoint" in what or what == "rollback_to":
                p["name"] = rng.choice(("one", "two") if what == "savepoint" or not points[s] else points[s])
            if what == "savepoint":
                points[s].append(p["name"])
            if what == "prepare":
                p["gid"] = f"g{number}"
                prepared.append(p["gid"])
            steps.append(Step(s, what, p))
            inside[s] = what not in ("commit", "rollback", "prepare")
        elif menu:
            call = rng.choices(menu, [c.weight for c in menu])[0]
            steps.append(Step(s, call.name, call.generate(rng)))
    if rng.random() < 0.5:
        weave(rng, steps, rng.choice(MOTIFS)(rng, admin))
    return users, steps


class Session:
    def __init__(self, number, user, connection):
        self.number, self.user, self.connection = number, user, connection
        self.name = f"s{number}"
        self.transaction = None
        self.sent = {}                  # what was there when its last statement was sent
        self.waited = set()             # for which items that has waited
        self.overtakes = False          # may it have come before others that wait for the same lock?
        self.forget()

    def forget(self):
        self.transaction = None
        self.pending = None             # the step whose answer has not come
        self.limits = {}                # errors that settings may cause
        self.cancelled = False
        self.lose = None                # by which setting its next commit is lost
        self.lost = None                # the step whose acknowledgement or request was lost

    def keep(self):
        return self.transaction, self.pending, dict(self.limits), self.cancelled, self.lose, self.lost

    def restore(self, kept, copies):
        transaction, self.pending, self.limits, self.cancelled, self.lose, self.lost = kept
        self.transaction = copies.get(transaction, transaction)


class Run:
    """One run of a schedule."""

    def __init__(self, server, users, log=None):
        self.server, self.log = server, log
        self.sessions = [Session(n, user, None) for n, user in enumerate(users)]
        self.store = model.Store(calls.items())
        self.calls = 0
        self.waits = 0
        self.keyless = False            # may those that wait for something else have no key's lock?
        self.answers = Counter()        # of each kind of step, by SQLSTATE

    def say(self, text):
        if self.log:
            self.log(text)

    def run(self, steps, pool):
        self.server.reset()
        for session in self.sessions:
            session.connection = pool.get(session.number, session.user)
        self.server.rows("RESET lock_timeout")
        for step in steps:
            self.step(step)
        self.finish()
        self.compare()

    # Steps

    def step(self, step):
        session = self.sessions[step.session]
        if step.what == "cancel":
            if session.pending is None:
                return
            self.say(f"s{session.number} is cancelled")
            session.cancelled = True
            self.server.rows(f"SELECT pg_cancel_backend({session.connection.pid})")
        elif step.what == "terminate":
            self.say(f"s{session.number} is terminated")
            self.server.rows(f"SELECT pg_terminate_backend({session.connection.pid}, 10000)")
            self.lose(session)
        elif step.what == "crash":
            self.say("the server crashes")
            self.server.crash()
            for each in self.sessions:
                self.lose(each)
        elif step.what in ("commit_prepared", "rollback_prepared"):
            self.end_prepared(step)
        else:
            if session.pending is not None or not self.applies(session, step):
                return
            self.send(session, step)
        self.settle()
        self.retry()

    def retry(self):
        """Those whose connection was lost connect again, and send a call that stood alone again."""
        for session in self.sessions:
            step, session.lost = session.lost, None
            if step is None:
                continue
            self.outlive(session)
            if step.what in calls.CALLS and session.transaction is None and self.applies(session, step):
                self.say(f"{session.name} retries")
                self.send(session, step)
                self.settle()

    def outlive(self, session):
        """The backend of a lost connection ends by itself, and then there is a new one."""
        until = time.monotonic() + PATIENCE
        while self.server.ask(f"SELECT 1 FROM pg_stat_activity WHERE pid = {session.connection.last_pid}"):
            if time.monotonic() > until:
                raise Violation(f"the session that {session.name} had has not ended")
        self.server.open(session.connection)

    def applies(self, session, step):
        if step.what == "begin":
            return session.transaction is None
        if step.what in ("commit", "rollback", "savepoint", "rollback_to", "release_savepoint", "prepare"):
            return session.transaction is not None
        if step.what in ("set", "lose", "upkeep"):
            return session.transaction is None
        if calls.CALLS[step.what].where == "super":
            return session.user == "postgres"
        return True

    def send(self, session, step):
        sql = step.text()
        if step.what in calls.CALLS:
            self.calls += 1
            transaction = session.transaction
            if transaction is None:
                transaction = session.transaction = model.Transaction(session.name, session.user)
                self.store.begin(transaction)
            if transaction.isolation != ISOLATIONS[0] and transaction.snapshot is None and not transaction.failed:
                transaction.snapshot = self.store.seq
            session.sent = {item: value for item, value in self.store.committed().items()
                            if item[0] in ("scope", "consumer", "message") or (isinstance(value, dict) and "_life" in value)}
        session.pending, session.waited, session.overtakes = step, set(), False
        session.connection.send(sql)

    def lose(self, session):
        """The connection is gone, and with it what was not committed."""
        if session.transaction is not None:
            self.store.abort(session.transaction)
        session.forget()
        self.server.open(session.connection)

    def end_prepared(self, step):
        gid = step.p["gid"]
        transaction = next((t for t in self.store.open if t.gid == gid), None)
        if transaction is None:
            return
        commit = step.what == "commit_prepared"
        self.say(f"{'COMMIT' if commit else 'ROLLBACK'} PREPARED '{gid}'")
        self.server.rows(f"{'COMMIT' if commit else 'ROLLBACK'} PREPARED '{gid}'")
        (self.store.commit if commit else self.store.abort)(transaction)

    def settle(self):
        """Waits until every statement has answered or is seen to wait for another
        session, and compares the answers with the model."""
        until = time.monotonic() + PATIENCE
        since = None
        answers = []
        blockers = {}
        while True:
            answered = False
            for session in self.sessions:
                if session.pending is None or any(s is session for s, _ in answers):
                    continue
                answer = session.connection.poll()
                if answer is not None:
                    answers.append((session, answer))
                    answered = True
            busy = [s for s in self.sessions if s.pending is not None and not any(a is s for a, _ in answers)]
            if not busy:
                break
            if answered:
                continue
            pq.wait([s.connection for s in busy], 0.0015)
            if any(s.connection.conn and self.readable(s) for s in busy):
                continue
            if time.monotonic() > until:
                raise Violation("no answer, and nothing to wait for: " +
                                "; ".join(f"{s.name} {s.pending.text()}" for s in busy))
            blockers = self.blockers(busy)
            if not all(blockers[s.connection.pid] for s in busy):
                continue
            # a wait that will end by itself; not that for a row under idem.wait_timeout
            if any(s.cancelled or set(s.limits) - {"idem.wait_timeout"} for s in busy):
                continue
            if any(s.limits for s in busy) or self.is_cycle(blockers):
                since = since or time.monotonic()
                if time.monotonic() < since + 10 * DEADLOCK:
                    continue
            if any(self.readable(s) for s in busy):
                continue
            break
        self.judge(answers)
        self.check_waits(blockers)

    @staticmethod
    def readable(session):
        return bool(select.select([session.connection], [], [], 0)[0])

    def blockers(self, sessions):
        """Whom these sessions wait for, by process, as far as they are the storm's."""
        known = {s.connection.pid for s in self.sessions} | {0}
        pids = ",".join(str(s.connection.pid) for s in sessions)
        found = {}
        for pid, list_ in self.server.rows(
                f"SELECT pid, array_to_string(pg_blocking_pids(pid), ' ') FROM unnest('{{{pids}}}'::int[]) AS pid"):
            by = {int(b) for b in (list_ or "").split()}
            found[int(pid)] = by if by <= known else set()
        return found

    @staticmethod
    def is_cycle(blockers):
        def reaches(pid, target, seen):
            return any(b == target or (b not in seen and reaches(b, target, seen | {b}))
                       for b in blockers.get(pid, ()))
        return any(reaches(pid, pid, {pid}) for pid in blockers)

    # Judgement

    def judge(self, answers):
        """Finds an order in which the answers are right; most often there is but one.

        Which order it was cannot be seen where one step lets several sessions go on.
        Where several would do, what is in the tables then tells."""
        # the server's search for deadlocks may put a lock's queue in another order
        if any(answer.state == "40P01" for _, answer in answers):
            for session in self.sessions:
                session.overtakes = session.pending is not None
        self.failing = []
        if len(answers) == 1:
            self.note(answers)
            self.judge_one(*answers[0])
            return
        self.failing = [(session, set(self.touched(session)[0])) for session, answer in answers
                        if not answer.ok and session.pending.what in calls.CALLS]
        endings, failure = {}, None
        for order in itertools.permutations(answers):
            kept = self.keep()
            try:
                for session, answer in order:
                    self.judge_one(session, answer)
                endings.setdefault(self.committed(), (order, self.now()))
            except Violation as violation:
                failure = failure or violation
            self.restore(kept)
        order, ending = answers, None
        if len(endings) > 1:
            order, ending = self.told_by_tables(endings.values())
        elif endings:
            order, ending = next(iter(endings.values()))
        self.note(order)
        if ending is not None:
            self.restore(ending)
        elif failure is not None:
            raise failure

    def note(self, answers):
        for session, answer in answers:
            self.say(f"{session.pending} -> {answer}")
            self.answers[session.pending.what, answer.state] += 1

    def told_by_tables(self, endings):
        from tables import there
        self.server.rows("SET statement_timeout = '2s'")
        try:
            for order, ending in endings:
                # a key that others are at is looked up as such
                if all(expected == found for name, expected, found in there(self.server, ending[0].committed())
                       if name != "idem_lookup()"):
                    return order, ending
        except RuntimeError:
            # upkeep is in the way
            raise Disturbed from None
        finally:
            self.server.rows("RESET statement_timeout")
        raise Violation("several orders are right by the answers, and none by what is in the tables: "
                        + "; ".join(str(session.pending) for session, _ in order))

    def committed(self):
        """What is committed, as a text."""
        return repr(sorted((item, public(value) if isinstance(value, dict) else value)
                           for item, value in self.store.committed().items()))

    def now(self):
        return self.store, {}, [(s, s.keep()) for s in self.sessions]

    def keep(self):
        store, copies = self.store.copy()
        return store, copies, self.now()[2]

    def restore(self, kept):
        store, copies, sessions = kept
        self.store = store
        for session, saved in sessions:
            session.restore(saved, copies)

    def judge_one(self, session, answer):
        step = session.pending
        wait_over = session.cancelled
        try:
            if step.what in calls.CALLS:
                self.judge_either_way(session, step, answer)
            else:
                self.judge_statement(session, step, answer)
        except Violation as violation:
            raise Violation(f"{step}\n  answered  {answer}\n  but {violation}") from None
        session.pending = None
        if wait_over:
            session.cancelled = False

    def interrupted(self, session, answer):
        """Is it an error that may come at any time, and whose statement has done nothing?"""
        transaction = session.transaction
        if answer.state == "57014" and (session.cancelled or "57014" in session.limits.values()):
            return True
        if answer.state == "55P03" and "55P03" in session.limits.values():
            return True
        if answer.state == "40001" and transaction and transaction.isolation == "serializable":
            return True
        return answer.state == "40P01" and self.may_deadlock(session)

    def may_deadlock(self, session):
        """Calls that stand alone take their locks in one order.  So in every deadlock
        there is a transaction of several, or upkeep, which locks whole tables."""
        waiting = [s for s in self.sessions if s.pending is not None]
        return any(s.pending.what == "upkeep" or (s.transaction is not None and s.transaction.calls > 0)
                   for s in waiting)

    def met_failing(self, session):
        """May it have met what another role's call had written, which failed in the same step?"""
        return any(other.user != session.user and items & set(self.touched(session)[0])
                   for other, items in self.failing)

    def view(self, session):
        return model.View(self.store, session.transaction, session.user,
                          lambda item: self.key_in_use(item, session), session.sent, session.waited)

    def key_in_use(self, item, asker):
        """Does a call that waits for something else have the lock of this key?"""
        if asker.waited or asker.overtakes:
            return False                # who asks does not wait for keys: it had the lock itself
        if self.keyless:
            return False                # see judge_either_way
        for session in self.sessions:
            if session is asker or session.pending is None or session.pending.what not in calls.CALLS:
                continue
            touched, waits_for = self.touched(session)
            if item in touched and waits_for != item:
                return True
        return False

    def touched(self, session):
        """The items that a statement under way has locked, and the one it waits for."""
        view = self.view(session)
        # it waits, so nobody had its key
        view.keys_in_use = lambda item: False
        try:
            calls.CALLS[session.pending.what].expect(view, session.pending.p)
        except model.Busy as busy:
            return view.touched, busy.item
        except model.Refused:
            pass
        return view.touched, None

    def meets_left(self, session):
        """May a call wait for a subtransaction that has ended within another, to the end of the whole?"""
        return session.pending.what in calls.CALLS and any(
            set(self.touched(session)[0]) & t.left for t in self.store.open if t is not session.transaction)

    def judge_either_way(self, session, step, answer):
        """A call that waits for a table, since upkeep does, may not have its key's lock yet:
        the first of a session in a store opens all tables of that, and then locks its key.
        Nor has one that waits for what was rolled back the locks of what comes after it."""
        try:
            self.judge_call(session, step, answer)
        except Violation:
            if not any(s.pending.what == "upkeep" or (s is not session and self.meets_left(s))
                       for s in self.sessions if s.pending is not None):
                raise
            self.keyless = True
            try:
                self.judge_call(session, step, answer)
            finally:
                self.keyless = False

    def judge_call(self, session, step, answer):
        call, transaction = calls.CALLS[step.what], session.transaction
        transaction.tried = True
        if transaction.failed:
            if answer.state != "25P02":
                raise Violation("its transaction had failed")
            return
        if self.interrupted(session, answer) or (answer.state == "42501" and self.met_failing(session)):
            self.undo(session)
            return
        view = self.view(session)
        try:
            expected = call.expect(view, step.p)
        except model.Refused as refused:
            if answer.ok and refused.rows is not None and call.read(answer.rows) == refused.rows:
                if not transaction.block:
                    self.undo(session)
                return
            if answer.state not in refused.states:
                raise Violation(f"the model refuses it: {refused}") from None
            self.undo(session)
            return
        except model.Busy as busy:
            if answer.state not in busy.states:
                raise Violation(f"{busy}") from None
            self.undo(session)
            return
        if not answer.ok:
            if answer.state in view.may_fail:
                self.undo(session)
                return
            if answer.state == pq.LOST and self.may_be_lost(session, call, view):
                view.accept()
                self.end_lost(session)
                return
            raise Violation(f"the model has {expected}")
        if session.lose and not transaction.block and view.effect.writes:
            raise Violation(f"{session.lose} has lost nothing")
        if call.columns and call.read(answer.rows) != expected:
            raise Violation(f"the model has {expected}")
        view.accept()
        transaction.calls += 1
        if not transaction.block:
            self.store.commit(transaction)
            session.transaction = None

    @staticmethod
    def may_be_lost(session, call, view):
        """Only what may have written, and is not a replay."""
        return session.lose and not session.transaction.block and not call.reads and not view.replayed

    def end_lost(self, session):
        """What came of a transaction whose acknowledgement was lost, or whose request to commit."""
        step, transaction = session.pending, session.transaction
        if session.lose == "idem.lose_request":
            self.store.abort(transaction)
        elif step.what == "prepare":
            transaction.gid, transaction.name = step.p["gid"], f"prepared {step.p['gid']}"
        else:
            self.store.commit(transaction)
        session.forget()
        session.lost = step

    def undo(self, session):
        if session.transaction.block:
            session.transaction.fail()
        else:
            self.store.abort(session.transaction)
            session.transaction = None

    def judge_statement(self, session, step, answer):
        transaction = session.transaction
        what = step.what
        if answer.state == "57014" and "57014" in session.limits.values():
            raise Disturbed
        if what == "set":
            if not answer.ok:
                raise Violation("it must succeed")
            session.limits.pop(step.p["name"], None)
            if step.p["value"] != "0":
                session.limits[step.p["name"]] = SETTINGS[step.p["name"]][1]
            return
        if what == "lose":
            if not answer.ok:
                raise Violation("it must succeed")
            if session.lose != "idem.lose_request":     # which comes first
                session.lose = step.p["name"]
            return
        if what == "begin":
            # upkeep may be in the way of idem_begin(), so that it is interrupted in the block
            interrupted = "key" in step.p and self.interrupted(session, answer)
            if not interrupted and (not answer.ok or ("key" in step.p and answer.rows != [("f",)])):
                raise Violation("it must succeed")
            session.transaction = model.Transaction(session.name, session.user, step.p["isolation"], block=True)
            self.store.begin(session.transaction)
            if interrupted:
                session.transaction.fail()
                return
            session.transaction.key = step.p.get("key")
            if "key" in step.p and step.p["isolation"] != ISOLATIONS[0]:
                session.transaction.snapshot = self.store.seq
            return
        if what in ("commit", "prepare"):
            # PREPARE TRANSACTION gives an xid to one that has done nothing, too
            if answer.state == pq.LOST and session.lose and not transaction.failed and (
                    transaction.tried or what == "prepare"):
                self.end_lost(session)
                return
            if answer.ok and not transaction.failed and session.lose and any(
                    level.writes for level in transaction.levels):
                raise Violation(f"{session.lose} has lost nothing")
            if answer.ok and transaction.failed:
                if answer.tag != "ROLLBACK":
                    raise Violation("its transaction had failed")
                self.store.abort(transaction)
            elif answer.ok and what == "commit":
                if answer.tag != "COMMIT":
                    raise Violation("nothing had failed")
                self.store.commit(transaction)
            elif answer.ok:
                transaction.gid, transaction.name = step.p["gid"], f"prepared {step.p['gid']}"
            elif answer.state == "40001" and transaction.isolation == "serializable":
                self.store.abort(transaction)
            elif transaction.key is not None and self.interrupted(session, answer):
                # it writes the key first
                self.store.abort(transaction)
            else:
                raise Violation("it must succeed")
            session.transaction = None
            return
        if what == "rollback":
            if not answer.ok:
                raise Violation("it must succeed")
            self.store.abort(transaction)
            session.transaction = None
            return
        self.judge_savepoint(transaction, step, answer)

    @staticmethod
    def judge_savepoint(transaction, step, answer):
        expected = "00000"
        depth = transaction.depth(step.p["name"])
        if transaction.failed and step.what != "rollback_to":
            expected = "25P02"
        elif step.what != "savepoint" and depth is None:
            expected = "3B001"
        if answer.state != expected:
            raise Violation(f"{expected} was expected")
        if expected != "00000":
            if expected == "3B001":
                transaction.fail()
            return
        if step.what == "savepoint":
            transaction.levels.append(model.Level(step.p["name"]))
        elif step.what == "rollback_to":
            for level in transaction.levels[depth:]:
                transaction.left |= level.nested
            del transaction.levels[depth:]
            transaction.levels.append(model.Level(step.p["name"]))
            transaction.failed = False
        else:
            above = transaction.levels[depth:]
            del transaction.levels[depth:]
            for level in above:
                level.nest()
                transaction.levels[-1].absorb(level)

    def check_waits(self, blockers):
        """Nobody waits without a reason that the model knows."""
        waiting = [s for s in self.sessions if s.pending is not None]
        self.waits += len(waiting)
        if not waiting or any(s.pending.what == "upkeep" for s in waiting):
            return
        items = {s: self.touched(s) for s in waiting if s.pending.what in calls.CALLS}
        for session in waiting:
            if session not in items:
                raise Violation(f"{session.pending} waits")
            touched, waits_for = items[session]
            if waits_for is not None:
                session.waited.add(waits_for)
                continue
            # one that has waited for an old version goes on to the newer ones, whatever its snapshot
            if touched and self.view(session).holders(touched[-1]):
                continue
            if self.meets_left(session):
                continue
            if not any(set(touched) & set(items[s][0]) for s in items if s is not session):
                raise Violation(f"{session.pending}\n  waits, although nobody is at {touched}")

    # The end

    def finish(self):
        """Lets all come to their end."""
        until = time.monotonic() + PATIENCE
        while True:
            for transaction in [t for t in self.store.open if t.gid]:
                self.end_prepared(Step(0, "commit_prepared", {"gid": transaction.gid}))
            self.settle()
            self.retry()
            for session in self.sessions:
                if session.pending is None and session.transaction is not None:
                    self.send(session, Step(session.number, "commit"))
                    self.settle()
                    self.retry()
            if all(s.pending is None and s.transaction is None for s in self.sessions):
                break
            if time.monotonic() > until:
                raise Violation("sessions wait, although no transaction is open: "
                                + "; ".join(str(s.pending) for s in self.sessions if s.pending))

    def compare(self):
        """What is in the tables is what the model has."""
        from tables import there
        state = self.store.committed()
        for name, expected, found in there(self.server, state):
            if expected != found:
                only = [f"+ {k}: {v}" for k, v in found.items() if expected.get(k) != v]
                gone = [f"- {k}: {v}" for k, v in expected.items() if found.get(k) != v]
                raise Violation(f"at the end, {name} is not as the model has it (-):\n  " + "\n  ".join(gone + only))


class Pool:
    """Connections that are used again, as those of a program would be."""

    def __init__(self, server):
        self.server, self.connections = server, {}

    def get(self, number, user):
        connection = self.connections.get((number, user))
        if connection is None:
            connection = self.server.session(user, simple=number % 2 == 0)
            self.connections[number, user] = connection
        elif connection.conn is None or connection.busy:
            self.server.open(connection)
        else:
            connection.ask("ROLLBACK")
            if not connection.ask("RESET ALL").ok:
                self.server.open(connection)
        return connection

    def clear(self):
        for connection in self.connections.values():
            connection.close()
        self.connections = {}
