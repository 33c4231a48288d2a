// Package activities holds the steps of transactions, of dead letters and of sagas
// as Temporal activities, over ports that the worker fills: the broker, the outcome
// rows, the closures of this process, the Compensate handlers, the functions of
// sagas. It makes no promise of compatibility: only Holdfast's own packages use it.
//
// The fast path runs HalfSend, LocalTransaction and Commit or Rollback as local
// activities of one workflow task; the same functions run as regular activities
// where a step has to wait for a server or another process. Each works on a list
// of transactions, and its answers are per transaction: one member's trouble is
// a value in its answer and never an error of the activity, which would be
// everybody's. Of a cohort, LocalTransaction waits only as long as the quicker
// half of its members makes reasonable (cohort.go).
//
// Every step may be repeated: a half message published twice is held once by
// the Keeper, a local transaction is run once by its outcome row, a message
// delivered twice takes effect once by the consumer's inbox row, a compensation
// runs once by its step row, a compensation notice says the same each time, and a
// saga's step is done once, and undone once, by its step rows.
package activities
