package compensation_test

import (
	"errors"
	"fmt"

	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfastmq/holdfast/compensation"
)

func ExampleStack() {
	book := func(ctx workflow.Context) error {
		var undo compensation.Stack
		undo.Push("cancel the hotel", func(workflow.Context) error { fmt.Println("hotel cancelled"); return nil })
		fmt.Println("hotel booked")
		undo.Push("cancel the flight", func(workflow.Context) error { fmt.Println("flight cancelled"); return nil })
		err := errors.New("no seats")
		return errors.Join(err, undo.Run(ctx))
	}
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	env.RegisterWorkflowWithOptions(book, workflow.RegisterOptions{Name: "book"})
	env.ExecuteWorkflow("book")
	// Output:
	// hotel booked
	// flight cancelled
	// hotel cancelled
}
