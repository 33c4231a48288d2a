package core_test

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/holdfastmq/holdfast/saga/core"
)

// The machine decides; whoever drives it does what it wants done, and tells it how
// that ended.
func ExampleMachine() {
	plan, err := core.Plan{Name: "trip", Steps: []core.Step{
		{Name: "book-flight", Kind: core.Local, Undo: true},
		{Name: "charge", Kind: core.Message, Topic: "card.charge", UndoTopic: "card.refund", Undo: true},
	}}.Complete()
	if err != nil {
		fmt.Println(err)
		return
	}
	m := core.New(&plan, json.RawMessage(`{}`))
	show := func(effects []core.Effect, err error) {
		for _, e := range effects {
			fmt.Println(e.Kind, e.Step.Name)
		}
		if err != nil {
			fmt.Println(err)
		}
	}
	now := time.Now()
	show(m.Begin(now), nil)
	show(m.Apply(core.Event{Kind: core.DoEnded, At: now, Step: "book-flight", Outcome: core.Outcome{Kind: core.OutcomeDone, Patch: json.RawMessage(`{"seat":"3A"}`)}}))
	show(m.Apply(core.Event{Kind: core.DoEnded, At: now, Step: "charge", Outcome: core.Outcome{Kind: core.OutcomeRefused, Error: "card declined"}}))
	show(m.Apply(core.Event{Kind: core.UndoEnded, At: now, Step: "book-flight", Outcome: core.Outcome{Kind: core.OutcomeDone}}))
	fmt.Println(m.Standing(), m.State().Cause.Reason)
	// Output:
	// do book-flight
	// do charge
	// undo book-flight
	// compensated card declined
}
