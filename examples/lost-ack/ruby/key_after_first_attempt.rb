# Places orders.  The bug: the key is made when an attempt has failed, so the first has none.
require 'json'
require 'pg'
require 'securerandom'

def connected
  connection = PG.connect # by PGHOST and so on
  yield connection
ensure
  connection&.close
end

def insert(connection, customer)
  connection.exec_params('INSERT INTO orders (customer, total) VALUES ($1, 440)', [customer])
end

def upsert(connection, key, customer)
  order = { customer: customer, total: 440 }
  connection.exec_params("SELECT * FROM idem_upsert($1, 'orders', $2)", [key, order.to_json])
end

def place(customer)
  key = nil
  30.times do
    return connected { |c| key ? upsert(c, key, customer) : insert(c, customer) }
  rescue PG::Error => e
    raise if e.result # a lost connection has none
    key ||= SecureRandom.uuid
  end
  abort 'no answer after 30 attempts'
end

run = SecureRandom.uuid
100.times { |number| place("#{run}/#{number}") }

orders, customers = connected do |connection|
  connection.exec_params(
    'SELECT count(*), count(DISTINCT customer) FROM orders WHERE starts_with(customer, $1)', [run]
  ).values.first.map(&:to_i)
end
if [orders, customers] != [100, 100]
  abort "wrong: 100 customers placed an order each, #{customers} have #{orders}"
end
puts 'right: 100 orders'
