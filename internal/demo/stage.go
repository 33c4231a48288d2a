package demo

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/google/uuid"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	temporallog "go.temporal.io/sdk/log"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/stack"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// stage is what scenarios act on.
type stage struct {
	out      io.Writer
	stack    *stack.Stack
	dir      string // binaries and logs
	prefix   string
	number   int // of the scenario
	refs     []workflowRef
	temporal client.Client

	order, stock, payment, shipping *house

	goods int // on the shelves, at first
}

// house is a service of the example: its database, and its process.
type house struct {
	name string
	url  string // of the database
	db   *sql.DB
	*service
}

// houses are all of them, in the order in which they are started.
func (s *stage) houses() []*house { return []*house{s.shipping, s.payment, s.stock, s.order} }

// open makes the house's database.
func (h *house) open(ctx context.Context, st *stack.Stack, run string) (err error) {
	if h.url, err = st.CreateDatabase(ctx, "demo_"+h.name+"_"+run); err != nil {
		return err
	}
	h.db, err = sql.Open("pgx", h.url)
	return err
}

func newStage(ctx context.Context, out io.Writer, st *stack.Stack) (s *stage, err error) {
	run := uuid.NewString()[:8]
	s = &stage{out: out, stack: st, prefix: "demo-" + run,
		order: &house{name: "order"}, stock: &house{name: "stock"},
		payment: &house{name: "payment"}, shipping: &house{name: "shipping"}}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.dir, err = os.MkdirTemp("", "holdfast-demo-"); err != nil {
		return s, err
	}
	for _, h := range s.houses() {
		if err = h.open(ctx, st, run); err != nil {
			return s, err
		}
	}
	s.temporal, err = client.DialContext(ctx, client.Options{HostPort: st.TemporalAddress(), Namespace: st.Namespace(),
		Logger: temporallog.NewStructuredLogger(quiet)})
	if err != nil {
		return s, err
	}
	if err = s.build(ctx); err != nil {
		return s, err
	}
	s.say("starting the services: shipping, payment, stock, order")
	for _, h := range s.houses() {
		if err = s.start(ctx, h, ""); err != nil {
			return s, err
		}
	}
	s.goods, err = count(ctx, s.stock.db, goodsLeft)
	return s, err
}

// build makes the example's and the CLI's binaries.
func (s *stage) build(ctx context.Context) error {
	s.say("building examples/orderpayment and cmd/holdfast")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", s.dir,
		"github.com/holdfastmq/holdfast/examples/orderpayment", "github.com/holdfastmq/holdfast/cmd/holdfast")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the example (the demo runs inside Holdfast's repository): %w: %s", err, out)
	}
	return nil
}

