"""The shop by SQLAlchemy: its expressions for the calls, its session for the rows."""
import uuid

from sqlalchemy import (
    BigInteger, Column, Enum, FetchedValue, Identity, Numeric, Text, cast, create_engine, func,
    literal, select, text)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, declarative_base

Base = declarative_base()
order_status = Enum(
    "PENDING", "PROCESSING", "SHIPPED", "DELIVERED", name="order_status", create_type=False)


class Order(Base):
    __tablename__ = "orders"
    id = Column(BigInteger, Identity(always=True), primary_key=True)
    customer = Column(Text, nullable=False)
    total = Column(Numeric(10, 2), nullable=False)
    status = Column(order_status, nullable=False, server_default=FetchedValue())
    # the trigger raises it: it is read after each update, and never written
    version = Column(BigInteger, nullable=False, server_default=FetchedValue(),
                     server_onupdate=FetchedValue())


class Parcel(Base):
    __tablename__ = "parcels"
    id = Column(UUID(as_uuid=True), primary_key=True)
    customer = Column(Text, nullable=False)
    status = Column(order_status, nullable=False, server_default=FetchedValue())
    version = Column(BigInteger, nullable=False, server_default=FetchedValue(),
                     server_onupdate=FetchedValue())


def expect(right, *what):
    if not right:
        raise SystemExit(f"wrong: {what}")
    print(*what)


engine = create_engine("postgresql+psycopg2://")  # the rest by PGHOST and so on


def place(key, order, lose=False):
    with Session(engine) as session, session.begin():
        if lose:
            session.execute(text("SET LOCAL idem.lose_ack = 1"))
        placed = func.idem_upsert(key, "orders", cast(order, JSONB)).table_valued(
            "outcome", "replayed", Column("result", JSONB))
        return session.execute(select(placed)).one()


key = uuid.uuid4()
order = {"customer": "sqlalchemy", "total": 440}
try:
    place(key, order, lose=True)
    expect(False, "nothing was lost")
except DBAPIError as error:
    expect(error.connection_invalidated, "lost:", type(error).__name__, error.orig.pgcode)
placed = place(key, order)
expect(placed.outcome == "inserted" and placed.replayed, "placed: inserted, replayed")

with Session(engine) as session, session.begin():
    mine = session.get(Order, placed.result["id"])
    moved = session.execute(
        text("SELECT * FROM order_transition('orders', :id, :status,"
             " expected_version => :version, key => :key)"),
        dict(id=mine.id, status="PROCESSING", version=mine.version, key=f"{key}/PROCESSING"),
    ).one()
    expect((moved.outcome, moved.version) == ("applied", 2),
           f"moved order: {moved.from_state} -> {moved.to_state}, version {moved.version}")
    session.refresh(mine)  # it was read before the call
    expect((mine.status, mine.version) == ("PROCESSING", 2),
           f"refreshed: {mine.status}, version {mine.version}")
    mine.total = 450  # and from now on the session may write it
    session.flush()
    expect(mine.version == 3, f"updated: version {mine.version}")

    parcel = Parcel(id=uuid.uuid4(), customer="sqlalchemy")
    session.add(parcel)
    session.flush()  # a call sees what was sent
    transition = func.order_transition(
        "parcels", literal(parcel.id, UUID(as_uuid=True)), "PROCESSING")
    moved = session.execute(
        select(transition.table_valued("from_state", "to_state", "version"))).one()
    expect(moved.version == 2,
           f"moved parcel: {moved.from_state} -> {moved.to_state}, version {moved.version}")

messages = [f"{key}/1", f"{key}/2", f"{key}/1"]
counts = []
for _ in range(2):
    with Session(engine) as session, session.begin():
        new = session.scalars(select(
            func.idem_consume_batch("sqlalchemy", messages).column_valued("id"))).all()
        counts.append(len(new))
expect(counts == [2, 0], f"consumed: {counts[0]}, then {counts[1]}")

try:
    with Session(engine) as session, session.begin():
        session.execute(
            text("SELECT * FROM order_transition('orders', :id, :status)"),
            dict(id=placed.result["id"], status="DELIVERED"))
    expect(False, "not refused")
except DBAPIError as error:
    expect(error.orig.pgcode == "ID201",
           f"refused: {error.orig.pgcode} ({type(error).__name__}.orig.pgcode)")
