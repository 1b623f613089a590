"""Free-running schedules: all sessions go on at once, while they are hurt; then what each
of them was told is compared with what is there.

A round's requests are given by its seed; when they meet is not, so one that failed is run
again some times, and what it does not take to fail is left out.
"""

import random
import time

import free_keyed
import layout
import pq
from calls.upkeep import TABLES, Upkeep
from free_calls import CALLS, MAKE_READY, hold, possible, purge
from ledger import Ledger
from pq import LOST
from server import USERS

PATIENCE = 30                   # seconds within which each statement must be over
HURTS = ("upkeep", "purge", "terminate", "cancel", "lose", "timeouts", "crash", "blocks", "levels", "keyed")
ALWAYS = ("57014", "55P03")


# With those of sagas, which stepped schedules have not.
FREE_TABLES = {**TABLES, "idem_saga": ("idem_saga_pkey", "idem_saga_expires_at_idx"),
               "idem_saga_step": ("idem_saga_step_pkey", "idem_saga_step_due_idx")}


class Lost(Exception):
    pass


class Fault(Exception):
    pass


def plan(seed):
    """What a round is made of."""
    rng = random.Random(seed)
    names = list(possible())
    kinds = sorted(rng.sample(names, rng.randint(3, len(names))))
    if rng.random() < 0.5:
        kinds = sorted(rng.sample(names, 3))
    hurts = [h for h in HURTS if rng.random() < {"crash": 0.12, "blocks": 0.6, "levels": 0.5}.get(h, 0.4)]
    if rng.random() < 0.2:
        kinds, hurts = sorted({kinds[0], "ready"}), sorted({*hurts, "stir"} - {"crash", "terminate"})
    return {"seed": seed, "sessions": rng.randint(3, 8), "kinds": kinds, "hurts": hurts, "seconds": 1.5}


