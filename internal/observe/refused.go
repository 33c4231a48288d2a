package observe

import (
	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
)

// Refused counts a publish that RabbitMQ did not take, and tells people of the first
// one of its kind. isAlert says that an alert was to be published: an alert of that would
// be refused, too.
func (o *Observer) Refused(r broker.Refusal, isAlert bool) {
	o.metrics.PublishRefused(r.Why, r.Consumer)
	if !r.First || isAlert {
		return
	}
	a := holdfast.Alert{Group: o.group, Consumer: r.Consumer, ID: r.Message, Reason: r.Reason}
	switch r.Why {
	case broker.RefusedFull, broker.RefusedUnknown:
		a.Kind, a.Remedy = holdfast.AlertQueueFull, "see docs/runbook/full-queue.md: start the consumer's processes, or "+
			"more of them, or raise the limit; nothing is lost meanwhile"
	default:
		a.Kind, a.Remedy = holdfast.AlertPublishRefused, "see docs/runbook/refused-publish.md, and `holdfast doctor`, "+
			"which names the record"
	}
	o.alerts.Alert(a)
}
