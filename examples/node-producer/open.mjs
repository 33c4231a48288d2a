// What every program here connects to, from the environment.
import pg from 'pg';
import { Holdfast } from './holdfast.mjs';
import { Signer } from './sign.mjs';

export async function open() {
  const { AMQP_URL, DATABASE_URL, HOLDFAST_PREFIX, HOLDFAST_GROUP = 'orders', HALF_QUEUES = '1', HOLDFAST_DECLARE, HOLDFAST_ROLLING_UPGRADE, HOLDFAST_SIGNING_KEYRING, HOLDFAST_SIGNING } = process.env;
  if (!AMQP_URL || !DATABASE_URL) {
    console.error('set AMQP_URL and DATABASE_URL');
    process.exit(2);
  }
  const pool = new pg.Pool({ connectionString: DATABASE_URL, max: 10, connectionTimeoutMillis: 5000 });
  pool.on('error', (error) => console.error(`PostgreSQL: ${error.message}`)); // the pool connects again
  const holdfast = await Holdfast.connect({
    url: AMQP_URL, group: HOLDFAST_GROUP, prefix: HOLDFAST_PREFIX, halfQueues: Number(HALF_QUEUES),
    declare: HOLDFAST_DECLARE !== '0', rollingUpgrade: HOLDFAST_ROLLING_UPGRADE === '1',
    signer: new Signer(HOLDFAST_SIGNING === 'off' ? undefined : HOLDFAST_SIGNING_KEYRING, HOLDFAST_SIGNING === 'required'),
  });
  holdfast.on('lost', (error) => console.error(`RabbitMQ: ${error.message}; connecting again`));
  return { holdfast, pool };
}

/** Runs until Ctrl-C or SIGTERM, and then closes everything. */
export async function untilInterrupted({ holdfast, pool }) {
  await new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, resolve);
  });
  await holdfast.close();
  await pool.end();
}
