# The shop by ruby-pg.
require 'json'
require 'pg'
require 'securerandom'

def expect(right, what)
  abort "wrong: #{what}" unless right
  puts what
end

def connect = PG.connect # by PGHOST and so on

def place(key, order, lose: false)
  connection = connect
  connection.transaction do
    connection.exec('SET LOCAL idem.lose_ack = 1') if lose
    connection.exec_params("SELECT * FROM idem_upsert($1, 'orders', $2)", [key, order.to_json]).first
  end
ensure
  connection&.close
end

key = SecureRandom.uuid
order = { customer: 'ruby-pg', total: 440 }
begin
  place(key, order, lose: true)
  expect false, 'nothing was lost'
rescue PG::Error => e
  puts "lost: #{e.class} #{e.result&.error_field(PG::PG_DIAG_SQLSTATE).inspect}"
end
placed = place(key, order)
# ruby-pg gives text, unless a type map says otherwise
expect placed['outcome'] == 'inserted' && placed['replayed'] == 't', 'placed: inserted, replayed'
row = JSON.parse(placed['result'])

db = connect
moved = db.exec_params(
  "SELECT * FROM order_transition('orders', $1, $2, expected_version => $3, key => $4)",
  [row['id'], 'PROCESSING', row['version'], "#{key}/PROCESSING"]
).first
expect moved.values_at('outcome', 'version') == %w[applied 2],
       "moved order: #{moved['from_state']} -> #{moved['to_state']}, version #{moved['version']}"

parcel = SecureRandom.uuid
db.exec_params('INSERT INTO parcels VALUES ($1, $2)', [parcel, 'ruby-pg'])
moved = db.exec_params("SELECT * FROM order_transition('parcels', $1, $2)", [parcel, 'PROCESSING']).first
expect moved['version'] == '2',
       "moved parcel: #{moved['from_state']} -> #{moved['to_state']}, version #{moved['version']}"

messages = ["#{key}/1", "#{key}/2", "#{key}/1"]
array = PG::TextEncoder::Array.new
counts = Array.new(2) do
  db.exec_params("SELECT * FROM idem_consume_batch('ruby-pg', $1)", [array.encode(messages)]).ntuples
end
expect counts == [2, 0], "consumed: #{counts[0]}, then #{counts[1]}"

begin
  db.exec_params("SELECT * FROM order_transition('orders', $1, $2)", [row['id'], 'DELIVERED'])
  expect false, 'not refused'
rescue PG::Error => e
  sqlstate = e.result.error_field(PG::PG_DIAG_SQLSTATE)
  expect sqlstate == 'ID201', "refused: #{sqlstate} (#{e.class}.result.error_field)"
end
