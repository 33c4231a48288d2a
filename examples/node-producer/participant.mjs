// A participant of sagas: it reserves stock when asked to, and releases it. Whatever
// comes twice, late or in the wrong order has its effect once, because of the step
// row that commits together with it.
import { Unroutable } from './holdfast.mjs';
import { open, untilInterrupted } from './open.mjs';
import { inTransaction } from './outcomes.mjs';

const TABLES = `
  CREATE TABLE IF NOT EXISTS saga_steps (
    saga text, step text,
    state text NOT NULL DEFAULT 'new', -- new, done, refused, undone or blocked
    reason text, result jsonb,
    PRIMARY KEY (saga, step)
  );
  CREATE TABLE IF NOT EXISTS reservations (saga text PRIMARY KEY, item text NOT NULL, quantity int NOT NULL)`;

/** A business refusal: nothing was done, and asking again will not help. */
class Refused extends Error {}

async function reserve(db, saga, { item, quantity }) {
  if (quantity > 10) throw new Refused(`only 10 of ${item} are left`);
  await db.query('INSERT INTO reservations VALUES ($1, $2, $3)', [saga, item, quantity]);
  return { reserved: quantity };
}

async function release(db, saga) {
  await db.query('DELETE FROM reservations WHERE saga = $1', [saga]);
}

// handleCall returns the outcome of a call, after its transaction.
async function handleCall(pool, { saga, step, op, again, input }) {
  let reply;
  await inTransaction(pool, async (db) => {
    await db.query('INSERT INTO saga_steps (saga, step) VALUES ($1, $2) ON CONFLICT DO NOTHING', [saga, step]);
    const { rows: [row] } = await db.query('SELECT * FROM saga_steps WHERE saga = $1 AND step = $2 FOR UPDATE', [saga, step]);
    const keep = async (state, outcome, { reason, result } = {}) => {
      await db.query('UPDATE saga_steps SET state = $3, reason = $4, result = $5 WHERE saga = $1 AND step = $2',
        [saga, step, state, reason, result && JSON.stringify(result)]);
      reply = { outcome, reason, result };
    };
    if (op === 'undo') {
      if (row.state === 'undone') return keep('undone', 'done');
      if (row.state !== 'done') return keep('blocked', 'blocked', { reason: 'it was never done' }); // nor will it be
      await release(db, saga);
      return keep('undone', 'done');
    }
    if (row.state === 'undone' || row.state === 'blocked') {
      reply = { outcome: 'blocked', reason: 'it was undone before' };
    } else if (row.state === 'done' || (row.state === 'refused' && !again)) {
      reply = { outcome: row.state, reason: row.reason ?? undefined, result: row.result ?? undefined };
    } else {
      await db.query('SAVEPOINT work');
      try {
        await keep('done', 'done', { result: await reserve(db, saga, input) });
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        await db.query('ROLLBACK TO SAVEPOINT work');
        await keep('refused', 'refused', { reason: error.message });
      }
    }
  });
  return reply;
}

const { holdfast, pool } = await open();
const { prefix } = holdfast;
await inTransaction(pool, async (db) => {
  await db.query('SELECT pg_advisory_xact_lock(7210)');
  await db.query(TABLES);
});

const queue = `${prefix}.q.node-stock`;
const declare = async (channel) => {
  await holdfast.declare(queue, channel);
  await channel.assertExchange(`${prefix}.topics`, 'topic');
  await channel.assertExchange(`${prefix}.queues`, 'direct');
  await channel.bindQueue(queue, `${prefix}.queues`, queue); // for redeliveries
  for (const topic of ['stock.reserve', 'stock.release']) await channel.bindQueue(queue, `${prefix}.topics`, topic);
};
await holdfast.consume(queue, 10, declare, async (delivery) => {
  const { properties, content, fields } = delivery;
  const header = (name) => properties.headers[`holdfast-${name}`];
  const saga = header('saga');
  if (!saga) return; // no saga's call
  holdfast.check(delivery);
  const op = header('op');
  const reply = await handleCall(pool, { saga, step: header('step'), op, again: header('again') === '1', input: JSON.parse(content) });
  await sendReply(properties.replyTo, header('replies'), {
    correlationId: properties.messageId,
    messageId: `${properties.messageId}.reply`,
    headers: { 'holdfast-kind': 'reply', 'holdfast-version': '1', 'holdfast-saga': saga },
  }, { v: 1, saga, workflow: header('saga-workflow'), step: header('step'), undo: op === 'undo', participant: 'stock in Node',
    token: header('token'), topic: fields.exchange === `${prefix}.queues` ? header('routing-key') : fields.routingKey, // a redelivery's is the queue's name
    ...reply });
  console.log(`${op} ${reply.outcome} ${saga}`);
});
console.log('taking part');
await untilInterrupted({ holdfast, pool });

// sendReply tries the queue of the process that waits, and then the group's. It makes
// neither: whoever may publish a call could have any queues made.
async function sendReply(fast, durable, properties, body) {
  for (const to of [fast, durable]) {
    if (!to?.startsWith(`${prefix}.replies.`)) continue;
    try {
      return await holdfast.reply(to, body, properties);
    } catch (error) {
      if (!(error instanceof Unroutable)) throw error;
    }
  }
  throw new Error(`no queue takes the reply to ${properties.correlationId}`);
}
