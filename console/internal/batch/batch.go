// Package batch does one action on many things for an operator: on the first one alone, and
// when the operator has seen what came of it, on the rest at a rate. Of each thing it keeps
// what came of it. It knows neither pages nor what is acted on; what it keeps is gone with the
// process, and who begins again looks at what is left.
package batch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/holdfastmq/holdfast/internal/guard"
)

const (
	// maxRuns is how many are kept, maxBusy how many may be under way, those that wait for
	// their operator too.
	maxRuns, maxBusy = 50, 10
	// maxWaiting is how many single things may wait to be agreed to, waitingOfOne how many of one
	// operator: they take none of the places of runs.
	maxWaiting, waitingOfOne = 50, 10
	// underWay is how many things of one run are acted on at a time: a rate that they
	// cannot keep becomes a lower one.
	underWay = 8
	// badInARow ends a run: something is wrong that acting does not mend.
	badInARow = 5
	// Waits is how long a run waits for its operator after the first one.
	Waits = 30 * time.Minute
)

// Rates are how many things a second an operator can choose.
var Rates = []int{1, 5, 20, 100}

// What became of a thing that was not asked for.
const (
	// Left says that it was left out: it is not as it was listed, or was done before.
	Left = "left out"
	// Unsent says that the run ended before.
	Unsent = "not sent"
	// Unknown says that nobody knows, such as after a panic.
	Unknown = "unknown"
)

// Outcome is what came of the action on one thing.
type Outcome struct {
	ID             string
	Outcome        string
	Detail, Remedy string
	// Sent says that it was asked for; Bad that it did not do what was asked for, or may
	// not have.
	Sent, Bad bool
	At        time.Time
}

// State is how far a run is.
type State string

// The states of a run.
const (
	First State = "the first one" // is under way
	Asks  State = "waits for you" // whether to do the rest
	Going State = "under way"     // the rest
	Over  State = "over"          // all were done
	Ended State = "ended before it was over"
)

// Final reports whether nothing more comes of it.
func (s State) Final() bool { return s == Over || s == Ended }

// Order is what a run does.
type Order struct {
	// ID names the run. Who is the operator.
	ID, Who string
	// IDs are what is acted on, in that order.
	IDs []string
	// Do acts on one; it is called once for each at most, from several goroutines. Its time
	// is its own: ctx is done only when the process ends.
	Do func(ctx context.Context, id string) Outcome
	// Done is called once, with what came of all.
	Done func(View)
	// About is what a page needs to know of it.
	About any
	// AskFirst has it wait before the first one, too.
	AskFirst bool
}

// View is a run as it stands.
type View struct {
	ID, Who string
	About   any
	State   State
	Began   time.Time
	// Why says why it ended before it was over.
	Why string
	// Total counts what is acted on; Outcomes are of those that are over, in the order
	// in which they were.
	Total    int
	Outcomes []Outcome
	By       string // who has said that it goes on
	Rate     int    // of the rest; 0: it has not begun
}

// Counts are how many ended how, by outcome.
func (v View) Counts() map[string]int {
	counts := map[string]int{}
	for _, o := range v.Outcomes {
		counts[o.Outcome]++
	}
	return counts
}

// Tried is what came of the first one that was acted on; nil: none was.
func (v View) Tried() *Outcome {
	if i := slices.IndexFunc(v.Outcomes, func(o Outcome) bool { return o.Sent }); i >= 0 {
		return &v.Outcomes[i]
	}
	return nil
}

// Waits reports whether it waits for its operator, and GoOn would be heard.
func (v View) Waits() bool { return v.State == Asks && v.Why == "" }

// Left counts those that nothing has come of yet.
func (v View) Left() int { return v.Total - len(v.Outcomes) }

// run is one run.
type run struct {
	Order
	mu       sync.Mutex
	view     View
	row      int           // bad ones in a row
	goOn     chan int      // the rate, once
	stop     chan struct{} // closed: no further one is begun
	stopping bool
	over     chan struct{} // closed: nothing is under way any more
}

