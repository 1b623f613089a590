# Places orders under a key, which the first attempt has, too.
require 'json'
require 'pg'
require 'securerandom'

def connected
  connection = PG.connect # by PGHOST and so on
  yield connection
ensure
  connection&.close
end

def upsert(connection, key, customer)
  order = { customer: customer, total: 440 }
  connection.exec_params("SELECT * FROM idem_upsert($1, 'orders', $2)", [key, order.to_json])
end

def place(customer)
  key = SecureRandom.uuid
  30.times do
    return connected { |connection| upsert(connection, key, customer) }
  rescue PG::Error => e
    raise if e.result # a lost connection has none
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