class Client:
    """A session that goes on by itself, as a generator of statements."""

    def __init__(self, storm, number, connection):
        self.storm, self.number, self.connection = storm, number, connection
        self.rng = random.Random(f"{storm.plan['seed']} {number}")
        self.made, self.blocks, self.holds = 0, 0, []
        self.since, self.isolation = 0, "read committed"
        self.life = self.live()
        self.request = None
        self.again = None               # a request whose answer was lost
        self.keyed = None               # a transaction under a key that is to be sent, again perhaps

    @property
    def hurts(self):
        return self.storm.plan["hurts"]

    def live(self):
        while True:
            try:
                yield from self.settings()
                while True:
                    # the next one is asked for only as long as there is time
                    if self.storm.over:
                        return
                    if self.keyed or ("keyed" in self.hurts and self.rng.random() < 0.3):
                        yield from self.whole()
                    elif "blocks" in self.hurts and self.rng.random() < 0.35:
                        yield from self.block()
                    else:
                        yield from self.single()
            except Lost:
                self.holds = []
                self.storm.server.open(self.connection)

    def ask(self, sql):
        answer = yield sql
        if answer.state == LOST:
            raise Lost
        return answer

    def command(self, sql):
        """Whether a command has succeeded that only a time limit or a cancel can end."""
        answer = yield from self.ask(sql)
        if not answer.ok and answer.state not in ALWAYS:
            raise Fault(f"session {self.number}: {sql} answered {answer}")
        return answer.ok

    def rollback(self):
        while not (yield from self.command("ROLLBACK")):
            pass

    def settings(self):
        level = "read committed"
        if "levels" in self.hurts:
            level = self.rng.choice(("read committed", "repeatable read", "serializable"))
        self.default = self.isolation = "read committed"
        if (yield from self.command(f"SET default_transaction_isolation = '{level}'")):
            self.default = self.isolation = level
        if "timeouts" in self.hurts:
            name = self.rng.choice(("lock_timeout", "statement_timeout", "idem.wait_timeout"))
            yield from self.command(f"SET {name} = '{self.rng.choice((2, 10, 50))}ms'")
        if "lose" in self.hurts:
            name = self.rng.choice(("idem.lose_ack", "idem.lose_request"))
            yield from self.command(f"SET {name} = {self.rng.choice((0.02, 0.1, 0.5))}")

    def next_request(self, alone):
        self.made += 1
        if self.holds and self.rng.random() < 0.6:
            key, fence = self.holds[self.rng.randrange(len(self.holds))]
            if self.rng.random() < 0.3:
                self.holds.remove((key, fence))
            return hold(self.rng, key, fence)
        while True:
            request = CALLS[self.rng.choice(self.storm.plan["kinds"])](self.rng, self.made // 40, self.number)
            if request.alone or not alone or self.storm.plan["kinds"] == ["claim_transaction"]:
                return request

    def check(self, request, answer):
        """Is this an answer that may be?"""
        state = answer.state
        if answer.ok or state in request.errors or state in ALWAYS:
            return
        if state == "40001" and self.isolation != "read committed":
            return
        # what stands alone takes its locks in one order, but upkeep does not
        if state == "40P01" and {"blocks", "keyed", "upkeep", "stir"} & set(self.hurts):
            return
        raise Fault(f"session {self.number}, {self.isolation}: {request.sql}\n  answered {answer}")

    def facts_of(self, request, answer):
        try:
            return request.facts(answer.rows)
        except (IndexError, ValueError, TypeError, KeyError) as error:
            raise Fault(f"session {self.number}: {request.sql}\n  answered {answer} ({error!r})") from None

    def note_held(self, request, answer):
        held = request.held and request.held(answer.rows)
        if held:
            self.holds = self.holds[-3:] + [held]

    def single(self):
        request, self.again = self.again or self.next_request(True), None
        self.isolation = self.default
        answer = yield request.sql
        if answer.state == LOST:
            self.storm.ledger.add_maybe(request.possible)
            self.again = request if request.same else None
            raise Lost
        self.check(request, answer)
        if answer.ok:
            self.storm.ledger.add(self.facts_of(request, answer))
            self.note_held(request, answer)

    def whole(self):
        """A transaction under a key, which is sent again when it was lost, and at times on purpose."""
        self.made += 1
        self.keyed = self.keyed or free_keyed.next_program(self)
        end = yield from free_keyed.send(self, self.keyed)
        if end == LOST:
            raise Lost
        if end is None or self.rng.random() < 0.6:
            self.keyed = None

    def block(self):
        """A transaction of several calls."""
        rng, levels = self.rng, [[]]
        self.isolation = rng.choice(("read committed", "repeatable read", "serializable")) \
            if "levels" in self.hurts else "read committed"
        self.blocks += 1
        if not (yield from self.command(f"BEGIN ISOLATION LEVEL {self.isolation}")):
            # a time limit may end it when the block has begun
            yield from self.rollback()
            return
        for _ in range(rng.randint(1, 4)):
            savepoint = None
            if rng.random() < 0.25:
                levels.append([])
                savepoint = f"SAVEPOINT s{len(levels) - 1}"
            elif len(levels) > 1 and rng.random() < 0.2:
                levels[-1] = []
                savepoint = f"ROLLBACK TO s{len(levels) - 1}"
            if savepoint and not (yield from self.command(savepoint)):
                yield from self.rollback()
                return
            request = self.next_request(False)
            answer = yield from self.ask(request.sql)
            self.check(request, answer)
            if answer.ok:
                levels[-1] += self.facts_of(request, answer)
                self.note_held(request, answer)
            elif len(levels) > 1 and (yield from self.command(f"ROLLBACK TO s{len(levels) - 1}")):
                levels[-1] = []
            else:
                yield from self.rollback()
                return
        facts = [fact for level in levels for fact in level]
        end = rng.random()
        if end < 0.2:
            yield from self.rollback()
        elif end < 0.3:
            yield from self.prepare(facts)
        else:
            answer = yield "COMMIT"
            if answer.state == LOST:
                self.storm.ledger.add_maybe(facts)
                raise Lost
            yield from self.ended(answer, facts)

    def ended(self, answer, facts):
        """What a COMMIT or PREPARE TRANSACTION has answered."""
        if answer.ok and answer.tag == "COMMIT":
            self.storm.ledger.add(facts)
            return
        yield from self.rollback()
        # the key of a transaction that is elsewhere is met when it is written, at the end
        late = self.isolation == "serializable" or (layout.routed() and self.isolation != "read committed")
        if answer.state not in ALWAYS and not (answer.state == "40001" and late):
            raise Fault(f"session {self.number}: its end answered {answer}")

    def prepare(self, facts):
        """Whether it was is seen later, should the connection be lost."""
        gid = f"{self.number} {self.blocks}"
        self.storm.prepared[gid] = [facts, False, time.monotonic()]
        answer = yield f"PREPARE TRANSACTION '{gid}'"
        if answer.state == LOST:
            raise Lost
        if not answer.ok:
            del self.storm.prepared[gid]
            yield from self.ended(answer, [])
            return
        self.storm.prepared[gid][1] = True
        answer = yield f"COMMIT PREPARED '{gid}'"
        if answer.state == LOST:
            raise Lost
        # where the answer took long, end_prepared() may have seen that it is over
        if answer.ok and gid in self.storm.prepared:
            self.storm.ledger.add(self.storm.prepared.pop(gid)[0])


class Round:
    def __init__(self, server, plan_):
        self.server, self.plan = server, plan_
        self.rng = random.Random(f"{plan_['seed']} hurts")
        self.ledger, self.prepared = Ledger(), {}
        self.over = False
        self.answers = 0

    def run(self):
        self.server.reset_free()
        if "ready" in self.plan["kinds"]:
            self.server.rows(MAKE_READY)
        clients = [Client(self, n, self.server.session(USERS[0], simple=n % 2 == 0))
                   for n in range(self.plan["sessions"])]
        keeper = self.server.session("postgres")
        try:
            self.go(clients, keeper)
            self.end_prepared(0)
            faults = list(self.ledger.faults(self.server))
            if faults:
                raise Fault("\n".join(faults[:5]))
        finally:
            for client in clients:
                client.connection.close()
            keeper.close()

    def go(self, clients, keeper):
        until = time.monotonic() + self.plan["seconds"]
        running = [c for c in clients if self.advance(c, None)]
        next_hurt = time.monotonic()
        crash_at = time.monotonic() + self.rng.uniform(0.3, 0.8) * self.plan["seconds"]
        keeping = False
        while running:
            now = time.monotonic()
            self.over = now >= until
            pq.wait([c.connection for c in running] + [keeper], 0.02)
            for client in list(running):
                answer = client.connection.poll()
                if answer is None:
                    if now > client.since + PATIENCE:
                        raise Fault(f"session {client.number} has no answer to {client.request}")
                elif not self.advance(client, answer):
                    running.remove(client)
            if keeping and (answer := keeper.poll()) is not None:
                keeping = False
                self.check_upkeep(answer)
                if answer.state == LOST:
                    self.server.open(keeper)
            if not keeping and not self.over:
                sql = self.keep()
                if sql:
                    keeper.send(layout.placed(sql))
                    keeping = True
            if now < next_hurt:
                continue
            next_hurt = now + 0.02
            self.end_prepared(0.3)
            if self.over:
                continue
            self.hurt(clients)
            if "crash" in self.plan["hurts"] and now > crash_at:
                crash_at = until
                self.server.crash()
        if keeping:
            end = time.monotonic() + PATIENCE
            while (answer := keeper.poll()) is None:
                if time.monotonic() > end:
                    raise Fault("upkeep has no answer")
                # it may wait for one whose session was lost at the very end
                self.end_prepared(0.3)
                pq.wait([keeper], 0.1)
            self.check_upkeep(answer)

    def advance(self, client, answer):
        """Lets a client go on until its next statement; False if it has come to its end."""
        self.answers += 1
        try:
            sql = next(client.life) if answer is None else client.life.send(answer)
        except StopIteration:
            return False
        client.request, client.since = sql, time.monotonic()
        client.connection.send(layout.placed(sql))
        return True

    def keep(self):
        """What the keeper does next."""
        if "purge" in self.plan["hurts"] and self.rng.random() < 0.4:
            return purge(self.rng, 0, 0).sql
        if "stir" in self.plan["hurts"]:
            # the rows of keys, or of sagas, in another order
            table = self.rng.choice(("idem_key", "idem_saga", "idem_saga_step"))
            return f"CLUSTER {table} USING {self.rng.choice(FREE_TABLES[table])}"
        if "upkeep" in self.plan["hurts"]:
            return Upkeep.generate(self.rng)["sql"]
        return None

    def check_upkeep(self, answer):
        if not answer.ok and answer.state not in (LOST, "40P01", "57014", "55P03"):
            raise Fault(f"upkeep answered {answer}")

    def hurt(self, clients):
        victim = self.rng.choice(clients)
        if "terminate" in self.plan["hurts"] and self.rng.random() < 0.1 and victim.connection.pid:
            self.server.rows(f"SELECT pg_terminate_backend({victim.connection.pid})")
        if "cancel" in self.plan["hurts"] and self.rng.random() < 0.3 and victim.connection.pid:
            self.server.rows(f"SELECT pg_cancel_backend({victim.connection.pid})")

    def end_prepared(self, age):
        """Ends what was prepared by a session that was lost."""
        old = [g for g, (_, _, since) in self.prepared.items() if time.monotonic() - since >= age]
        if not old:
            return
        there = {gid for (gid,) in self.server.rows("SELECT gid FROM pg_prepared_xacts")}
        for gid in old:
            facts, prepared, _ = self.prepared[gid]
            if gid in there:
                if self.server.control.ask(f"COMMIT PREPARED '{gid}'").ok:
                    self.ledger.add(facts)
                    del self.prepared[gid]
                # or else its session is at it
            elif prepared:
                # it was told so, and it is over: somebody has committed it
                self.ledger.add(facts)
                del self.prepared[gid]
            elif age == 0:
                del self.prepared[gid]


def attempt(server, plan_):
    round_ = Round(server, plan_)
    try:
        round_.run()
    except (Fault, RuntimeError) as fault:
        server.reach()
        server.rows("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                    " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")
        return round_, str(fault)
    return round_, None


def storm(server, options, say):
    began = time.monotonic()
    until = began + options.duration
    number = answers = 0
    while time.monotonic() < until and (options.schedules is None or number < options.schedules):
        seed = options.only or f"{options.seed}.{number}"
        plan_ = plan(seed)
        if not options.crashes:
            plan_["hurts"] = [h for h in plan_["hurts"] if h != "crash"]
        round_, fault = attempt(server, plan_)
        number, answers = number + 1, answers + round_.answers
        if fault is not None:
            say(f"VIOLATION after {time.monotonic() - began:.1f} s, in round {seed}\n{fault}\n{plan_}\n")
            if options.shrink:
                report(server, plan_, options, say)
            return False
    say(f"{number} rounds, {answers} answers: all as it must be")
    return True


def report(server, plan_, options, say):
    """Leaves out of a round what it does not take to fail."""
    until = time.monotonic() + options.shrink
    last = None

    def fails(smaller):
        for _ in range(4):
            if time.monotonic() > until:
                return None
            fault = attempt(server, smaller)[1]
            if fault is not None:
                return fault
        return None

    for part in ("hurts", "kinds"):
        for name in list(plan_[part]):
            smaller = {**plan_, part: [n for n in plan_[part] if n != name]}
            if smaller["kinds"]:
                fault = fails(smaller)
                if fault is not None:
                    plan_, last = smaller, fault
    while plan_["sessions"] > 2:
        fault = fails({**plan_, "sessions": plan_["sessions"] - 1})
        if fault is None:
            break
        plan_, last = {**plan_, "sessions": plan_["sessions"] - 1}, fault
    say(f"what it takes to fail: {plan_}")
    say(last or "(it did not fail again)")
    say(f"\nagain: make storm MODE=free{layout.again()} ONLY={plan_['seed']}")