// Book has the runs of one process.
type Book struct {
	now func() time.Time

	mu    sync.Mutex
	runs  []*run // the oldest first
	ended bool
}

// NewBook returns an empty book, by a clock.
func NewBook(now func() time.Time) *Book { return &Book{now: now} }

// Why a run cannot be begun, or does not go on.
var (
	errBusy    = errors.New("there are as many runs under way as there may be: end one, or wait")
	errWaiting = errors.New("as many things wait for a second person as may: one of them is to be agreed to, or ended")
	errYours   = errors.New("as many things of yours wait for a second person as may: end one, or wait")
	errEnded   = errors.New("the console is about to end")
	ErrState   = errors.New("it does not wait for that any more")
)

// Begin begins a run with the first one, and does not wait for that. An error says that
// nothing was begun.
func (b *Book) Begin(o Order) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	busy, waiting, yours := 0, 0, 0
	for _, r := range b.runs {
		switch {
		case r.onlyWaits():
			if waiting++; r.Who == o.Who {
				yours++
			}
		case !r.see().State.Final():
			busy++
		}
	}
	switch {
	case b.ended:
		return errEnded
	case o.single() && yours >= waitingOfOne:
		return errYours
	case o.single() && waiting >= maxWaiting:
		return errWaiting
	case !o.single() && busy >= maxBusy:
		return errBusy
	}
	if len(b.runs)-waiting >= maxRuns {
		if i := slices.IndexFunc(b.runs, func(r *run) bool { return r.see().State.Final() }); i >= 0 {
			b.runs = slices.Delete(b.runs, i, i+1)
		}
	}
	r := &run{Order: o, goOn: make(chan int, 1), stop: make(chan struct{}), over: make(chan struct{}),
		view: View{ID: o.ID, Who: o.Who, About: o.About, State: First, Began: b.now(), Total: len(o.IDs)}}
	b.runs = append(b.runs, r)
	go r.carryOut(b.now)
	return nil
}

func (b *Book) find(id string) *run {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.runs, func(r *run) bool { return r.ID == id })
	if i < 0 {
		return nil
	}
	return b.runs[i]
}

// See returns a run as it stands; ok is false if this process does not know it.
func (b *Book) See(id string) (v View, ok bool) {
	r := b.find(id)
	if r == nil {
		return View{}, false
	}
	return r.see(), true
}

// All returns the runs that are known, the latest first.
func (b *Book) All() (all []View) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range slices.Backward(b.runs) {
		all = append(all, r.see())
	}
	return all
}

// GoOn does the rest, at so many a second, of a run that waits for that; by says so. Of several
// who ask for it, one is heard.
func (b *Book) GoOn(id string, rate int, by string) error {
	r := b.find(id)
	if r == nil {
		return ErrState
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.view.State != Asks || r.stopping {
		return ErrState
	}
	r.view.State, r.view.Rate, r.view.By = Going, rate, by
	r.goOn <- rate
	return nil
}

// Stop has a run begin no further one.
func (b *Book) Stop(id, why string) error {
	r := b.find(id)
	if r == nil || !r.end(why) {
		return ErrState
	}
	return nil
}

// End has all runs begin no further one, and waits for what is under way.
func (b *Book) End() {
	b.mu.Lock()
	b.ended = true
	all := slices.Clone(b.runs)
	b.mu.Unlock()
	for _, r := range all {
		r.end(errEnded.Error())
	}
	for _, r := range all {
		<-r.over
	}
}

func (r *run) see() View {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.view
	v.Outcomes = slices.Clone(v.Outcomes)
	return v
}

// end has no further one begun; false: nothing would be begun anyhow.
func (r *run) end(why string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopping || r.view.State.Final() {
		return false
	}
	r.stopping, r.view.Why = true, why
	close(r.stop)
	return true
}

// single reports whether it is one thing, which is to be agreed to.
func (o Order) single() bool { return o.AskFirst && len(o.IDs) == 1 }

// onlyWaits reports whether it is one thing, and nobody has agreed to it yet.
func (r *run) onlyWaits() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.single() && r.view.By == "" && !r.stopping && !r.view.State.Final()
}

