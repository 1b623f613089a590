# frozen_string_literal: true

# A shop by Rack, on 127.0.0.1:PORT and the database that libpq's variables name.
require 'json'
require 'pg'
require 'rack'
require_relative 'idempotency'

# Connections, made where they are missing or broken.
class Pool
  def initialize(size)
    @free = Queue.new
    size.times { @free << nil }
  end

  def with
    db = @free.pop
    db = PG.connect if db.nil? || db.finished? || db.status != PG::CONNECTION_OK
    yield db
  ensure
    @free << db
  end
end

pool = Pool.new(8)
# here belongs a check of the token
tenant = ->(env) { env['HTTP_AUTHORIZATION'].to_s.delete_prefix('Bearer ') }

place = lambda do |env|
  items = JSON.parse(env['rack.input'].read)['items']
  db = env['idempotency.db']
  placed = db.exec_params('SELECT id, sold_out FROM place_order($1, $2)', [tenant.call(env), items.to_json])[0]
  headers = { 'content-type' => 'application/json' }
  return [409, headers, [{ error: "#{placed['sold_out']} is sold out" }.to_json]] if placed['sold_out']

  order = { order: placed['id'].to_i, items: items }
  [201, headers.merge('location' => "/orders/#{placed['id']}"), [order.to_json]]
end

policy = lambda do |_env|
  text = pool.with { |db| db.exec('SELECT idempotency_policy()').getvalue(0, 0) }
  [200, { 'content-type' => 'application/json' }, [text]]
end

app = Rack::Builder.new do
  use Idempotency, pool: pool, tenant: tenant, policy: '/.well-known/idempotency'
  map('/orders') { run place }
  map('/.well-known/idempotency') { run policy }
end
Rack::Handler.get('puma').run(app.to_app, Host: '127.0.0.1', Port: ENV.fetch('PORT'))
