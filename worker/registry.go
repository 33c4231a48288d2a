package worker

import "github.com/holdfastmq/holdfast/saga"

// Registry is where a service registers what it does: a [Worker], or, in tests of
// several services together, a Service of package holdfasttest. A package whose
// participants others want to test with has a function such as
//
//	func Register(r worker.Registry) {
//		r.Participate(worker.Participant{Topic: "stock.reserve", UndoTopic: "stock.release", Do: reserve, Undo: release})
//	}
type Registry interface {
	Saga(def saga.Definition)
	Participate(p Participant)
	Consume(c Consumer)
	Compensate(topic string, do Compensation)
	Activity(name string, f any)
}

var _ Registry = (*Worker)(nil)