func (r *run) stopped() bool {
	select {
	case <-r.stop:
		return true
	default:
		return false
	}
}

// carryOut is the run.
func (r *run) carryOut(now func() time.Time) {
	defer close(r.over)
	rest := r.IDs
	if !r.AskFirst || r.ask() {
		r.begins()
		if rest = r.first(now); len(rest) > 0 && r.ask() {
			rest = r.rest(rest, now)
		}
	}
	for _, id := range rest {
		r.note(Outcome{ID: id, Outcome: Unsent, Detail: r.see().Why, At: now()})
	}
	r.mu.Lock()
	if r.view.State = Ended; len(rest) == 0 {
		r.view.State, r.view.Why = Over, ""
	}
	r.mu.Unlock()
	if r.Done != nil {
		_ = guard.Call(func() error { r.Done(r.see()); return nil }) // there is nobody to tell
	}
}

// begins has it stand at the first one: what was said before that has no rate.
func (r *run) begins() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.view.State, r.view.Rate = First, 0
}

// first acts on the first that can be acted on, and returns those after it.
func (r *run) first(now func() time.Time) (rest []string) {
	for i, id := range r.IDs {
		if r.stopped() {
			return r.IDs[i:]
		}
		if o := r.one(id, now); o.Sent || o.Bad {
			return r.IDs[i+1:]
		}
	}
	return nil
}

// ask waits until the operator says to go on, and reports whether that came. What failed is
// not gone on with.
func (r *run) ask() bool {
	if !r.failed() {
		r.mu.Lock()
		if !r.stopping {
			r.view.State = Asks
		}
		r.mu.Unlock()
	}
	t := time.NewTimer(Waits)
	defer t.Stop()
	select {
	case <-r.stop:
		return false
	case <-r.goOn:
		return true
	case <-t.C:
		r.end(fmt.Sprintf("nobody said within %v to go on", Waits))
		return false
	}
}

// failed ends the run if the last one did not succeed, and reports whether no further one is begun.
func (r *run) failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.view.Outcomes
	if len(last) > 0 && last[len(last)-1].Bad && !r.stopping {
		r.stopping, r.view.Why = true, "the first one did not succeed"
		close(r.stop)
	}
	return r.stopping
}

// rest acts on the rest, and returns what it did not come to.
func (r *run) rest(ids []string, now func() time.Time) (left []string) {
	every := time.NewTicker(time.Second / time.Duration(r.see().Rate))
	defer every.Stop()
	lanes := make(chan struct{}, underWay)
	var all sync.WaitGroup
	defer all.Wait()
	for i, id := range ids {
		select {
		case <-r.stop:
			return ids[i:]
		case <-every.C:
		}
		select {
		case <-r.stop:
			return ids[i:]
		case lanes <- struct{}{}:
		}
		if r.stopped() { // while it waited for a lane, too
			return ids[i:]
		}
		all.Go(func() {
			defer func() { <-lanes }()
			r.one(id, now)
		})
	}
	return nil
}

// one acts on one, and notes what came of it.
func (r *run) one(id string, now func() time.Time) Outcome {
	o, err := guard.Value(func() (Outcome, error) { return r.Do(context.Background(), id), nil })
	if err != nil {
		o = Outcome{Outcome: Unknown, Detail: err.Error(), Sent: true, Bad: true}
	}
	o.ID, o.At = id, now()
	r.note(o)
	return o
}

// note keeps what came of one, and ends the run where too many failed.
func (r *run) note(o Outcome) {
	r.mu.Lock()
	r.view.Outcomes = append(r.view.Outcomes, o)
	switch {
	case o.Bad:
		r.row++
	case o.Sent:
		r.row = 0
	}
	many := r.row >= badInARow
	r.mu.Unlock()
	if many {
		r.end(fmt.Sprintf("%d in a row did not succeed", badInARow))
	}
}
