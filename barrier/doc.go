// Package barrier keeps outcome rows, inbox rows and step rows in PostgreSQL:
// the truth about local transactions, and the memory that makes the effect of a
// delivery, and of a step, happen once.
//
// # Outcome rows
//
// [Run] runs a local transaction. Its first statement inserts the outcome row
// (transaction, commit), so that the row is there exactly if the local
// transaction is committed. [CheckBack] inserts (transaction, rollback) under
// the same key, if no row is there, and reads the row that is. PostgreSQL makes
// either insert wait for the other's transaction. So whoever comes first
// decides, once for all: a check-back that answers Rollback makes any later
// commit of that local transaction fail.
//
//	local transaction                check-back
//	BEGIN                            BEGIN
//	INSERT (tx, commit)   ──first──▶ INSERT (tx, rollback)  waits, at most its lock timeout
//	the caller's writes
//	COMMIT                ─────────▶ inserts nothing, reads commit
//	or ROLLBACK           ─────────▶ inserts, COMMIT: rollback
//
// [Insert] and [StoreMessages] are the same for a transaction that the caller
// begins and commits (the split form). [Decide] is an operator's check-back.
// [CheckBackAll] checks back many at once: one round trip, in which a local
// transaction that is still open keeps none of the others from its answer.
//
// What is not known is Unknown, never Rollback: a COMMIT without an answer, a
// lock timeout, a database that cannot be reached.
//
// # Inbox rows
//
// [Consume] runs a consumer's handler in one transaction with the inbox row
// (consumer, message ID). A repeated delivery finds the row, and runs nothing.
//
// [Undo] undoes a message's effect for a consumer that gets a compensation
// notice. It inserts the inbox row of the message itself: if that row is there,
// there is an effect to undo; if not, the message is blocked from now on.
//
//	Consume, the message             Undo, the notice
//	BEGIN                            BEGIN
//	INSERT (consumer, message)       INSERT (consumer, notice)
//	the handler's writes  ──first──▶ INSERT (consumer, message)  waits for COMMIT or ROLLBACK
//	COMMIT                ─────────▶ inserts nothing: runs the undo, COMMIT
//	or ROLLBACK           ─────────▶ inserts, COMMIT: the message is blocked
//
// # Step rows
//
// [Step] runs a step, such as a producer's compensation, in one transaction with
// the step row (owner, step, do or undo). A step that is run again finds the
// row, and runs nothing.
//
// [DoStep] and [UndoStep] are the two sides of a saga's step. The do row keeps
// what the step answered, for whoever asks again, or that it refused. UndoStep
// inserts the do row itself: if it is there, there is an effect to undo; if not,
// the step is blocked from now on, and a Do that comes late finds it so.
//
//	DoStep                           UndoStep
//	BEGIN                            BEGIN
//	INSERT (saga, step, do)          INSERT (saga, step, undo)
//	the step's writes     ──first──▶ INSERT (saga, step, do)  waits for COMMIT or ROLLBACK
//	UPDATE the row's result
//	COMMIT                ─────────▶ inserts nothing: runs the undo, COMMIT
//	or ROLLBACK           ─────────▶ inserts, COMMIT: the step is blocked
//
// A step that refuses is rolled back, and its do row inserted by itself. An Undo
// that finds a refusal makes a block of it. A Do for which the refusal does not
// count any more changes the row before it runs, if it is still as it was: so
// either it finds the block, or the Undo waits for it.
//
// # Tables
//
// [Migrate] creates the tables in the first schema of the connection's
// search_path; everything else finds them through it, as it is when a transaction
// begins: a function may set another one. Statements on them do not pass
// through gorm's callbacks, logger, naming strategy or prepared statements, so that
// no configuration of the caller's gorm changes them.
//
// # The handle
//
// The transaction that a function is given is one of the application's own pool, as
// db.Transaction would have begun it: whatever works there works here (hooks,
// savepoints, prepared statements, tx.DB(), a [database/sql.Tx] for WithTx). The
// function is called in a goroutine of its own, and whatever it does instead of
// returning is an error of that call. docs/decisions/own-pool.md says what that costs.
//
// COMMIT is sent only while the connection is in the transaction that was begun. On
// pgx's own pool, as gorm.io/driver/postgres makes it, that is seen without a round
// trip: the row's statement also sets default_transaction_read_only for this
// transaction only. That means nothing for it, ends with it, and PostgreSQL tells the
// client of both.
package barrier
