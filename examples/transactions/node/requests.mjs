// Sends requests, each under a key, as often as it takes, and the first of them once more.
import { randomUUID } from 'node:crypto'

// attempt(key, reference, customer) runs one; isLost(error) says whether to try again.
export async function sendRequests (attempt, isLost) {
  const run = randomUUID()
  const numbers = [...Array(Number(process.env.REQUESTS ?? 40)).keys(), 0]
  for (const number of numbers) {
    const reference = `${run}/${number}`
    for (let attempts = 1; ; attempts++) {
      try {
        const { order, stock } = await attempt(reference, reference, `${run} ${number % 4}`)
        console.log('placed', reference, order, stock)
        break
      } catch (error) {
        if (!isLost(error) || attempts === 40) throw error
      }
    }
  }
}
