package conservation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"go.temporal.io/api/serviceerror"

	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// effect is a row of effects, stepRow one of holdfast_steps, both of a database.
type effect struct {
	DB, Saga, Step, Op, Account string
	N, Units                    int64
}

type stepRow struct{ DB, Owner, Step, Op, Result string }

// did is what the result of a do row says.
func (r stepRow) did() string {
	var out struct{ Outcome string }
	if r.Result == "" {
		return "done"
	}
	if err := json.Unmarshal([]byte(r.Result), &out); err != nil {
		return "unreadable: " + r.Result
	}
	return out.Outcome
}

// ledger is all that is in the databases.
type ledger struct {
	effects map[string][]effect  // by the order's ID
	rows    map[string][]stepRow // by owner
}

func (w *world) read() (l ledger, err error) {
	l = ledger{map[string][]effect{}, map[string][]stepRow{}}
	for _, name := range databases {
		var effects []effect
		var rows []stepRow
		if err := w.books[name].Raw("SELECT ? AS db, * FROM effects ORDER BY n", name).Scan(&effects).Error; err != nil {
			return l, err
		}
		if err := w.books[name].Raw("SELECT ? AS db, owner, step, op, convert_from(result, 'UTF8') AS result FROM holdfast_steps WHERE step <> ''", name).Scan(&rows).Error; err != nil {
			return l, err
		}
		for _, e := range effects {
			l.effects[e.Saga] = append(l.effects[e.Saga], e)
		}
		for _, r := range rows {
			l.rows[r.Owner] = append(l.rows[r.Owner], r)
		}
	}
	return l, nil
}

// audit looks at everything, once all sagas have ended like this.
func (w *world) audit(statuses []sagas.Status) {
	l, err := w.read()
	if err != nil {
		w.Fatal(err)
	}
	w.conserved()
	w.wholeRows(l)
	w.each(func(p *plannedSaga) { w.auditSaga(p, statuses[p.N], l) })
}

// conserved adds up all databases.
func (w *world) conserved() {
	for _, kind := range kinds {
		var total int64
		for _, name := range databases {
			var units int64
			if err := w.books[name].Raw("SELECT sum(units) FROM accounts WHERE id LIKE ?", kind+"-%").Scan(&units).Error; err != nil {
				w.Fatal(err)
			}
			total += units
		}
		if want := int64(len(databases) * accounts * opening); total != want {
			w.Errorf("there are %d units of %s in all databases together, and there were %d", total, kind, want)
		}
	}
	for _, name := range databases {
		var wrong []string
		if err := w.books[name].Raw(`SELECT a.id FROM accounts a LEFT JOIN effects e ON e.account = a.id
GROUP BY a.id, a.units HAVING a.units <> ? + coalesce(sum(e.units), 0)`, opening).Scan(&wrong).Error; err != nil {
			w.Fatal(err)
		}
		if len(wrong) > 0 {
			w.Errorf("database %s: the accounts %q are not what the effects make of them", name, wrong)
		}
	}
}

// wholeRows compares step rows and effects, sub-sagas included, of which the owner
// is not known: each Do that counts has one effect, each Undo of one, too.
func (w *world) wholeRows(l ledger) {
	want, have := map[string]int{}, map[string]int{}
	for owner, rows := range l.rows {
		do := map[string]string{}
		for _, r := range rows {
			if r.Op == "do" {
				do[r.DB+" "+r.Step] = r.did()
			}
		}
		for _, r := range rows {
			did, there := do[r.DB+" "+r.Step]
			switch {
			case r.Op == "undo" && (!there || did == "refused"):
				w.Errorf("%s: step %s in %s has the undo row of a Do that is not blocked: %q", owner, r.Step, r.DB, did)
			case did == "done":
				want[r.DB+" "+r.Step+" "+r.Op]++
			}
		}
	}
	for _, effects := range l.effects {
		for _, e := range effects {
			have[e.DB+" "+e.Step+" "+e.Op]++
		}
	}
	if !maps.Equal(want, have) {
		for key := range maps.All(want) {
			if want[key] != have[key] {
				w.Errorf("database, step and op %s: %d step rows, but %d effects", key, want[key], have[key])
			}
		}
		for key := range have {
			if _, there := want[key]; !there {
				w.Errorf("database, step and op %s: no step row, but %d effects", key, have[key])
			}
		}
	}
}

