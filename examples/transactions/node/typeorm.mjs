// Orders by TypeORM.
import 'reflect-metadata'
import { DataSource, EntitySchema } from 'typeorm'
import { sendRequests } from './requests.mjs'

const id = { type: 'bigint', primary: true, generated: 'identity', generatedIdentity: 'BY DEFAULT' }
const Customer = new EntitySchema({
  name: 'Customer', tableName: 'customer', columns: { id, name: { type: 'text' } }
})
const Product = new EntitySchema({
  name: 'Product', tableName: 'product', columns: { name: { type: 'text', primary: true }, stock: { type: 'int' } }
})
const Order = new EntitySchema({
  name: 'Order',
  tableName: 'orders',
  columns: {
    id,
    reference: { type: 'text' },
    customer_id: { type: 'bigint' },
    created_at: { type: 'timestamptz', createDate: true },
    updated_at: { type: 'timestamptz', updateDate: true }
  }
})
const Line = new EntitySchema({
  name: 'Line',
  tableName: 'line',
  columns: { id, order_id: { type: 'bigint' }, product: { type: 'text' }, quantity: { type: 'int' } }
})

const { PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE } = process.env
const source = await new DataSource({
  type: 'postgres',
  host: PGHOST,
  port: PGPORT && Number(PGPORT),
  username: PGUSER,
  password: PGPASSWORD,
  database: PGDATABASE,
  entities: [Customer, Product, Order, Line],
  poolErrorHandler: () => {} // a connection that breaks is an event, too
}).initialize()

async function place (manager, reference, name) {
  const customer = await manager.findOneBy('Customer', { name }) ??
    await manager.save('Customer', { name })
  const order = await manager.save('Order', { reference, customer_id: customer.id })
  await manager.transaction(nested => nested.save('Line',
    ['bolt', 'nut'].map(product => ({ order_id: order.id, product, quantity: 1 }))))
  const bolt = await manager.findOneByOrFail('Product', { name: 'bolt' })
  bolt.stock -= 1
  await manager.save('Product', bolt)
  order.reference += '!' // and so updated_at
  await manager.save('Order', order)
  return { order: order.id, stock: bolt.stock }
}

await sendRequests(
  (key, ...values) => source.transaction(async manager => {
    await manager.query('SELECT idem_begin($1)', [key])
    return place(manager, ...values)
  }),
  error => !error.code || /^08/.test(error.code))
await source.destroy()
