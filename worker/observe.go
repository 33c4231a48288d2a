package worker

import (
	"errors"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/workflows"
)

// observe makes metrics and alerts of what happens to this process's consumers.
// It never blocks.
func (w *Worker) observe(e broker.Event) {
	switch e.Kind {
	case broker.EventAttemptOK:
		w.metrics.attempted(e.Consumer, "")
	case broker.EventAttemptFailed, broker.EventLost:
		w.metrics.attempted(e.Consumer, e.Class)
	case broker.EventRetry:
		w.metrics.retried(e.Consumer)
		if e.Long {
			w.retryWaits(e)
		}
	case broker.EventDead:
		w.metrics.died(e.Consumer, e.Class)
	case broker.EventBreaker:
		w.breakerChanged(e)
	}
}

// breakerChanged tells when a consumer pauses and when it goes on, not of each
// probe in between.
func (w *Worker) breakerChanged(e broker.Event) {
	paused := w.paused[e.Consumer]
	switch e.Breaker {
	case broker.BreakerOpen:
		w.metrics.breaker(e.Consumer, breakerIsOpen)
		if paused.begin(w.breakerLong, func(since time.Time) { w.breakerStays(e, since) }) {
			w.alerts.Alert(holdfast.Alert{Kind: holdfast.AlertBreakerOpened, Consumer: e.Consumer, Reason: e.Reason,
				Remedy: "mend what the consumer depends on; it goes on by itself"})
		}
	case broker.BreakerProbing:
		w.metrics.breaker(e.Consumer, breakerIsProbing)
	default:
		w.metrics.breaker(e.Consumer, breakerIsClosed)
		if paused.end() {
			w.alerts.Alert(holdfast.Alert{Kind: holdfast.AlertBreakerClosed, Consumer: e.Consumer})
		}
	}
}

// Alert passes an alert of a workflow on.
func (s steps) Alert(a holdfast.Alert) {
	switch a.Kind {
	case holdfast.AlertWaiting:
		s.w.metrics.waitedLong(a.Topic)
		if !s.w.longWaits.due(a.Group+" "+a.Topic, s.w.now()) {
			return
		}
	case holdfast.AlertDeliveryWaits:
		s.w.metrics.deliveryWaited(a.Topic)
		if !s.w.longWaits.begins("delivery "+a.Group, s.w.now()) {
			return
		}
	}
	if a.Parked {
		kind := parkedTransaction
		if id, _ := workflows.ParseID(a.WorkflowID); id.Kind == workflows.KindSaga {
			kind = parkedSaga
			s.w.sagas.ends.look(a.ID)
		} else if a.Consumer != "" || a.Class != "" {
			kind = parkedDeadLetter
		}
		s.w.metrics.parked(kind)
	}
	s.w.alerts.Alert(a)
}

// counted counts the answer to the caller of a transaction, and passes it on.
func (w *Worker) counted(lane holdfast.Lane) func(holdfast.Receipt, error) (holdfast.Receipt, error) {
	return func(receipt holdfast.Receipt, err error) (holdfast.Receipt, error) {
		w.metrics.answered(lane, answerName(receipt, err))
		return receipt, err
	}
}

// answerName names what a caller was told: commit, rollback, pending, undecided, or
// refused where nothing was run.
func answerName(receipt holdfast.Receipt, err error) string {
	switch {
	case err == nil:
		return receipt.Resolution.String()
	case errors.Is(err, holdfast.ErrUndecided):
		return "undecided"
	case errors.Is(err, holdfast.ErrDeliveryPending):
		return "pending"
	case errors.Is(err, holdfast.ErrRolledBack):
		return holdfast.Rollback.String()
	}
	return "refused"
}
