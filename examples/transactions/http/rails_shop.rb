# Orders over HTTP by a controller of Rails, on 127.0.0.1:PORT: a request's key is its
# transaction's.
require 'active_record'
require 'action_controller'
require 'rack'

ActiveRecord::Base.establish_connection(
  adapter: 'postgresql', host: ENV['PGHOST'], port: ENV['PGPORT'],
  username: ENV['PGUSER'], database: ENV['PGDATABASE']
)

class Customer < ActiveRecord::Base
  self.table_name = 'customer'
end

class Product < ActiveRecord::Base
  self.table_name = 'product'
  self.primary_key = 'name'
end

class Order < ActiveRecord::Base
  belongs_to :customer
end

class ApplicationController < ActionController::API
  around_action :transaction_under_key

  private

  # Runs an action whose request has a key as one transaction under it.
  def transaction_under_key(&action)
    key = request.headers['Idempotency-Key']
    return action.call if key.nil? || request.get? || request.head?

    ActiveRecord::Base.transaction do
      ActiveRecord::Base.connection.exec_query('SELECT idem_begin($1, $2)', 'key', [key, tenant])
      action.call
    end
  end

  def tenant = request.headers['Authorization'] # here belongs a check of the token
end

class OrdersController < ApplicationController
  rescue_from(ActiveRecord::ConnectionNotEstablished, ActiveRecord::StatementInvalid) { head 503 }

  def create
    wanted = JSON.parse(request.raw_post)
    customer = Customer.find_or_create_by!(name: wanted['customer'])
    order = Order.create!(reference: wanted['reference'], customer: customer)
    bolt = Product.lock.find('bolt')
    bolt.update!(stock: bolt.stock - 1)
    render json: { order: order.id, stock: bolt.stock }, status: 201
  end
end

place = lambda do |env|
  OrdersController.action(:create).call(env)
ensure
  ActiveRecord::Base.clear_active_connections! # as Rails does after a request
end
Rack::Handler.get('puma').run(place, Host: '127.0.0.1', Port: ENV.fetch('PORT'))
