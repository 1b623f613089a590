// Orders over HTTP by Express and Sequelize, on 127.0.0.1:PORT: a request's key is its
// transaction's.
import express from 'express'
import { DataTypes, Sequelize } from 'sequelize'

const { PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE, PORT } = process.env
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

const tenant = request => request.get('Authorization') // here belongs a check of the token

// A handler whose work(request, transaction) is one transaction, under the key of the
// request if it has one, and returns what to answer.
const inTransaction = work => async (request, response) => {
  const answer = await sequelize.transaction(async transaction => {
    const key = request.get('Idempotency-Key')
    if (key !== undefined) { // an empty one is refused
      await sequelize.query('SELECT idem_begin($1, $2)', { bind: [key, tenant(request)], transaction })
    }
    return work(request, transaction)
  })
  response.status(201).json(answer)
}

const app = express()
app.use(express.json())
app.post('/orders', inTransaction(async ({ body }, transaction) => {
  const customer = await Customer.findOne({ where: { name: body.customer }, transaction }) ??
    await Customer.create({ name: body.customer }, { transaction })
  const order = await Order.create({ reference: body.reference, customerId: customer.id }, { transaction })
  const bolt = await Product.findByPk('bolt', { transaction, lock: true })
  bolt.stock -= 1
  await bolt.save({ transaction })
  return { order: Number(order.id), stock: bolt.stock }
}))
// an error of a lost connection has no SQLSTATE: the client may send the request again
app.use((error, request, response, next) => response.sendStatus(error.original?.code ? 500 : 503))
app.listen(PORT, '127.0.0.1')
