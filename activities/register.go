package activities

import (
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"
)

// Names are the names of all steps, which no other activity on a group's task queue
// can have.
var Names = []string{HalfSend, LocalTransaction, LocalTransactionInProcess, LocalTransactionsInProcess,
	Commit, CommitUntilConfirmed, Rollback, CheckBack, CheckBackAll, Decide,
	Redeliver, Compensate, Notify, Alert, SagaPlan, SagaDo, SagaUndo, SagaPrepare, SagaReceive, SagaOwn,
	SagaRound, SagaLeave}

// Register registers all steps with w, the worker of the producer group's task
// queue.
func (a *Transactions) Register(w worker.ActivityRegistry) {
	for name, step := range map[string]any{
		HalfSend:             a.HalfSend,
		LocalTransaction:     a.LocalTransaction,
		Commit:               a.Commit,
		CommitUntilConfirmed: a.CommitUntilConfirmed,
		Rollback:             a.Rollback,
		CheckBack:            a.CheckBack,
		CheckBackAll:         a.CheckBackAll,
		Decide:               a.Decide,
	} {
		w.RegisterActivityWithOptions(step, activity.RegisterOptions{Name: name})
	}
	registerAlert(w, a.Alerts)
	a.RegisterInstance(w)
}

// RegisterInstance registers the steps that run on a process's own task queue.
func (a *Transactions) RegisterInstance(w worker.ActivityRegistry) {
	w.RegisterActivityWithOptions(a.LocalTransactionInProcess, activity.RegisterOptions{Name: LocalTransactionInProcess})
	w.RegisterActivityWithOptions(a.LocalTransactionsInProcess, activity.RegisterOptions{Name: LocalTransactionsInProcess})
}
