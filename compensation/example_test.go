package compensation_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfastmq/holdfast/compensation"
)

// execute runs a workflow without a server.
func execute(body func(workflow.Context) error) error {
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestWorkflowEnvironment()
	env.RegisterWorkflowWithOptions(body, workflow.RegisterOptions{Name: "body"})
	env.RegisterActivity(CancelHotel)
	env.RegisterActivity(CancelSeats)
	env.ExecuteWorkflow("body")
	return env.GetWorkflowError()
}

func CancelHotel(_ context.Context, booking string) error {
	fmt.Println("hotel cancelled:", booking)
	return nil
}

type Seats struct {
	Flight string
	Count  int
}

func CancelSeats(_ context.Context, s Seats) error {
	fmt.Printf("%d seats of %s cancelled\n", s.Count, s.Flight)
	return nil
}

func ExampleStack() {
	_ = execute(func(ctx workflow.Context) error {
		var undo compensation.Stack
		undo.Push("cancel the hotel", func(workflow.Context) error { fmt.Println("hotel cancelled"); return nil })
		fmt.Println("hotel booked")
		undo.Push("cancel the flight", func(workflow.Context) error { fmt.Println("flight cancelled"); return nil })
		err := errors.New("no seats")
		return errors.Join(err, undo.Run(ctx))
	})
	// Output:
	// hotel booked
	// flight cancelled
	// hotel cancelled
}

func ExampleAdd() {
	_ = execute(func(ctx workflow.Context) (err error) {
		var undo compensation.Stack
		defer func() { err = undo.RunAfter(ctx, err) }()
		compensation.Add(&undo, "cancel the hotel", CancelHotel, "H-7")
		fmt.Println("hotel booked")
		compensation.Add(&undo, "cancel the flight", CancelSeats, Seats{Flight: "LH 400", Count: 2})
		return errors.New("no seats")
	})
	// Output:
	// hotel booked
	// 2 seats of LH 400 cancelled
	// hotel cancelled: H-7
}

func ExampleStack_Nest() {
	_ = execute(func(ctx workflow.Context) error {
		hotels := &compensation.Stack{Parallel: true}
		var undo compensation.Stack
		undo.Nest("hotels", hotels)
		compensation.Add(hotels, "first night", CancelHotel, "H-7")
		undo.Push("cancel the visa", func(workflow.Context) error { return errors.New("the office is closed") })
		fmt.Print(undo.RunReport(ctx))
		fmt.Println("left:", undo.Len())
		return nil
	})
	// Output:
	// hotel cancelled: H-7
	// cancel the visa: failed: the office is closed
	// hotels: first night: done
	// left: 1
}

func ExampleStack_RunAfter() {
	err := execute(func(ctx workflow.Context) error {
		var undo compensation.Stack
		undo.Push("cancel the hotel", func(workflow.Context) error { return errors.New("the hotel does not answer") })
		return undo.RunAfter(ctx, errors.New("no seats"))
	})
	var failed *temporal.ApplicationError
	var report compensation.Report
	fmt.Println(errors.As(err, &failed) && failed.Type() == compensation.FailedType)
	fmt.Println(failed.Details(&report))
	fmt.Print(report)
	// Output:
	// true
	// <nil>
	// cancel the hotel: failed: the hotel does not answer
}
