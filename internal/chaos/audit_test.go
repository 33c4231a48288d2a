package chaos

import (
	"fmt"
	"strings"
	"sync"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/transactions"
)

// row is a row of orders or of effects.
type row struct {
	ID, Ref, Body string
	Units         int
}

// books are what is in both databases.
type books struct {
	outcomes        map[string]string   // the resolution, by transaction
	orders, effects map[string][]row    // by message
	inbox           map[string]bool     // by message
	txOf            map[string]string   // the transaction whose orders a call has written
	placed          map[string][]string // the messages of orders, by transaction
}

// described is how many faults of a kind are described.
const described = 5

// auditor finds faults.
type auditor struct {
	w      *world
	b      books
	faults map[string]int // by format
}

func (a *auditor) bad(format string, args ...any) {
	if a.faults[format]++; a.faults[format] <= described {
		a.w.Errorf(format, args...)
	}
}

// audit compares the two databases, and both with what callers were told.
func (w *world) audit() {
	a := &auditor{w: w, b: w.read(), faults: map[string]int{}}
	a.agree()
	a.conserved(w.orders, "orders", -1)
	a.conserved(w.effects, "effects", 1)
	tally := a.journals()
	a.workflows()
	w.Logf("%d transactions committed, %d rolled back in the database; told: %v", a.count("commit"), a.count("rollback"), tally)
	for format, n := range a.faults {
		if n > described {
			w.Errorf("%d times: %s", n, format)
		}
	}
}

func (a *auditor) count(resolution string) (n int) {
	for _, r := range a.b.outcomes {
		if r == resolution {
			n++
		}
	}
	return n
}

func (w *world) read() books {
	b := books{outcomes: map[string]string{}, orders: map[string][]row{}, effects: map[string][]row{}, inbox: map[string]bool{},
		txOf: map[string]string{}, placed: map[string][]string{}}
	var outcomes []struct{ TxID, Resolution string }
	require.NoError(w, w.orders.Raw("SELECT tx_id, resolution::text FROM holdfast_outcomes").Scan(&outcomes).Error)
	for _, o := range outcomes {
		b.outcomes[o.TxID] = o.Resolution
	}
	for _, table := range []struct {
		db   *gorm.DB
		name string
		into map[string][]row
	}{{w.orders, "orders", b.orders}, {w.effects, "effects", b.effects}} {
		var rows []row
		require.NoError(w, table.db.Raw("SELECT id, ref, body, units FROM "+table.name).Scan(&rows).Error)
		for _, r := range rows {
			table.into[r.ID] = append(table.into[r.ID], r)
		}
	}
	var inbox []string
	require.NoError(w, w.effects.Raw("SELECT message_id FROM holdfast_inbox WHERE consumer = ?", ledger).Scan(&inbox).Error)
	for _, id := range inbox {
		b.inbox[id] = true
	}
	return b
}

// agree: an outcome row that says commit, the orders of one call, and one effect
// for each; or none of them.
func (a *auditor) agree() {
	for id, rows := range a.b.orders {
		if len(rows) != 1 {
			a.bad("message %s: its order was placed %d times", id, len(rows))
		}
		tx, _, _ := strings.Cut(id, ".")
		if got := a.b.outcomes[tx]; got != "commit" {
			a.bad("message %s: its order was placed, and its transaction's outcome is %q", id, got)
		}
		if before, there := a.b.txOf[rows[0].Ref]; there && before != tx {
			a.bad("call %s has placed orders in the transactions %s and %s", rows[0].Ref, before, tx)
		}
		a.b.txOf[rows[0].Ref] = tx
		a.b.placed[tx] = append(a.b.placed[tx], id)
		effects := a.b.effects[id]
		switch {
		case len(effects) != 1:
			a.bad("message %s, of call %s: its order was placed, and it has %d effects", id, rows[0].Ref, len(effects))
		case effects[0] != rows[0]:
			a.bad("message %s: its order is %+v, its effect %+v", id, rows[0], effects[0])
		}
		if !a.b.inbox[id] {
			a.bad("message %s: there is no inbox row", id)
		}
	}
	for id, rows := range a.b.effects {
		if len(a.b.orders[id]) == 0 {
			a.bad("message %s, of call %s: it has %d effects, and no order", id, rows[0].Ref, len(rows))
		}
	}
	for tx, resolution := range a.b.outcomes {
		if resolution == "commit" {
			a.whole(tx)
		}
	}
}

// whole: a committed transaction has the orders that its call planned.
func (a *auditor) whole(tx string) {
	ids := a.b.placed[tx]
	if len(ids) == 0 {
		a.bad("transaction %s is committed, and has placed no order", tx)
		return
	}
	ref := a.b.orders[ids[0]][0].Ref
	for _, id := range ids {
		if other := a.b.orders[id][0].Ref; other != ref {
			a.bad("transaction %s: the calls %s and %s have both placed orders", tx, ref, other)
			return
		}
	}
	c, err := planned(a.w.seed, ref)
	switch {
	case err != nil:
		a.bad("transaction %s: %v", tx, err)
	case len(ids) != len(c.Units):
		a.bad("transaction %s, of call %s: %d orders of %d", tx, ref, len(ids), len(c.Units))
	case c.ID != "" && c.ID != tx:
		a.bad("call %s has placed its orders in transaction %s, not in %s", ref, tx, c.ID)
	case c.Trouble == refuses || c.Trouble == panics:
		a.bad("transaction %s, of call %s, is committed, and its function %s", tx, ref, c.Trouble)
	}
}

