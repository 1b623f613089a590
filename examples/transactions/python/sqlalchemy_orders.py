"""Orders by SQLAlchemy's session."""
import os
import sys
import uuid

from sqlalchemy import (
    BigInteger, Column, DateTime, ForeignKey, Identity, Integer, Text, create_engine, func, select)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, declarative_base, relationship

Base = declarative_base()


class Customer(Base):
    __tablename__ = "customer"
    id = Column(BigInteger, Identity(), primary_key=True)
    name = Column(Text, nullable=False, unique=True)


class Product(Base):
    __tablename__ = "product"
    name = Column(Text, primary_key=True)
    stock = Column(Integer, nullable=False)


class Order(Base):
    __tablename__ = "orders"
    id = Column(BigInteger, Identity(), primary_key=True)
    reference = Column(Text, nullable=False)
    customer_id = Column(ForeignKey("customer.id"), nullable=False)
    created_at = Column(DateTime(timezone=True), server_default=func.now())
    updated_at = Column(DateTime(timezone=True), server_default=func.now(), onupdate=func.now())
    customer = relationship(Customer)
    lines = relationship("Line")


class Line(Base):
    __tablename__ = "line"
    id = Column(BigInteger, Identity(), primary_key=True)
    order_id = Column(ForeignKey("orders.id"), nullable=False)
    product = Column(ForeignKey("product.name"), nullable=False)
    quantity = Column(Integer, nullable=False)


engine = create_engine("postgresql+psycopg2://")  # the rest by PGHOST and so on


def place(session, reference, name):
    customer = session.scalars(select(Customer).where(Customer.name == name)).one_or_none()
    if customer is None:
        customer = Customer(name=name)
    order = Order(reference=reference, customer=customer,
                  lines=[Line(product="bolt", quantity=1), Line(product="nut", quantity=1)])
    session.add(order)
    bolt = session.get(Product, "bolt", with_for_update=True)
    bolt.stock -= 1
    session.flush()
    order.reference += "!"  # and so updated_at
    session.flush()
    return order.id, bolt.stock


def request(key, *arguments):
    for attempt in range(40):
        try:
            with Session(engine) as session, session.begin():
                session.execute(func.idem_begin(key))
                return place(session, *arguments)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
    sys.exit("no answer after 40 attempts")


run = uuid.uuid4()
for number in [*range(int(os.environ.get("REQUESTS", "40"))), 0]:  # the first once more
    order, stock = request(f"{run}/{number}", f"{run}/{number}", f"{run} {number % 4}")
    print("placed", f"{run}/{number}", order, stock)
