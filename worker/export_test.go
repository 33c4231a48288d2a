package worker

import (
	"context"
	"time"

	"go.temporal.io/sdk/client"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga/core"
)

// NameOf is a host's name as an instance's may be.
var NameOf = nameOf

// BePatient makes cohorts wait for every local transaction, however slow the
// machine is. Call it before Run.
func (w *Worker) BePatient() { w.patience = time.Hour }

// HoldCohorts makes every Send gather until release is called.
func (w *Worker) HoldCohorts() (release func()) { return w.lanes.Hold() }

// Gathered returns how many Sends wait for the next cohort.
func (w *Worker) Gathered() int { return w.lanes.Gathered() }

// HoldSagas makes every saga that may share a workflow gather until release is called.
func (w *Worker) HoldSagas() (release func()) { return w.sagas.handles.HoldCohorts() }

// AwaitSagas makes sagas that this process runs wait for replies, and for each other, however slow
// the machine is. Call it before Run.
func (w *Worker) AwaitSagas() { w.sagas.express.Patience = 30 * time.Second }

// CountSlowCohorts has a cohort of sagas count as in flight for d where its members are slow. Call it
// before Run.
func (w *Worker) CountSlowCohorts(d time.Duration) { w.sagas.handles.Grace = d }

// SagaCallers returns how many callers of this process wish to know how a saga ends.
func (w *Worker) SagaCallers(id string) int { return w.sagas.handles.Callers(id) }

// SagaRoom returns how many sagas more this process may run.
func (w *Worker) SagaRoom() int {
	running, most := w.sagas.express.Load()
	return most - running
}

// SagasHere returns how many sagas this process runs without a workflow of their own.
func (w *Worker) SagasHere() int { return w.sagas.express.Count() }

// GatheredSagas returns how many sagas wait for the next cohort.
func (w *Worker) GatheredSagas() int { return w.sagas.handles.GatheredSagas() }

// SetClock makes this process's clock another one, and has it compared, and old
// rows deleted, every time that d has passed. Call it before Run.
func (w *Worker) SetClock(now func() time.Time, d time.Duration) {
	w.databases.Now, w.observer.Now, w.databases.ClockEvery, w.databases.SweepEvery = now, now, d, d
}

// DatabaseIdentity is the identity of the worker's own database.
func (w *Worker) DatabaseIdentity() string { return w.databases.Own() }

// OutcomesNeeded reports whether old outcome rows are kept.
func (w *Worker) OutcomesNeeded() bool { return w.keeper.OutcomesNeeded(context.Background()) }

// LookAgainAfter is when the processes are asked again after one with this one's name
// was found. Call it before Run.
func (w *Worker) LookAgainAfter(d time.Duration) { w.peers.LookAgain = d }

// WatchKeepersEvery is how often a process that only sends looks for Keepers; it tells
// people at once. Call it before Run.
func (w *Worker) WatchKeepersEvery(d time.Duration) { w.keeper.LookEvery, w.keeper.Grace = d, 0 }

// Measure gives a gauge a value.
func (w *Worker) Measure() { w.metrics.Connected(true) }

// MeasureNames counts a saga, a wait of it and a late transaction, of these names.
func (w *Worker) MeasureNames(saga, participant, topic string) {
	w.metrics.SagaStarted(saga)
	w.metrics.WaitedLong(participant)
	w.metrics.DeliveryWaited(topic)
}

// Raise raises an alert, as something in this process would.
func (w *Worker) Raise(a holdfast.Alert) { w.alerts.Alert(a) }

// TemporalClient is the worker's client of Temporal; nil if it has none.
func (w *Worker) TemporalClient() client.Client { return w.o.Temporal }

// NamesSteps reports whether the activities of a saga that is begun in this process are
// named after its steps.
func (w *Worker) NamesSteps(plan core.Plan) bool { return w.stepNames(plan) }
