# The shop by ActiveRecord.
require 'active_record'
require 'securerandom'

def expect(right, what)
  abort "wrong: #{what}" unless right
  puts what
end

ActiveRecord::Base.establish_connection(
  adapter: 'postgresql', host: ENV['PGHOST'], port: ENV['PGPORT'],
  username: ENV['PGUSER'], database: ENV['PGDATABASE']
)

class Order < ActiveRecord::Base
end

class Parcel < ActiveRecord::Base
end

# Runs a call, and returns its one row.
def call(sql, *values)
  Order.connection.select_one(Order.sanitize_sql([sql, *values]))
end

def place(key, order, lose: false)
  Order.transaction do
    Order.connection.execute('SET LOCAL idem.lose_ack = 1') if lose
    call("SELECT * FROM idem_upsert(?, 'orders', ?)", key, order.to_json)
  end
end

key = SecureRandom.uuid
order = { customer: 'active_record', total: 440 }
begin
  place(key, order, lose: true)
  expect false, 'nothing was lost'
rescue ActiveRecord::StatementInvalid => e
  puts "lost: #{e.class} #{e.cause.result&.error_field(PG::PG_DIAG_SQLSTATE).inspect}"
  Order.connection.reconnect!
end
placed = place(key, order)
expect placed['outcome'] == 'inserted' && placed['replayed'], 'placed: inserted, replayed'

mine = Order.find(JSON.parse(placed['result'])['id'])
moved = call("SELECT * FROM order_transition('orders', ?, ?, expected_version => ?, key => ?)",
             mine.id, 'PROCESSING', mine.version, "#{key}/PROCESSING")
expect moved.values_at('outcome', 'version') == ['applied', 2],
       "moved order: #{moved['from_state']} -> #{moved['to_state']}, version #{moved['version']}"
mine.reload # it was read before the call
expect mine.status == 'PROCESSING' && mine.version == 2,
       "refreshed: #{mine.status}, version #{mine.version}"
mine.update!(total: 450) # writes what has changed, and nothing else
expect mine.reload.version == 3, "updated: version #{mine.version}"

parcel = Parcel.create!(id: SecureRandom.uuid, customer: 'active_record')
moved = call("SELECT * FROM order_transition('parcels', ?, ?)", parcel.id, 'PROCESSING')
expect moved['version'] == 2,
       "moved parcel: #{moved['from_state']} -> #{moved['to_state']}, version #{moved['version']}"

# ARRAY[?]: a list of values is what sanitize_sql makes of an array
messages = ["#{key}/1", "#{key}/2", "#{key}/1"]
counts = Array.new(2) do
  Order.connection.select_values(Order.sanitize_sql(
    ["SELECT * FROM idem_consume_batch('active_record', ARRAY[?])", messages]
  )).size
end
expect counts == [2, 0], "consumed: #{counts[0]}, then #{counts[1]}"

begin
  call("SELECT * FROM order_transition('orders', ?, ?)", mine.id, 'DELIVERED')
  expect false, 'not refused'
rescue ActiveRecord::StatementInvalid => e
  sqlstate = e.cause.result.error_field(PG::PG_DIAG_SQLSTATE)
  expect sqlstate == 'ID201', "refused: #{sqlstate} (#{e.class}.cause.result.error_field)"
end
