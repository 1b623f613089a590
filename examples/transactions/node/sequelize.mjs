// Orders by Sequelize.  Its times are the client's, others at each attempt: so the
// database, or the role, has idem.key_match = clock.
import { DataTypes, Sequelize } from 'sequelize'
import { sendRequests } from './requests.mjs'

const { PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE } = process.env
const sequelize = new Sequelize(PGDATABASE, PGUSER, PGPASSWORD, {
  dialect: 'postgres', host: PGHOST, port: PGPORT, logging: false
})
const id = { type: DataTypes.BIGINT, primaryKey: true, autoIncrement: true }
const Customer = sequelize.define('Customer', { id, name: DataTypes.TEXT },
  { tableName: 'customer', timestamps: false })
const Product = sequelize.define('Product',
  { name: { type: DataTypes.TEXT, primaryKey: true }, stock: DataTypes.INTEGER },
  { tableName: 'product', timestamps: false })
const Order = sequelize.define('Order',
  { id, reference: DataTypes.TEXT, customerId: { type: DataTypes.BIGINT, field: 'customer_id' } },
  { tableName: 'orders', createdAt: 'created_at', updatedAt: 'updated_at' })
const Line = sequelize.define('Line',
  { id, orderId: { type: DataTypes.BIGINT, field: 'order_id' }, product: DataTypes.TEXT, quantity: DataTypes.INTEGER },
  { tableName: 'line', timestamps: false })

async function place (transaction, reference, name) {
  const customer = await Customer.findOne({ where: { name }, transaction }) ??
    await Customer.create({ name }, { transaction })
  const order = await Order.create({ reference, customerId: customer.id }, { transaction })
  await sequelize.transaction({ transaction }, nested => Line.bulkCreate(
    ['bolt', 'nut'].map(product => ({ orderId: order.id, product, quantity: 1 })),
    { transaction: nested }))
  const bolt = await Product.findByPk('bolt', { transaction, lock: true })
  bolt.stock -= 1
  await bolt.save({ transaction })
  return { order: order.id, stock: bolt.stock }
}

await sendRequests(
  (key, ...values) => sequelize.transaction(async transaction => {
    await sequelize.query('SELECT idem_begin($1)', { bind: [key], transaction })
    return place(transaction, ...values)
  }),
  error => !error.original?.code || /^08/.test(error.original.code))
await sequelize.close()
