// Places orders under a key.  The bug: each attempt makes a new one.
import { randomUUID } from 'node:crypto'
import pg from 'pg'

// Runs work(client) on a connection of its own.
async function connected (work) {
  const client = new pg.Client()
  // a connection that breaks is an event, too, which ends the process if nobody listens
  client.on('error', () => {})
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end().catch(() => {})
  }
}

async function place (customer) {
  for (let attempt = 0; attempt < 30; attempt++) {
    const key = randomUUID()
    try {
      return await connected(client => client.query(
        "SELECT * FROM idem_upsert($1, 'orders', $2)", [key, { customer, total: 440 }]))
    } catch (error) {
      if (error instanceof pg.DatabaseError) throw error // a lost connection is none
    }
  }
  throw new Error('no answer after 30 attempts')
}

const run = randomUUID()
for (let number = 0; number < 100; number++) await place(`${run}/${number}`)

const { rows: [there] } = await connected(client => client.query(
  `SELECT count(*)::int AS orders, count(DISTINCT customer)::int AS customers
   FROM orders WHERE starts_with(customer, $1)`, [run]))
if (there.orders !== 100 || there.customers !== 100) {
  console.error(`wrong: 100 customers placed an order each, ${there.customers} have ${there.orders}`)
  process.exit(1)
}
console.log('right: 100 orders')
