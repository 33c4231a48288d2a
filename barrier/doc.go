// Package barrier keeps outcome rows and inbox rows in PostgreSQL: the truth
// about local transactions, and the memory that makes a delivery's effect
// happen once.
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
//
// What is not known is Unknown, never Rollback: a COMMIT without an answer, a
// lock timeout, a database that cannot be reached.
//
// # Inbox rows
//
// [Consume] runs a consumer's handler in one transaction with the inbox row
// (consumer, message ID). A repeated delivery finds the row, and runs nothing.
//
// # Tables
//
// [Migrate] creates the tables in the first schema of the connection's
// search_path; everything else finds them through it. Statements on them do not
// pass through gorm's callbacks, logger, naming strategy or prepared
// statements, so that no configuration of the caller's gorm changes them.
package barrier
