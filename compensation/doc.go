// Package compensation undoes, inside a Temporal workflow written by hand, what
// was done before a failure: a last-in-first-out stack of compensations.
//
//	func Trip(ctx workflow.Context, t TripOrder) (err error) {
//		var undo compensation.Stack
//		defer func() { err = undo.RunAfter(ctx, err) }()
//
//		compensation.Add(&undo, "cancel the hotel", CancelHotel, t.ID)
//		if err := workflow.ExecuteActivity(ctx, BookHotel, t).Get(ctx, nil); err != nil {
//			return err
//		}
//		compensation.Add(&undo, "cancel the flight", CancelFlight, t.ID)
//		return workflow.ExecuteActivity(ctx, BookFlight, t).Get(ctx, nil)
//	}
//
// Add before the action, not after: an action whose result was lost may have
// happened. So a compensation must be able to find nothing to undo, and to be run
// more than once; a booking's own number, made before, tells it what to look for.
//
// Compensations run on a context that a cancellation of the workflow does not
// reach. One that fails does not keep the others from running, and stays on the
// stack. In the Temporal UI each activity has its compensation's name as summary.
//
// # How a workflow ends whose compensation failed
//
// Temporal closes a workflow as canceled if what it returns wraps a
// [temporal.CanceledError], whatever else is joined to it. With errors.Join(err,
// undo.Run(ctx)) a cancelled workflow whose compensation failed is listed as
// canceled, and nobody sees what is left. [Stack.RunAfter] returns an error of the
// type [FailedType] instead, with the [Report] in its details.
//
// # Panics
//
// An activity that panics has failed, and is tried again by its retry policy. A
// panic of workflow code is not caught, neither here nor elsewhere in a workflow:
// Temporal repeats the workflow task until a version of the program is deployed
// that does not panic. The stack is rebuilt by replay, and nothing is run twice or
// left out.
//
//	stack.go   Stack, and what is put on it
//	run.go     undoing
//	report.go  what was undone and what was not
package compensation
