package worker

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/saga"
)

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

// registered says that something was registered in a process that only sends. nil: nothing
// was.
func (w *Worker) registered() error {
	var what []string
	for _, r := range []struct {
		method string
		n      int
	}{{"Consume", len(w.consumers)}, {"Participate", len(w.participants)}, {"Saga", len(w.sagas.defs.All())},
		{"Local", len(w.handlers)}, {"Activity", len(w.activities)},
		{"Compensate", len(w.compensations)}} {
		if r.n > 0 {
			what = append(what, r.method)
		}
	}
	if len(what) == 0 {
		return nil
	}
	return fmt.Errorf("%w: Options.SendOnly excludes %s: register that in the processes of the group "+
		"that do not only send", holdfast.ErrInvalid, strings.Join(what, ", "))
}

// Local registers local under name, for [Worker.Start] and for anybody who
// starts the workflow. Call it before Run.
func (w *Worker) Local(name string, local Local) {
	if name == "" || local == nil {
		w.problem(fmt.Errorf("%w: Local needs a name and a local transaction", holdfast.ErrInvalid))
		return
	}
	if _, there := w.handlers[name]; there {
		w.problem(fmt.Errorf("%w: handler %q is registered twice", holdfast.ErrInvalid, name))
		return
	}
	w.handlers[name] = w.traced(func(ctx context.Context, tx *gorm.DB,
		ms []*holdfast.Message) error {
		return local(ctx, tx, ms[0])
	})
}

// Check registers c for the transactions whose first message has the topic: it
// answers their check-backs instead of the outcome row. A process that only sends is not
// asked, but has to know of it if it sends to the topic. Call it before Run.
func (w *Worker) Check(topic string, c holdfast.Checker) {
	if topic == "" || c == nil {
		w.problem(fmt.Errorf("%w: Check needs a topic and a Checker", holdfast.ErrInvalid))
		return
	}
	if err := (holdfast.Message{Topic: topic}).Validate(); err != nil {
		w.problem(fmt.Errorf("Check %q: %w: name one topic, as messages have it", topic, err))
		return
	}
	w.checkers[topic] = c
}

// Activity registers f, a Temporal activity, under name with the group's own task
// queue, where a saga's activity step finds it that names no other. f is called
// with a [saga.ActivityInput] and may be run more than once; the application error
// of type "Refused" is a refusal. Call it before Run.
func (w *Worker) Activity(name string, f any) {
	t := reflect.TypeOf(f)
	fits := t != nil && t.Kind() == reflect.Func && t.NumOut() > 0 && t.Out(t.NumOut()-1) == reflect.TypeFor[error]()
	switch {
	case name == "" || !fits:
		w.problem(fmt.Errorf("%w: Activity needs a name and a function that returns an error last", holdfast.ErrInvalid))
	case w.activities[name] != nil || slices.Contains(activities.Names, name):
		w.problem(fmt.Errorf("%w: activity %q is registered twice, or one of Holdfast's own: give it another name",
			holdfast.ErrInvalid, name))
	default:
		w.activities[name] = f
	}
}
