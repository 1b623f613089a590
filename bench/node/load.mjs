// load.mjs OPTIONS: places orders from so many clients at once, in one process,
// through one contender.
//
// OPTIONS is a JSON object: contender, clients, database, redis (its socket),
// base, dup (of 100 orders, how many are placed again), placed (how many each
// client has placed before), and either count (orders a client) or seconds and
// unused (a base for the warm-up).
// The keys are those of ../orders/choose.pgbench, ordered by time.
//
// Warms up, says "ready", starts at a line on standard input, and at the end
// writes a JSON object: seconds, user and system CPU in microseconds, and the
// latencies of all orders in microseconds.

import { once } from 'node:events'
import { contender } from './contenders.mjs'

const options = JSON.parse(process.argv[2])
const { clients, dup } = options
const WARM_UP = 0.4 // seconds

// At once: as a retry must be answered with an order, all answers are looked at.
async function place (subject, base, o, client, fresh) {
  const id = base + 100 * o + client
  const key = '0190a1b2-7c3d-7e4f-8' + String(1e15 + id)
  const placed = await subject.place(key, { id, customer: 'VINET', status: 'PENDING', total: 440 }, fresh)
  if (placed.id !== id || placed.total !== 440) throw new Error(`${key} got ${JSON.stringify(placed)}`)
}

async function run (client, subject, base, placed, dup, until, latencies) {
  let o = placed
  for (let n = 0; until(n); n++) {
    const fresh = o === 0 || Math.random() * 100 >= dup
    const started = performance.now()
    await place(subject, base, fresh ? ++o : 1 + Math.floor(Math.random() * o), client, fresh)
    latencies.push(Math.round((performance.now() - started) * 1000))
  }
}

async function measure (subject, base, placed, dup, until) {
  const latencies = []
  const cpu = process.cpuUsage()
  const started = performance.now()
  await Promise.all(Array.from({ length: clients },
    (_, client) => run(client, subject, base, placed, dup, until, latencies)))
  const seconds = (performance.now() - started) / 1000
  const { user, system } = process.cpuUsage(cpu)
  return { seconds, user, system, latencies }
}

const during = seconds => {
  const end = performance.now() + seconds * 1000
  return () => performance.now() < end
}

const subject = await contender(options.contender, options)
if (options.seconds) {
  await measure(subject, options.unused, 0, 50, during(WARM_UP))
}
process.stdout.write('ready\n')
await once(process.stdin, 'data')
const until = options.seconds ? during(options.seconds) : n => n < options.count
const measured = await measure(subject, options.base, options.placed, dup, until)
process.stdout.write(JSON.stringify(measured) + '\n')
await once(process.stdin, 'end') // until then the server's processes can be looked at
await subject.end()
