package worker

import (
	"context"
	"fmt"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
)

// Handle registers local under name, for [Worker.Start] and for anybody who
// starts the workflow. Call it before Run.
func (w *Worker) Handle(name string, local Local) {
	if name == "" || local == nil {
		w.problem(fmt.Errorf("%w: Handle needs a name and a local transaction", holdfast.ErrInvalid))
		return
	}
	if _, there := w.handlers[name]; there {
		w.problem(fmt.Errorf("%w: handler %q is registered twice", holdfast.ErrInvalid, name))
		return
	}
	w.handlers[name] = func(ctx context.Context, tx *gorm.DB, ms []*holdfast.Message) error { return local(ctx, tx, ms[0]) }
}

// Check registers c for the transactions whose first message has the topic: it
// answers their check-backs instead of the outcome row. Call it before Run.
func (w *Worker) Check(topic string, c holdfast.Checker) {
	if topic == "" || c == nil {
		w.problem(fmt.Errorf("%w: Check needs a topic and a Checker", holdfast.ErrInvalid))
		return
	}
	w.checkers[topic] = c
}

// checker returns the Checker for the transaction of ms, or nil.
func (w *Worker) checker(ms []holdfast.Message) holdfast.Checker {
	return w.checkers[ms[0].Topic]
}
