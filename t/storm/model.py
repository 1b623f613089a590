"""The sequential model: what is committed, what open transactions have written, and what
a statement that runs alone may see of both.

A call's model (calls/) is a plain function that reads and writes items through a View.
The View knows about transactions: an item that another open transaction has written is
Busy, one that was committed after the snapshot is a serialization failure, and what a
savepoint wrote goes with it.
"""

class Refused(Exception):
    """The statement must fail, with one of these SQLSTATEs, or, where rows are given,
    return these without an effect."""

    def __init__(self, *states, rows=None):
        super().__init__(" or ".join(states))
        self.states, self.rows = states, rows


class Busy(Exception):
    """The statement must wait: other transactions are at the item.  states: errors that
    it may raise instead."""

    def __init__(self, item, holders, states=()):
        super().__init__(f"{item} is held by {', '.join(h.name for h in holders)}")
        self.item, self.holders, self.states = item, holders, states


class Level:
    """What a transaction has done since a savepoint."""

    def __init__(self, name=None):
        self.name, self.writes, self.locks = name, {}, set()
        self.nested = set()         # items that a subtransaction of it has locked

    def copy(self):
        new = Level(self.name)
        new.writes, new.locks, new.nested = dict(self.writes), set(self.locks), set(self.nested)
        return new

    def absorb(self, other):
        self.writes.update(other.writes)
        self.locks |= other.locks
        self.nested |= other.nested

    def nest(self):
        """A subtransaction ends in it."""
        self.nested |= set(self.writes) | self.locks


class Transaction:
    def __init__(self, name, role, isolation="read committed", block=False):
        self.name, self.role, self.isolation, self.block = name, role, isolation, block
        self.snapshot = None        # number of the last commit that it sees; None: the latest
        self.levels = [Level()]
        self.failed = False
        self.calls = 0              # how many statements have had an effect
        self.tried = False          # or could have had one, and failed
        self.gid = None
        self.key = None             # of the transaction as a whole
        self.left = set()           # what it has rolled back, and others may wait for to its end

    def copy(self):
        new = Transaction(self.name, self.role, self.isolation, self.block)
        new.snapshot, new.failed, new.calls, new.gid = self.snapshot, self.failed, self.calls, self.gid
        new.tried, new.key = self.tried, self.key
        new.levels, new.left = [level.copy() for level in self.levels], set(self.left)
        return new

    def own(self, item):
        """Whether it has written the item, and what."""
        for level in reversed(self.levels):
            if item in level.writes:
                return True, level.writes[item]
        return False, None

    def has_locked(self, item):
        return any(item in level.locks for level in self.levels)

    def fail(self):
        """An error undoes what was done since the last savepoint."""
        self.failed = True
        self.left |= self.levels[-1].nested
        self.levels[-1] = Level(self.levels[-1].name)

    def depth(self, savepoint):
        for depth in range(len(self.levels) - 1, 0, -1):
            if self.levels[depth].name == savepoint:
                return depth
        return None


class Store:
    """Items as committed, each with its versions, and the transactions under way."""

    def __init__(self, items=None):
        self.seq = 1
        self.versions = {item: [(1, value)] for item, value in (items or {}).items()}
        self.open = []

    def copy(self):
        """A copy, and the copies of its transactions."""
        new = Store()
        new.seq = self.seq
        new.versions = {item: list(versions) for item, versions in self.versions.items()}
        copies = {t: t.copy() for t in self.open}
        new.open = list(copies.values())
        return new, copies

    def latest(self, item):
        versions = self.versions.get(item)
        return versions[-1] if versions else (0, None)

    def seen(self, item, snapshot):
        for seq, value in reversed(self.versions.get(item, ())):
            if seq <= snapshot:
                return value
        return None

    def committed(self):
        return {item: versions[-1][1] for item, versions in self.versions.items()
                if versions[-1][1] is not None}

    def begin(self, transaction):
        self.open.append(transaction)

    def commit(self, transaction):
        self.seq += 1
        for level in transaction.levels:
            for item, value in level.writes.items():
                self.versions.setdefault(item, []).append((self.seq, value))
        # of several versions of one commit, the last counts
        for item in {i for level in transaction.levels for i in level.writes}:
            versions = self.versions[item]
            while len(versions) > 1 and versions[-2][0] == self.seq:
                del versions[-2]
        self.abort(transaction)

    def abort(self, transaction):
        if transaction in self.open:
            self.open.remove(transaction)


