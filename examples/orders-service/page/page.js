// What a client does: make up a key before the first attempt, and send the same request with the
// same key until there is an answer.
'use strict'

const PRODUCTS = [
  { sku: 'tea', name: 'Darjeeling, 100 g', price: 8.9 },
  { sku: 'cup', name: 'Cup, blue', price: 12.5 },
  { sku: 'pot', name: 'Teapot, cast iron', price: 64 },
  { sku: 'sold-out', name: 'Teapot, porcelain', price: 120 }
]
const STATES = ['PENDING', 'PROCESSING', 'SHIPPED', 'DELIVERED']

const $ = id => document.getElementById(id)
const chosen = name => document.querySelector(`input[name=${name}]:checked`).value
const money = amount => Number(amount).toFixed(2)
const plural = number => `${number} order${number === 1 ? '' : 's'}`
const quantities = { tea: 2, cup: 1, pot: 0, 'sold-out': 0 }

let key            // of the request in the basket
let unanswered     // the request that was sent under it, while its answer is not known
let newest         // the order that this page has placed last
let count = null   // of orders, as the database had them last
const payments = new Map()   // keys of payments, by order: another attempt is the same payment

function newKey () {
  // randomUUID() is there on pages that came by way of TLS or from this machine
  key = crypto.randomUUID ? crypto.randomUUID() : Array.from(crypto.getRandomValues(new Uint8Array(16)), b => b.toString(16).padStart(2, '0')).join('')
  unanswered = null
  show()
}

// One attempt. Returns its answer, or null where the line was cut.
async function send (method, path, { body, key, cut, headers = {} } = {}) {
  headers = { Authorization: `Bearer ${chosen('tenant')}`, ...headers }
  if (body !== undefined) headers['Content-Type'] = 'application/json'
  if (key) headers['Idempotency-Key'] = `"${key}"`
  if (cut) headers['Cut-The-Line'] = cut
  try {
    const response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) })
    const text = await response.text()
    return {
      status: response.status,
      replayed: response.headers.get('Idempotent-Replayed') === 'true',
      etag: response.headers.get('ETag'),
      process: /process;desc="(\d+)"/.exec(response.headers.get('Server-Timing'))?.[1],
      value: text ? JSON.parse(text) : null
    }
  } catch (error) {
    if (error instanceof TypeError) return null   // what fetch() throws where there is no answer
    throw error
  }
}

// An attempt that is shown on the line, with what it did to the database.
async function attempt (method, path, options) {
  const before = await look()
  const answer = await send(method, path, options)
  const after = await look()
  const item = $('attempt').content.cloneNode(true).querySelector('li')
  const put = (name, text) => { item.querySelector(`.${name}`).textContent = text }

  put('verb', method)
  put('path', path)
  put('with', options.key ? `Idempotency-Key: "${options.key.slice(0, 8)}…"` : '')
  item.classList.add(!answer ? 'lost' : answer.status < 400 ? 'done' : 'refused')
  item.classList.toggle('is-replay', Boolean(answer?.replayed))
  put('status', answer ? answer.status : 'no answer')
  put('said', !answer ? 'What became of it? The page cannot know.' : answer.status < 400 ? '' : answer.value.title)
  if (!answer) {
    const request = options.cut === 'request'
    item.querySelector(request ? '.out' : '.back').classList.add('cut')
    if (request) item.querySelectorAll('.service, .back').forEach(part => part.classList.add('never'))
  }
  const orders = before === after ? `${plural(after)}, as before` : `${before} → ${plural(after)}`
  const did = !answer ? '' : answer.replayed ? 'The key was there: nothing was written. '
    : answer.status >= 400 ? 'Nothing was changed. '
      : answer.value.charge ? `Charged once: ${answer.value.charge}. `
        : answer.value.outcome ? `The order has version ${answer.value.version}. ` : ''
  put('effect', `${did}In the database: ${orders}.${answer?.process ? ` Answered by process ${answer.process}.` : ''}`)
  $('log').prepend(item)
  $('log-empty').hidden = true
  return answer
}

async function place () {
  const body = unanswered ?? {
    items: PRODUCTS.filter(({ sku }) => quantities[sku]).map(({ sku }) => ({ sku, quantity: quantities[sku] }))
  }
  $('place').disabled = true
  const answer = await attempt('POST', '/orders', { body, key, cut: chosen('cut') })
  document.querySelector('input[name=cut][value=""]').checked = true
  if (!answer || answer.status === 409 && answer.value.type.endsWith('#concurrent') || answer.status >= 500) {
    unanswered = body
    show()
    return
  }
  if (answer.status < 400) newest = answer.value.id
  newKey()
  await look()
}

async function move (order, to, card) {
  // the version says what the step was decided on; a step that is repeated is known by it
  const answer = await attempt('POST', `/orders/${order.id}/transition`, { body: { to }, headers: { 'If-Match': `"${order.version}"` } })
  if (answer && answer.status >= 400) {
    const { title, allowed } = answer.value
    refuse(order.id, `${title}.${allowed ? ` Allowed: ${allowed.join(', ') || 'nothing'}.` : ''}`)
  }
}