// workflows: each says of its transactions what the database says.
func (a *auditor) workflows() {
	ids := make(chan string)
	var all sync.WaitGroup
	var mu sync.Mutex
	for range 16 {
		all.Go(func() {
			for id := range ids {
				var status transactions.Status
				err := a.w.temporal.GetWorkflow(a.w.Context(), id, "").Get(a.w.Context(), &status)
				mu.Lock()
				if err != nil {
					a.bad("workflow %s: %v", id, err)
				}
				for _, m := range status.Transactions {
					outcome := a.b.outcomes[m.ID]
					if m.State == workflows.Committed && outcome != "commit" || m.State == workflows.RolledBack && outcome == "commit" {
						a.bad("workflow %s says that transaction %s is %s, and its outcome is %q", id, m.ID, m.State, outcome)
					}
				}
				mu.Unlock()
			}
		})
	}
	request := &workflowservice.ListWorkflowExecutionsRequest{Query: "WorkflowType IN ('Transaction', 'Recovery')", PageSize: 1000}
	n := 0
	for {
		found, err := a.w.temporal.ListWorkflow(a.w.Context(), request)
		require.NoError(a.w, err)
		n += len(found.Executions)
		for _, x := range found.Executions {
			ids <- x.Execution.WorkflowId
		}
		if request.NextPageToken = found.NextPageToken; len(request.NextPageToken) == 0 {
			break
		}
	}
	close(ids)
	all.Wait()
	a.w.Logf("%d workflows say so, too", n)
}

// conserved: the accounts are what the rows make of them, all together and each.
func (a *auditor) conserved(db *gorm.DB, table string, sign int) {
	moved := map[int]int{}
	all := a.b.orders
	if table == "effects" {
		all = a.b.effects
	}
	for id, rows := range all {
		for _, r := range rows {
			moved[account(id)] += sign * r.Units
		}
	}
	var rows []struct{ ID, Units int }
	require.NoError(a.w, db.Raw("SELECT id, units FROM accounts").Scan(&rows).Error)
	if len(rows) != accounts {
		a.bad("there are %d accounts beside the %s", len(rows), table)
	}
	for _, r := range rows {
		if want := opening + moved[r.ID]; r.Units != want {
			a.bad("account %d has %d units, and its %s make it %d", r.ID, r.Units, table, want)
		}
	}
}

// journals compares what callers were told with what is so. It returns how many
// were told what.
func (a *auditor) journals() map[string]int {
	tally := map[string]int{}
	calls := 0
	for _, s := range a.w.slots[:producers] {
		records, err := readJournal(s.config.Journal)
		require.NoError(a.w, err)
		calls += len(records)
		for _, r := range records {
			if r.Ended == nil {
				tally["died"]++
				continue
			}
			tally[r.Ended.Told]++
			if wrong := a.contradicts(*r.Ended); wrong != "" {
				a.bad("call %s, transaction %s, was told %q (%s), and %s; the error: %s",
					r.Ended.Ref, r.Ended.ID, r.Ended.Told, r.Ended.Resolution, wrong, r.Ended.Error)
			}
		}
	}
	if calls < a.w.calls {
		a.bad("%d calls were begun, not %d", calls, a.w.calls)
	}
	if tally[toldCommitted] < a.w.calls/2 {
		a.bad("no more than %d of %d calls were told that they are committed", tally[toldCommitted], a.w.calls)
	}
	return tally
}

// contradicts says what is not as a caller was told.
func (a *auditor) contradicts(e entry) string {
	placed, there := a.b.txOf[e.Ref]
	outcome := a.b.outcomes[e.ID]
	switch {
	case there && placed != e.ID:
		return "its orders are those of transaction " + placed
	case (e.Told == toldCommitted || e.Told == toldPending || e.Resolution == holdfast.Commit) && outcome != "commit":
		return fmt.Sprintf("the outcome is %q", outcome)
	case (e.Told == toldCommitted || e.Told == toldPending) && e.Resolution != holdfast.Commit:
		return "the receipt says otherwise"
	case (e.Told == toldRolledBack || e.Resolution == holdfast.Rollback) && outcome == "commit":
		return "it is committed"
	case e.Told == toldDuplicate && there: // what its function did may be rolled back
		return "it has placed orders"
	case (e.Told == toldNothing || e.Told == toldOther) && (there || e.Ran):
		return "its function was called"
	case e.Told == toldOther:
		return "that is no error that Send documents"
	}
	return ""
}
