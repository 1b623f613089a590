# Orders by ActiveRecord.  Its times are the client's, others at each attempt: so the
# database, or the role, has idem.key_match = clock.
require 'active_record'
require 'securerandom'

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
  has_many :lines
end

class Line < ActiveRecord::Base
  self.table_name = 'line'
end

def place(reference, name)
  customer = Customer.create_or_find_by!(name: name)
  order = Order.create!(reference: reference, customer: customer)
  Order.transaction(requires_new: true) do
    order.lines.create!(product: 'bolt', quantity: 1)
    raise ActiveRecord::Rollback # one bolt is not sold alone
  end
  order.lines.create!([{ product: 'bolt', quantity: 1 }, { product: 'nut', quantity: 1 }])
  bolt = Product.lock.find('bolt')
  bolt.update!(stock: bolt.stock - 1)
  order.touch
  [order.id, bolt.stock]
end

def request(key, *arguments)
  40.times do
    return Order.transaction do
      Order.connection.exec_query('SELECT idem_begin($1)', 'key', [key])
      place(*arguments)
    end
  rescue ActiveRecord::StatementInvalid => e
    raise if e.cause.respond_to?(:result) && e.cause.result # a lost connection has none
    Order.connection.reconnect!
  end
  abort 'no answer after 40 attempts'
end

run = SecureRandom.uuid
[*0...Integer(ENV.fetch('REQUESTS', '40')), 0].each do |number| # the first once more
  order, stock = request("#{run}/#{number}", "#{run}/#{number}", "#{run} #{number % 4}")
  puts "placed #{run}/#{number} #{order} #{stock}"
end