// described is how many sagas are described in full.
const described = 10

// auditSaga looks at one saga: what it says of itself, its effects and its rows.
func (w *world) auditSaga(p *plannedSaga, status sagas.Status, l ledger) {
	id, how, told := p.id(), status.State, w.ends[p.N]
	var wrong []string
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if how != completed && how != compensated {
		bad("it has not ended")
	}
	if told != how && !(told == completed && p.compensate) {
		bad("its caller was told that it is %s", told)
	}
	if !p.fated && !p.undo && how != completed {
		bad("nothing in its plan keeps it from completing")
	}
	type key struct{ db, step string }
	done, undone, units := map[key]int{}, map[key]int{}, map[string]int64{}
	for _, e := range l.effects[p.Order.ID] {
		k := key{e.DB, e.Step}
		if e.Op == "do" {
			done[k]++
		} else {
			undone[k]++
		}
		if undone[k] > done[k] {
			bad("step %s in %s was undone before it was done", e.Step, e.DB)
		}
		units[e.Step] += e.Units
	}
	expected := map[key]bool{}
	for _, leaf := range p.leaves {
		k := key{leaf.db, leaf.Name}
		expected[k] = true
		rest := done[k] - undone[k]
		switch {
		case how == completed && rest != 1:
			bad("step %s was done %d times and undone %d times", leaf.Name, done[k], undone[k])
		case how == compensated && rest != 0:
			bad("step %s was done %d times and undone %d times", leaf.Name, done[k], undone[k])
		case done[k] > 1 && !leaf.inner: // a sub-saga that failed is followed by another
			bad("step %s was done %d times", leaf.Name, done[k])
		case how == completed && undone[k] > 0 && !leaf.inner:
			bad("step %s was undone and done", leaf.Name)
		}
		want := int64(0)
		if how == completed {
			want = p.Order.Moves[leaf.Name].Units
		}
		if units[leaf.Name] != want {
			bad("step %s moved %d units, not %d", leaf.Name, units[leaf.Name], want)
		}
		if at := status.Core.Steps[leaf.Name]; !leaf.inner && (how == completed) != (at != nil && at.Status == core.Done) {
			bad("step %s is %+v by its own account", leaf.Name, at)
		}
	}
	for k := range done {
		if !expected[k] {
			bad("step %s in %s was done, which is not the saga's", k.step, k.db)
		}
	}
	for _, r := range l.rows[id] {
		if k := (key{r.DB, r.Step}); (r.did() == "done" && r.Op == "do") != (done[k] == 1) && r.Op == "do" {
			bad("the do row of step %s in %s says %s, and there are %d effects", r.Step, r.DB, r.did(), done[k])
		} else if r.Op == "undo" && how == completed {
			bad("there is an undo row of step %s in %s", r.Step, r.DB)
		}
	}
	if how == completed {
		wrong = append(wrong, p.wrongMarks(status.Core.Data)...)
	}
	if len(wrong) == 0 {
		return
	}
	text := fmt.Sprintf("saga %d, %s, is %s:\n\t%s", p.N, id, how, strings.Join(wrong, "\n\t"))
	if w.wrong.Add(1) <= described {
		text += "\n" + w.describe(p, status, l)
	}
	w.Error(text)
}

