package holdfasttest

import (
	"fmt"
	"log/slog"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"
	sdkworker "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfastmq/holdfast/workflows"
)

const (
	// horizon is when a workflow that still waits is left to itself, in its own
	// time: nothing but an operator would end it.
	horizon = 5 * 365 * 24 * time.Hour
	// day is when a transaction is left to itself: by then it has parked, or is tried
	// every half an hour until a consumer is bound.
	day = 24 * time.Hour
	// patience is how long the test environment waits, in real time, for a step that
	// neither ends nor lets time pass.
	patience = time.Minute
	// signalEnd ends a run.
	signalEnd = "holdfasttest-end"
)

// run is one workflow in Temporal's test environment.
type run struct {
	k     *Kit
	id    string
	env   *testsuite.TestWorkflowEnvironment
	steps []string
	tries map[string]int
	left  string                 // why it was left to itself
	last  converter.EncodedValue // the status as it was then
	// rejected are the operators' requests that were refused.
	rejected []error
}

// begin makes the environment of a workflow.
func (k *Kit) begin(id string) *run {
	k.t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestWorkflowEnvironment()
	env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: id, TaskQueue: workflows.TaskQueue("holdfast", k.o.Group)})
	env.SetTestTimeout(patience)
	env.SetDetachedChildWait(false)
	r := &run{k: k, id: id, env: env, tries: map[string]int{}}
	env.SetWorkerOptions(sdkworker.Options{DeadlockDetectionTimeout: patience,
		Interceptors: []interceptor.WorkerInterceptor{&oneAtATime{k: k}}})
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.run != nil {
		k.t.Fatal("a saga or a transaction of this kit is under way: one after the other")
	}
	k.run = r
	return r
}

// play runs a workflow until it ends, or until it can only wait for an operator;
// then status has how it stands.
func (r *run) play(name string, f func(ctx workflow.Context) (any, error), status any) {
	t := r.k.t
	t.Helper()
	defer r.end()
	whole := func(ctx workflow.Context) (out any, err error) {
		done, ended := false, false
		workflow.Go(ctx, func(ctx workflow.Context) {
			out, err = f(ctx)
			done = true
		})
		ctx, _ = workflow.NewDisconnectedContext(ctx)
		workflow.Go(ctx, func(ctx workflow.Context) {
			workflow.GetSignalChannel(ctx, signalEnd).Receive(ctx, nil)
			ended = true
		})
		_ = workflow.Await(ctx, func() bool { return done || ended })
		return out, err
	}
	r.env.RegisterWorkflowWithOptions(whole, workflow.RegisterOptions{Name: "holdfasttest." + name})
	r.env.RegisterDelayedCallback(func() { r.leave("nothing more would happen by itself") }, horizon)
	defer func() {
		if v := recover(); v != nil {
			t.Fatalf("%s: %v", r.id, v)
		}
	}()
	r.env.ExecuteWorkflow("holdfasttest." + name)
	if err := r.env.GetWorkflowError(); err != nil {
		t.Fatalf("%s: %v", r.id, err)
	}
	var err error
	if r.last != nil {
		err = r.last.Get(status)
	} else {
		err = r.env.GetWorkflowResult(status)
	}
	if err != nil {
		t.Fatalf("%s: its status: %v", r.id, err)
	}
}

func (r *run) end() {
	r.k.mu.Lock()
	defer r.k.mu.Unlock()
	r.k.run = nil
}

// leave ends the run where the workflow would go on waiting. It is called by the
// environment's own loop.
func (r *run) leave(why string) {
	if r.left != "" || r.env.IsWorkflowCompleted() {
		return
	}
	status, err := r.env.QueryWorkflow(workflows.QueryStatus)
	if err != nil {
		panic(fmt.Sprintf("asking %s how it stands: %v", r.id, err))
	}
	r.left, r.last = why, status
	r.env.SignalWorkflow(signalEnd, nil)
}

// endRun ends the run under way, from wherever.
func (k *Kit) endRun(why string) {
	if r := k.current(); r != nil {
		r.env.RegisterDelayedCallback(func() { r.leave(why) }, 0)
	}
}

func (k *Kit) current() *run {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.run
}

// after calls f once d has passed in the time of the run.
func (k *Kit) after(d time.Duration, f func()) {
	if r := k.current(); r != nil {
		r.env.RegisterDelayedCallback(f, d)
	}
}

// signal signals a workflow of the run; one that is not there any more is not.
func (k *Kit) signal(workflowID, name string, arg any) {
	r := k.current()
	if r == nil {
		k.tooLate()
		return
	}
	r.env.RegisterDelayedCallback(func() { // the environment's own loop
		if r.env.SignalWorkflowByID(workflowID, name, arg) != nil {
			k.tooLate()
		}
	}, 0)
}

func (k *Kit) tooLate() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.late++
}