class View:
    """What one statement sees and does.  Its effect is the transaction's once accept()
    is called."""

    def __init__(self, store, transaction, role, keys_in_use=lambda item: False, sent=None, waited=()):
        self.store, self.transaction, self.role = store, transaction, role
        self.keys_in_use = keys_in_use  # whether a call that waits has the key's lock
        self.effect = Level()
        self.touched = []               # items in the order in which they were locked
        self.sent = sent if sent is not None else {}    # what was there when the statement was sent
        self.waited = waited            # items that the statement has waited for
        self.replayed = False
        self.may_fail = ()              # errors that it may raise instead, by what the server meets first

    def accept(self):
        self.transaction.levels[-1].absorb(self.effect)

    def under(self, key, scope):
        """Key and scope that history has of a change: those of the call, or else of the transaction."""
        return (key, scope) if key is not None or self.transaction.key is None else (self.transaction.key, "begun")

    def undo(self):
        """Rolls back what the statement itself has done."""
        self.effect = Level()

    # Reading

    def own(self, item):
        if item in self.effect.writes:
            return True, self.effect.writes[item]
        return self.transaction.own(item)

    def current(self, item):
        """As committed now, or in our own transaction."""
        own, value = self.own(item)
        return value if own else self.store.latest(item)[1]

    def defined(self, item):
        """As committed when the statement was sent, or in our own transaction."""
        own, value = self.own(item)
        return value if own else self.sent.get(item)

    def visible(self, item):
        """As the snapshot has it, or our own transaction."""
        own, value = self.own(item)
        if own:
            return value
        if self.transaction.snapshot is None:
            return self.store.latest(item)[1]
        return self.store.seen(item, self.transaction.snapshot)

    def writers(self, item):
        return [t for t in self.store.open if t is not self.transaction and t.own(item)[0]]

    def holders(self, item):
        return [t for t in self.store.open if t is not self.transaction and (t.own(item)[0] or t.has_locked(item))]

    def is_unseen(self, item):
        """Was it committed after the snapshot, and not as deleted?"""
        seq, value = self.store.latest(item)
        snapshot = self.transaction.snapshot
        return snapshot is not None and not self.own(item)[0] and seq > snapshot and value is not None

    def sees_old(self, item):
        """Does the snapshot have a row beside our own, which another has deleted since?"""
        snapshot = self.transaction.snapshot
        return (snapshot is not None and self.store.latest(item)[0] > snapshot
                and self.store.seen(item, snapshot) is not None)

    def items(self, *kind):
        """All items that begin so, of which it may see one."""
        known = list(self.store.versions) + list(self.effect.writes) + [
            i for level in self.transaction.levels for i in level.writes]
        return sorted({i for i in known if i[:len(kind)] == kind})

    # Locking

    def touch(self, item):
        if item not in self.touched:
            self.touched.append(item)

    def found(self, item, plain=False):
        """Locks a row as UPDATE, DELETE and SELECT FOR UPDATE do: None where they see none.

        plain: in one statement, whose snapshot was taken when it was sent.  A row that
        was deleted and came again while it waited is not found then."""
        own, value = self.own(item)
        if own:
            if item[0] not in ("scope", "consumer") and self.sees_old(item):
                raise Refused("40001")
            return value
        value = self.visible(item)
        if value is None:
            return None
        self.touch(item)
        seq, value = self.store.latest(item)
        if self.transaction.snapshot is not None and seq > self.transaction.snapshot:
            # the version that it sees is old: who is at the new one does not matter
            raise Refused("40001")
        holders = self.holders(item)
        if holders:
            raise Busy(item, holders)
        if plain and value is not None and item in self.sent and self.sent[item]["_life"] != value.get("_life"):
            return None
        if value is not None:
            self.effect.locks.add(item)
        return value

    def unique(self, item, writers_only=False):
        """Locks a row as INSERT ... ON CONFLICT does: None where it may be inserted.

        writers_only: as an INSERT does that fails where there is a row."""
        own, value = self.own(item)
        if own:
            return value
        self.touch(item)
        holders = self.writers(item) if writers_only else self.holders(item)
        if holders:
            # an insert that meets a row which it does not see need not wait for its lock
            raise Busy(item, holders, ("40001",) if self.is_unseen(item) else ())
        seq, value = self.store.latest(item)
        if value is None:
            return None
        if not writers_only:
            if self.is_unseen(item):
                raise Refused("40001")
            self.effect.locks.add(item)
        return value

    # Writing

    def write(self, item, value):
        self.effect.writes[item] = value

    def append(self, item, entry):
        self.write(item, (self.current(item) or ()) + (entry,))
