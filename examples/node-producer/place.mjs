// Places an order: `node place.mjs CUSTOMER AMOUNT`. The order is in the database
// if and only if order.placed is delivered.
import { randomUUID } from 'node:crypto';
import { parseArgs } from 'node:util';
import { open } from './open.mjs';
import { createTables, localTransaction } from './outcomes.mjs';

const { values, positionals: [customer, amount] } = parseArgs({
  allowPositionals: true,
  options: { 'stop-after': { type: 'string' } }, // half or commit: to try what happens to whoever dies there
});
if (!customer || !amount) {
  console.error('usage: node place.mjs CUSTOMER AMOUNT [--stop-after half|commit]');
  process.exit(2);
}

const { holdfast, pool } = await open();
await createTables(pool);

const tx = randomUUID();
const messages = [{ topic: 'order.placed', key: customer, content_type: 'application/json', text: JSON.stringify({ customer, amount }) }];

// 1. The half message. If it cannot be stored, nothing has happened.
await holdfast.half(tx, messages);
await stopHere('half');

// 2. The local transaction. The database makes the order's number, so the message
// is completed here; the outcome row keeps it for a check-back.
const outcome = await localTransaction(pool, tx, messages, async (db, [message]) => {
  const { rows: [order] } = await db.query('INSERT INTO customer_orders (customer, amount) VALUES ($1, $2) RETURNING number', [customer, amount]);
  return [{ ...message, text: JSON.stringify({ number: Number(order.number), customer, amount: Number(amount) }) }];
});
if (outcome.resolution === 'commit') await stopHere('commit');

// 3. The messages, and 4. the op record. Whatever is not reached, a check-back
// does later.
switch (outcome.resolution) {
  case 'commit':
    try {
      await holdfast.publish(tx, outcome.messages);
      holdfast.settle(tx, 'commit');
      console.log(`placed ${tx}`);
    } catch (error) {
      console.log(`placed ${tx}, delivery pending: ${error.message}`);
    }
    break;
  case 'rollback':
    holdfast.settle(tx, 'rollback');
    console.log(`refused ${tx}: ${outcome.error.message}`);
    process.exitCode = 1;
    break;
  default: // do not place it again: it ends as the database says
    console.log(`undecided ${tx}: ${outcome.error.message}`);
    process.exitCode = 1;
}
await holdfast.close();
await pool.end();

async function stopHere(where) {
  if (values['stop-after'] !== where) return;
  console.log(`stopped after ${where} ${tx}`);
  await new Promise(() => setInterval(() => {}, 60_000)); // until it is killed
}
