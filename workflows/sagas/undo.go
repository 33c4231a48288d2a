package sagas

import (
	"github.com/holdfastmq/holdfast/saga/core"
)

// UndoInput completes the input of the workflow that undoes a saga which has ended. in
// says which saga it is, and has the state that it was started with, where that is
// known; known is what its last run knew.
func UndoInput(in Input, known Status, of UndoOf) Input {
	if known.Database != "" {
		in.Database = known.Database
	}
	in.Version, in.Content, in.Undo = known.Version, known.Content, &of
	if len(known.Plan.Steps) > 0 {
		plan := known.Plan
		in.Plan, known.Plan = &plan, core.Plan{} // once: Temporal takes 2 MiB
	}
	if len(known.Core.Data) > 0 {
		in.Data = nil
	}
	known.Answers, known.Since, known.Actions = nil, nil, nil // they ended with it
	in.Resumed = &known
	return in
}
