// Places an order and moves it on, each exactly once, whatever breaks.
//
// usage: node node-pg.mjs [URL [KEY]]

import { randomUUID } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import pg from 'pg'

// The connection is lost, or the transaction gave way to another one.
const TEMPORARY = /^(08|57P01|57P02|57P03|40001|40P01)/

// Returns work(client) once it has committed.
//
// Does all of it again, for so many milliseconds, where that can help.  So
// whatever work writes must be under a key, which must not be made by work itself.
async function retry (pool, work, patience = 60_000) {
  const deadline = Date.now() + patience
  for (let pause = 50; ; pause = Math.min(2 * pause, 2000)) {
    let client
    try {
      client = await pool.connect()
      await client.query('BEGIN')
      const answer = await work(client)
      await client.query('COMMIT')
      client.release()
      return answer
    } catch (error) {
      const broken = !client || await client.query('ROLLBACK').then(() => false, () => true)
      client?.release(broken)
      // what pg itself finds out about a connection has no SQLSTATE
      const sqlstate = error instanceof pg.DatabaseError ? error.code : broken ? '08006' : ''
      if (!TEMPORARY.test(sqlstate) || Date.now() > deadline) throw error
      console.error(`sending again after ${sqlstate}: ${error.message}`)
    }
    await setTimeout(Math.random() * pause)
  }
}

const place = (client, key, order) => client.query(
  "SELECT * FROM idem_upsert($1, 'orders', $2)", [key, order]
).then(({ rows }) => rows[0])

// to decide the same upon another version is another request: another key
const move = (client, key, id, status, version) => client.query(
  "SELECT * FROM order_transition('orders', $1, $2, expected_version => $3, key => $4)",
  [id, status, version, `${key}/${status}/${version}`]
).then(({ rows }) => rows[0])

const [url, key = randomUUID()] = process.argv.slice(2)
const pool = new pg.Pool({ connectionString: url })
// a connection that breaks is an event, too, which ends the process if nobody listens
pool.on('error', () => {})
pool.on('connect', client => client.on('error', () => {}))

const placed = await retry(pool, c => place(c, key, { customer: 'VINET', total: 440 }))
const order = placed.result
console.log('%j', placed)

console.log('%j', await retry(pool, c => move(c, key, order.id, 'PROCESSING', order.version)))
try {
  await retry(pool, c => move(c, key, order.id, 'SHIPPED', order.version))
} catch (error) {
  if (error.code !== 'ID203') throw error
  console.log(`ID203: ${error.message}`) // not what was read: read again, decide anew
  const { rows: [{ version }] } = await retry(pool, c =>
    c.query('SELECT version FROM orders WHERE id = $1', [order.id]))
  console.log('%j', await retry(pool, c => move(c, key, order.id, 'SHIPPED', version)))
}
await pool.end()
