// Answers check-backs for the producer group, for every process of it that died.
// Run one or more of these, or do the same inside of each producer.
import { open, untilInterrupted } from './open.mjs';
import { checkBack, createTables } from './outcomes.mjs';

const parts = await open();
await createTables(parts.pool);
await parts.holdfast.answerCheckBacks(async (tx) => {
  const answer = await checkBack(parts.pool, tx);
  console.log(`answered ${tx}: ${answer.resolution}`);
  return answer;
});
console.log('answering');
await untilInterrupted(parts);