async function pay (order) {
  if (!payments.has(order.id)) payments.set(order.id, crypto.randomUUID ? crypto.randomUUID() : `pay-${order.id}-${Date.now()}`)
  const answer = await attempt('POST', '/payments', { body: { order_id: order.id, card: 'tok_visa' }, key: payments.get(order.id), cut: chosen('cut') })
  document.querySelector('input[name=cut][value=""]').checked = true
  if (answer && answer.status >= 400) refuse(order.id, answer.value.title)
  else if (!answer) refuse(order.id, 'No answer: pay again, it is the same payment.')
}

function refuse (id, text) {
  const line = document.querySelector(`article[data-id="${id}"] .refusal`)
  line.textContent = text
  line.hidden = false
}

async function history (order, table) {
  table.hidden = !table.hidden
  if (table.hidden) return
  const { value } = await send('GET', `/orders/${order.id}/history`)
  table.tBodies[0].replaceChildren(...value.map(({ version, from, to, at }) => {
    const row = document.createElement('tr')
    for (const text of [version, from ?? '–', to, at.slice(11, 19)]) row.insertCell().textContent = text
    return row
  }))
}

// Shows the orders as the database has them; returns their number.
async function look () {
  const answer = await send('GET', '/orders')
  if (!answer || answer.status !== 200) return count
  count = answer.value.count
  $('count').textContent = plural(count)
  $('orders-empty').hidden = count > 0
  $('orders').replaceChildren(...answer.value.orders.map(showOrder))
  return count
}

function showOrder (order) {
  const article = $('order').content.cloneNode(true).querySelector('article')
  const put = (name, text) => { article.querySelector(`.${name}`).textContent = text }

  article.dataset.id = order.id
  article.classList.toggle('new', order.id === newest)
  put('id', `Order ${order.id}`)
  put('what', order.items.map(({ sku, quantity }) => `${quantity} ${sku}`).join(', '))
  put('version', `version ${order.version}`)
  put('money', money(order.total))
  if (order.charge) {
    const paid = document.createElement('b')
    paid.textContent = ` paid, ${order.charge}`
    article.querySelector('.money').append(paid)
  }
  article.querySelector('.states').replaceChildren(...STATES.map((state, at) => {
    const item = document.createElement('li')
    const button = document.createElement('button')
    button.type = 'button'
    button.textContent = state
    button.dataset.state = state
    button.disabled = state === order.status
    button.addEventListener('click', () => move(order, state))
    const now = STATES.indexOf(order.status)
    item.className = at < now ? 'past' : at === now ? 'now' : order.next.includes(state) ? 'next' : ''
    item.append(button)
    return item
  }))
  const button = article.querySelector('.pay')
  button.hidden = Boolean(order.charge)
  button.addEventListener('click', () => pay(order))
  article.querySelector('.past.quiet').addEventListener('click', () => history(order, article.querySelector('.history')))
  return article
}

function show () {
  $('key').textContent = `"${key}"`
  $('place').textContent = unanswered ? 'Send it again, with the same key' : 'Place the order'
  $('place').classList.toggle('again', Boolean(unanswered))
  $('new-key').disabled = Boolean(unanswered)
  $('hint').textContent = unanswered
    ? 'No answer came. Was the order placed? Sending it again is safe: the key says that it is the same request.'
    : 'The key is made up before the first attempt.'
  let total = 0
  $('basket').replaceChildren(...PRODUCTS.map(({ sku, name, price }) => {
    const item = document.createElement('li')
    const steps = document.createElement('span')
    const cells = [['span', 'name', name], ['span', 'price', money(price)]].map(([tag, kind, text]) => {
      const cell = document.createElement(tag)
      cell.className = kind
      cell.textContent = text
      return cell
    })
    steps.className = 'quantity'
    const output = document.createElement('output')
    output.textContent = quantities[sku]
    const step = (by, label) => {
      const button = document.createElement('button')
      button.type = 'button'
      button.textContent = label
      button.dataset.sku = sku
      button.setAttribute('aria-label', `${by > 0 ? 'one more' : 'one less'}: ${name}`)
      button.disabled = Boolean(unanswered) || quantities[sku] + by < 0
      button.addEventListener('click', () => { quantities[sku] += by; show() })
      return button
    }
    steps.append(step(-1, '−'), output, step(1, '+'))
    item.append(...cells, steps)
    total += quantities[sku] * price
    return item
  }))
  $('total').textContent = money(total)
  $('place').disabled = !unanswered && total === 0
  for (const input of document.querySelectorAll('input[name=tenant]')) input.disabled = Boolean(unanswered)
}

$('place').addEventListener('click', place)
$('new-key').addEventListener('click', newKey)
for (const input of document.querySelectorAll('input[name=tenant]')) {
  input.addEventListener('change', () => { newest = null; count = null; newKey(); look() })
}
newKey()
look()