func (s *stage) close() {
	for _, h := range s.houses() {
		h.stop()
		if h.db != nil {
			_ = h.db.Close()
		}
	}
	if s.temporal != nil {
		s.temporal.Close()
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

func (s *stage) say(format string, args ...any) { fmt.Fprintf(s.out, "   "+format+"\n", args...) }

// reply is what the order service answers.
type reply struct {
	holdfast.Receipt
	Error  string `json:"error"`
	status int
}

// post sends v to the order service. An error means that it gave no answer.
func (s *stage) post(ctx context.Context, path string, v any) (reply, error) {
	var r reply
	status, err := s.call(ctx, http.MethodPost, path, v, &r)
	r.status = status
	if r.WorkflowID != "" {
		s.refs = append(s.refs, workflowRef{r.WorkflowID, r.RunID})
	}
	return r, err
}

// call sends v to the order service and decodes what it says, in JSON, into
// answer.
func (s *stage) call(ctx context.Context, method, path string, v, answer any) (status int, err error) {
	body, err := json.Marshal(v)
	if err != nil {
		return 0, err
	}
	request, err := http.NewRequestWithContext(ctx, method, s.order.address+path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	said, err := io.ReadAll(response.Body)
	if err == nil && len(said) > 0 && json.Unmarshal(said, &answer) != nil {
		err = fmt.Errorf("the order service says: %s", bytes.TrimSpace(said))
	}
	return response.StatusCode, err
}

// order is what the demo orders.
type order struct {
	ID     string `json:"id"`
	Item   string `json:"item"`
	Amount int64  `json:"amount"`
}

func (s *stage) newOrder() order {
	return order{ID: fmt.Sprintf("order-%d", s.number), Item: "anchor", Amount: 4200}
}

// until polls cond, which reads some server's state, until it is true.
func until(ctx context.Context, what string, cond func() (bool, error)) error {
	var last error
	for {
		ok, err := cond()
		if err == nil && ok {
			return nil
		}
		last = err
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("waiting for %s: %w", what, ctx.Err()), last)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// workflowOf finds the transaction of an order by its key, as an operator would.
func (s *stage) workflowOf(ctx context.Context, key string) (ref workflowRef, err error) {
	err = until(ctx, "the workflow of "+key, func() (bool, error) {
		list, err := s.temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Namespace: s.stack.Namespace(),
			Query: fmt.Sprintf("%s = '%s' AND WorkflowId STARTS_WITH '%s' AND TaskQueue = '%s'", workflows.AttributeKey, key,
				workflows.WorkflowID(s.prefix, "orders", ""), workflows.TaskQueue(s.prefix, "orders")),
		})
		if err != nil || len(list.GetExecutions()) == 0 {
			return false, err
		}
		found := list.GetExecutions()[0].GetExecution()
		ref = workflowRef{found.GetWorkflowId(), found.GetRunId()}
		return true, nil
	})
	if err == nil {
		s.refs = append(s.refs, ref)
	}
	return ref, err
}

// ended waits for the end of a transaction and returns it.
func (s *stage) ended(ctx context.Context, ref workflowRef) (transactions.MemberStatus, error) {
	var status transactions.Status
	if err := s.temporal.GetWorkflow(ctx, ref.id, ref.runID).Get(ctx, &status); err != nil {
		return transactions.MemberStatus{}, err
	}
	return status.Transactions[0], nil
}

func count(ctx context.Context, db *sql.DB, query string, args ...any) (n int, err error) {
	err = db.QueryRowContext(ctx, query, args...).Scan(&n)
	return n, err
}

// books says what the orders' and the payments' databases hold about an order.
func (s *stage) books(ctx context.Context, orderID string) (string, error) {
	orders, err := count(ctx, s.order.db, "SELECT count(*) FROM orders WHERE id = $1", orderID)
	if err != nil {
		return "", err
	}
	payments, err := count(ctx, s.payment.db, "SELECT count(*) FROM payments WHERE order_id = $1", orderID)
	return fmt.Sprintf("%d order, %d payment", orders, payments), err
}

// paid waits until the order is paid, and says what the databases hold after
// everything that was sent before has been consumed.
func (s *stage) paid(ctx context.Context, orderID string) (string, error) {
	if _, err := s.awaitPayment(ctx, orderID); err != nil {
		return "", err
	}
	return s.settled(ctx, orderID)
}

// settled sends one more order through and waits for its payment: what was in
// the consumer's queue before has been consumed then. It says what the databases
// hold about orderID.
func (s *stage) settled(ctx context.Context, orderID string) (string, error) {
	last := order{ID: orderID + "-afterwards", Item: "chain", Amount: 100}
	refs := s.refs
	if r, err := s.post(ctx, "/orders", last); err != nil || r.status != http.StatusCreated {
		return "", fmt.Errorf("the order afterwards: %s %w", r.Error, err)
	}
	s.refs = refs
	if _, err := s.awaitPayment(ctx, last.ID); err != nil {
		return "", err
	}
	return s.books(ctx, orderID)
}

// links prints where each transaction is seen in the Temporal UI.
func (s *stage) links(results []result) {
	for i, r := range results {
		for _, ref := range r.workflows {
			fmt.Fprintf(s.out, "%d. %s/namespaces/%s/workflows/%s/%s/history\n",
				i+1, s.stack.TemporalUI(), s.stack.Namespace(), url.PathEscape(ref.id), ref.runID)
		}
	}
}

// console serves the console, with a login that is good once, and returns what waits for the
// end of ctx, and of the console. That says itself where it is.
func (s *stage) console(ctx context.Context) (wait func()) {
	cmd := exec.CommandContext(ctx, filepath.Join(s.dir, "holdfast"), "console", "--dev-login", "--listen", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), s.env(s.order.url)...)
	cmd.Stdout, cmd.Stderr = s.out, io.Discard // its log and the audit of the rest are not for the story
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = consoleEnds
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(s.out, "the console cannot be served:", err)
		return func() { <-ctx.Done() }
	}
	return func() {
		<-ctx.Done()
		_ = cmd.Wait() // it was told to end
	}
}

// consoleEnds is how long the console may take to end.
const consoleEnds = 15 * time.Second

// cli runs the command holdfast and returns what it prints.
func (s *stage) cli(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(s.dir, "holdfast"), args...)
	cmd.Env = append(os.Environ(), s.env(s.order.url)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
