package worker

import (
	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
)

// refused counts a publish that RabbitMQ did not take, and tells people of the first
// one of its kind.
func (w *Worker) refused(r broker.Refusal) {
	w.metrics.publishRefused(r.Why, r.Consumer)
	if !r.First || w.broker.IsAlert(r) { // an alert of it would be refused, too
		return
	}
	a := holdfast.Alert{Group: w.o.Group, Consumer: r.Consumer, ID: r.Message, Reason: r.Reason}
	switch r.Why {
	case broker.RefusedFull, broker.RefusedUnknown:
		a.Kind, a.Remedy = holdfast.AlertQueueFull, "see docs/runbook/full-queue.md: start the consumer's processes, or more of them, or raise the limit; nothing is lost meanwhile"
	default:
		a.Kind, a.Remedy = holdfast.AlertPublishRefused, "see docs/runbook/refused-publish.md, and `holdfast doctor`, which names the record"
	}
	w.alerts.Alert(a)
}
