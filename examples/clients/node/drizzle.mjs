// The shop by Drizzle, over node-postgres.
import { randomUUID } from 'node:crypto'
import { drizzle } from 'drizzle-orm/node-postgres'
import { sql } from 'drizzle-orm'
import { bigint, numeric, pgEnum, pgTable, text, uuid } from 'drizzle-orm/pg-core'
import pg from 'pg'
import { expect } from './expect.mjs'

const status = pgEnum('order_status', ['PENDING', 'PROCESSING', 'SHIPPED', 'DELIVERED'])
const orders = pgTable('orders', {
  id: bigint({ mode: 'number' }).primaryKey().generatedAlwaysAsIdentity(),
  customer: text().notNull(),
  total: numeric({ precision: 10, scale: 2 }).notNull(),
  status: status().notNull().default('PENDING'),
  version: bigint({ mode: 'number' }).notNull().default(1)
})
const parcels = pgTable('parcels', {
  id: uuid().primaryKey(),
  customer: text().notNull(),
  status: status().notNull().default('PENDING'),
  version: bigint({ mode: 'number' }).notNull().default(1)
})

const pool = new pg.Pool()
pool.on('error', () => {})
pool.on('connect', client => client.on('error', () => {}))
const db = drizzle(pool)

const place = (key, order, lose) => db.transaction(async tx => {
  if (lose) await tx.execute(sql`SET LOCAL idem.lose_ack = 1`)
  const { rows } = await tx.execute(sql`SELECT * FROM idem_upsert(${key}, 'orders', ${order})`)
  return rows[0]
})

const key = randomUUID()
const order = { customer: 'drizzle', total: 440 }
await place(key, order, true).then(
  () => expect(false, 'nothing was lost'),
  error => console.log('lost: %s %s', error.cause?.message ?? error.message, error.cause?.code))
const placed = await place(key, order)
expect(placed.outcome === 'inserted' && placed.replayed, 'placed: inserted, replayed')

const { id, version } = placed.result
const { rows: [moved] } = await db.execute(sql`
  SELECT * FROM order_transition('orders', ${id}, ${'PROCESSING'},
    expected_version => ${version}, key => ${key + '/PROCESSING'})`)
expect(moved.outcome === 'applied' && moved.version === '2',
  `moved order: ${moved.from_state} -> ${moved.to_state}, version ${moved.version}`)
const [mine] = await db.select().from(orders).where(sql`${orders.id} = ${id}`)
expect(mine.status === 'PROCESSING' && mine.version === 2,
  `read: ${mine.status}, version ${mine.version}`)

const parcel = randomUUID()
await db.insert(parcels).values({ id: parcel, customer: 'drizzle' })
const { rows: [sent] } = await db.execute(
  sql`SELECT * FROM order_transition('parcels', ${parcel}, ${'PROCESSING'})`)
expect(sent.version === '2',
  `moved parcel: ${sent.from_state} -> ${sent.to_state}, version ${sent.version}`)

// sql.param: a bare array would become a list of parameters, ($1, $2, $3)
const messages = [`${key}/1`, `${key}/2`, `${key}/1`]
const consume = () => db.execute(
  sql`SELECT * FROM idem_consume_batch('drizzle', ${sql.param(messages)})`)
const counts = [(await consume()).rowCount, (await consume()).rowCount]
expect(counts.join() === '2,0', `consumed: ${counts[0]}, then ${counts[1]}`)

await db.execute(sql`SELECT * FROM order_transition('orders', ${id}, ${'DELIVERED'})`).then(
  () => expect(false, 'not refused'),
  error => expect(error.cause.code === 'ID201',
    `refused: ${error.cause.code} (${error.constructor.name}.cause.code)`))
await pool.end()