// wrongMarks compares the last state with what was done.
func (p *plannedSaga) wrongMarks(data json.RawMessage) (wrong []string) {
	var o order
	if err := json.Unmarshal(data, &o); err != nil {
		return []string{"its state: " + err.Error()}
	}
	if got := slices.Sorted(maps.Keys(o.Marks)); !slices.Equal(got, p.leafNames()) {
		wrong = append(wrong, fmt.Sprintf("its state knows of the steps %v, not of %v", got, p.leafNames()))
	}
	for step, units := range o.Marks {
		if want := p.Order.Moves[step].Units; units != want {
			wrong = append(wrong, fmt.Sprintf("its state says that step %s moved %d units, not %d", step, units, want))
		}
	}
	return wrong
}

// statuses waits until all sagas have ended by their own account, too, and returns
// that: the caller of one that was compensated as it completed was told before.
func (w *world) statuses() []sagas.Status {
	out := make([]sagas.Status, len(w.sagas))
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	w.each(func(p *plannedSaga) {
		if err := w.giveWorkflow(ctx, p); err != nil {
			w.Errorf("saga %d, %s: its workflow: %v", p.N, p.id(), err)
		}
		id, err := w.workflow(ctx, p)
		if err == nil {
			err = w.temporal.GetWorkflow(ctx, id, "").Get(ctx, &out[p.N])
		}
		if err != nil {
			w.Errorf("saga %d, %s: its result: %v", p.N, p.id(), err)
		}
	})
	return out
}

// workflow is the one that says how a saga has ended: the one that undid it, if
// there is one.
func (w *world) workflow(ctx context.Context, p *plannedSaga) (string, error) {
	undo := workflows.SagaUndoID(p.id())
	_, err := w.temporal.DescribeWorkflowExecution(ctx, undo, "")
	var none *serviceerror.NotFound
	switch {
	case err == nil:
		return undo, nil
	case errors.As(err, &none): // by a handle, one that has no workflow is undone in its own
		return p.id(), nil
	}
	return "", err
}

// each calls f for every saga, several at once.
func (w *world) each(f func(*plannedSaga)) {
	var all sync.WaitGroup
	work := make(chan *plannedSaga)
	for range 16 {
		all.Go(func() {
			for p := range work {
				f(p)
			}
		})
	}
	for _, p := range w.sagas {
		work <- p
	}
	close(work)
	all.Wait()
}

// describe says all that is known of a saga.
func (w *world) describe(p *plannedSaga, s sagas.Status, l ledger) string {
	var out strings.Builder
	line := func(what string, v any) {
		text, err := json.Marshal(v)
		if err != nil {
			text = []byte(err.Error())
		}
		fmt.Fprintf(&out, "\t%s: %s\n", what, text)
	}
	s.Plan = core.Plan{}
	line("plan", p)
	line("compensate, pause, undo, fated", []bool{p.compensate, p.pause, p.undo, p.fated})
	line("status", s)
	for _, e := range l.effects[p.Order.ID] {
		line("effect", e)
	}
	for _, r := range l.rows[p.id()] {
		line("row", r)
	}
	return out.String()
}

// unfinished describes the sagas that have not ended, a few of them.
func (w *world) unfinished() string {
	l, err := w.read()
	if err != nil {
		return err.Error()
	}
	var out []string
	for _, p := range w.sagas {
		w.mu.Lock()
		ended, started := w.ends[p.N] != "", w.started[p.N]
		w.mu.Unlock()
		if ended || !started || len(out) == described {
			continue
		}
		var s sagas.Status
		ctx, cancel := context.WithTimeout(context.Background(), patience/10)
		id, err := w.workflow(ctx, p)
		if err != nil {
			s.Reason = err.Error()
		} else if v, err := w.temporal.QueryWorkflow(ctx, id, "", workflows.QueryStatus); err != nil {
			s.Reason = err.Error()
		} else if err := v.Get(&s); err != nil {
			s.Reason = err.Error()
		}
		cancel()
		out = append(out, fmt.Sprintf("saga %d, %s, has not ended: %s\n%s", p.N, id, s.State, w.describe(p, s, l)))
	}
	for _, s := range w.slots {
		out = append(out, s.said())
	}
	return strings.Join(out, "\n")
}
