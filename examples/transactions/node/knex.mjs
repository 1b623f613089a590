// Orders by knex.
import Knex from 'knex'
import { sendRequests } from './requests.mjs'

const knex = Knex({ client: 'pg', connection: {} }) // the rest by PGHOST and so on

async function place (trx, reference, name) {
  await trx('customer').insert({ name }).onConflict('name').ignore()
  const customer = await trx('customer').where({ name }).first()
  const [{ id }] = await trx('orders').insert({ reference, customer_id: customer.id }).returning('id')
  await trx('line').insert(['bolt', 'nut'].map(product => ({ order_id: id, product, quantity: 1 })))
  await trx('product').where({ name: 'bolt' }).decrement('stock', 1)
  const { stock } = await trx('product').where({ name: 'bolt' }).first('stock')
  await trx('orders').where({ id }).update({ updated_at: knex.fn.now() })
  return { order: id, stock }
}

await sendRequests(
  (key, ...values) => knex.transaction(async trx => {
    await trx.raw('SELECT idem_begin(?)', [key])
    return place(trx, ...values)
  }),
  error => !error.code || /^08/.test(error.code))
await knex.destroy()
