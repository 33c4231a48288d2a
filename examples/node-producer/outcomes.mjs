// The outcome row: the truth about a local transaction, in the producer's own
// database. Its first writer wins: the local transaction, or a check-back.

const TABLES = `
  CREATE TABLE IF NOT EXISTS outcomes (
    tx_id text PRIMARY KEY,
    resolution text NOT NULL CHECK (resolution IN ('commit', 'rollback')),
    messages jsonb, -- where the local transaction changed them
    created_at timestamptz NOT NULL DEFAULT now()
  );
  CREATE TABLE IF NOT EXISTS customer_orders (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer text NOT NULL,
    amount bigint NOT NULL CHECK (amount > 0)
  )`;

export async function createTables(pool) {
  // One at a time: CREATE TABLE IF NOT EXISTS fails if two run at once.
  await inTransaction(pool, async (db) => {
    await db.query('SELECT pg_advisory_xact_lock(7210)');
    await db.query(TABLES);
  });
}

/**
 * Runs the local transaction tx: work(db, messages) makes its writes, and may
 * return the messages completed, with the same topics. It returns
 * { resolution, messages, error }; 'unknown' where the answer to COMMIT was lost.
 */
export async function localTransaction(pool, tx, messages, work) {
  const outcome = { resolution: 'rollback', messages };
  try {
    await inTransaction(pool, async (db) => {
      // First of all: from here on, a check-back waits for this transaction.
      const { rowCount } = await db.query("INSERT INTO outcomes (tx_id, resolution) VALUES ($1, 'commit') ON CONFLICT DO NOTHING", [tx]);
      if (rowCount === 0) {
        const row = await read(db, tx);
        if (row.resolution === 'rollback') throw new Error('a check-back has rolled this transaction back');
        outcome.messages = row.messages ?? messages; // it ran before
        return;
      }
      const changed = await work(db, messages);
      if (changed) {
        await db.query('UPDATE outcomes SET messages = $2 WHERE tx_id = $1', [tx, JSON.stringify(changed)]);
        outcome.messages = changed;
      }
    });
    outcome.resolution = 'commit';
  } catch (error) {
    outcome.error = error;
    if (error instanceof CommitUnknown) outcome.resolution = 'unknown';
  }
  return outcome;
}

/**
 * Answers a check-back: if nothing is committed, nothing ever will be. Whatever
 * goes wrong is no answer, never 'rollback'.
 */
export async function checkBack(pool, tx) {
  let row;
  await inTransaction(pool, async (db) => {
    await db.query("SET LOCAL lock_timeout = '250ms'"); // of 200 transactions, some may be locked
    await db.query("INSERT INTO outcomes (tx_id, resolution) VALUES ($1, 'rollback') ON CONFLICT DO NOTHING", [tx]);
    row = await read(db, tx); // a statement of its own: it sees what was waited for
  });
  return { resolution: row.resolution, messages: row.messages ?? undefined };
}

async function read(db, tx) {
  const { rows } = await db.query('SELECT resolution, messages FROM outcomes WHERE tx_id = $1', [tx]);
  return rows[0];
}

/** The answer to COMMIT was lost: it may or may not have happened. */
export class CommitUnknown extends Error {}

/** Runs f in a database transaction. */
export async function inTransaction(pool, f) {
  const db = await pool.connect();
  let broken = true;
  try {
    await db.query('BEGIN');
    try {
      await f(db);
    } catch (error) {
      await db.query('ROLLBACK').then(() => { broken = false; }, () => {}); // a lost connection rolls back, too
      throw error;
    }
    const { command } = await db.query('COMMIT').catch((error) => {
      throw new CommitUnknown(`the answer to COMMIT was lost: ${error.message}`);
    });
    broken = false;
    // PostgreSQL answers so where an error inside of f was swallowed.
    if (command !== 'COMMIT') throw new Error('the database rolled back: a statement had failed');
  } finally {
    db.release(broken);
  }
}
