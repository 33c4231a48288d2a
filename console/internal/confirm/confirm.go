// Package confirm keeps the forms by which operators confirm what they do, from when they are
// shown until they are sent. A form is for one session, one action and the state that it was
// shown for, and acts once, however often it is sent. It knows neither pages nor what is
// acted on.
package confirm

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// Lasts is how long a form is good, and how long it is known what came of it.
	Lasts = 30 * time.Minute
	// maxForms is how many are kept, maxOfOne how many of one session, maxOfUser of one
	// user in all sessions: the oldest go.
	maxForms, maxOfOne, maxOfUser = 5000, 100, 300
)

// ErrUnknown says that nobody knows a form: it is too old, of another session, or of another
// process.
var ErrUnknown = errors.New("this form is not known any more")

// Fact is something that was shown of what is acted on.
type Fact struct{ Name, Value string }

// Facts are what was shown, in order.
type Facts []Fact

// Change is a fact that is not as it was shown. Was or Is is empty where it was not there.
type Change struct{ Name, Was, Is string }

// Changes are what is not as it was.
func (f Facts) Changes(now Facts) (changes []Change) {
	f, now = f.short(), now.short()
	is := map[string]string{}
	for _, x := range now {
		is[x.Name] = x.Value
	}
	was := map[string]bool{}
	for _, x := range f {
		was[x.Name] = true
		if is[x.Name] != x.Value {
			changes = append(changes, Change{x.Name, x.Value, is[x.Name]})
		}
	}
	for _, x := range now {
		if !was[x.Name] && x.Value != "" {
			changes = append(changes, Change{x.Name, "", x.Value})
		}
	}
	return changes
}

// factKept is how many bytes of a fact's value are kept.
const factKept = 256

// short are facts that can be kept in numbers: of a long value, its beginning and what tells
// it from others.
func (f Facts) short() Facts {
	short := slices.Clone(f)
	for i, x := range short {
		if len(x.Value) > factKept {
			sum := sha256.Sum256([]byte(x.Value))
			end := " … " + hex.EncodeToString(sum[:16])
			short[i].Value = strings.ToValidUTF8(x.Value[:factKept-len(end)], "") + end
		}
	}
	return short
}

// Order is one action on one thing.
type Order struct {
	// User is who is shown the form.
	User string
	// Kind is what it is done to, such as "saga", Target its ID.
	Kind, Target string
	// Act is the action, Step what it is about, Refuse that the answer is no.
	Act, Step string
	Refuse    bool
	// Shown is what the operator saw of the thing. Of an action on many things, Items are
	// those that he saw, in the order in which they are acted on.
	Shown Facts
	Items []Item
}

// Item is one of many things that are acted on together: its ID, and what tells it from itself
// if it has changed.
type Item struct {
	ID    string
	Print uint64
}

// Result is what came of a form.
type Result struct {
	// Done says that it was asked for; what came of it is in Outcome. Else nothing
	// was done.
	Done    bool
	Outcome string
	Detail  string
	Remedy  string
	// Changes are why nothing was done, where the thing was not as it was shown.
	Changes []Change
	// Bad says that it did not do what was asked for, or may not have.
	Bad bool
	// Again says that nothing was sent, and that the form may be sent again.
	Again bool
}

// form is a form that was shown.
type form struct {
	Order
	session string
	shown   time.Time
	attempt *attempt // the last time that it acted; nil: none
}

// attempt is one time that a form acts: the only one, unless nothing came of it.
type attempt struct {
	over   chan struct{} // closed once the result is there
	result Result
}

// Book has the forms of one process.
type Book struct {
	now func() time.Time

	mu    sync.Mutex
	forms map[string]*form
	busy  map[string]chan struct{} // targets that are acted on; closed once that is over
	ended bool                     // nothing more is acted on
}

// NewBook returns an empty book, by a clock.
func NewBook(now func() time.Time) *Book {
	return &Book{now: now, forms: map[string]*form{}, busy: map[string]chan struct{}{}}
}

// End has nothing more acted on, and waits for what is under way.
func (b *Book) End() {
	b.mu.Lock()
	b.ended = true
	underWay := slices.Collect(maps.Values(b.busy))
	b.mu.Unlock()
	for _, over := range underWay {
		<-over
	}
}

// Show notes that a form is shown to a session, and returns its ID, which nobody can guess.
func (b *Book) Show(session string, o Order) (id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	for id, f := range b.forms {
		if now.Sub(f.shown) >= Lasts {
			delete(b.forms, id)
		}
	}
	b.makeRoom(maxOfOne, func(f *form) bool { return f.session == session })
	b.makeRoom(maxOfUser, func(f *form) bool { return f.User == o.User })
	if len(b.forms) >= maxForms {
		most := b.whoHasMost()
		b.makeRoom(0, func(f *form) bool { return f.User == most })
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	id = base64.RawURLEncoding.EncodeToString(secret)
	o.Shown = o.Shown.short()
	b.forms[id] = &form{Order: o, session: session, shown: now}
	return id
}

// makeRoom forgets the oldest form of those that are meant, if there are as many as may be.
func (b *Book) makeRoom(most int, meant func(*form) bool) {
	n, oldest := 0, ""
	for id, f := range b.forms {
		if !meant(f) {
			continue
		}
		if n++; oldest == "" || f.shown.Before(b.forms[oldest].shown) {
			oldest = id
		}
	}
	if n >= most {
		delete(b.forms, oldest)
	}
}

// whoHasMost is the user who has the most forms: nobody else's has to go for them.
func (b *Book) whoHasMost() (most string) {
	of := map[string]int{}
	for _, f := range b.forms {
		if of[f.User]++; of[f.User] > of[most] {
			most = f.User
		}
	}
	return most
}

// Find returns what a form that was shown to a session is for.
func (b *Book) Find(session, id string) (Order, error) {
	f, err := b.find(session, id)
	if err != nil {
		return Order{}, err
	}
	return f.Order, nil
}

func (b *Book) find(session, id string) (*form, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.forms[id]
	if f == nil || session == "" || f.session != session || b.now().Sub(f.shown) >= Lasts {
		return nil, ErrUnknown
	}
	return f, nil
}

// Do has act called for a form, the first time that it is sent, and anew if the result of that
// says Again. Whoever else sends it gets the result, and waits for it if need be. Only one form
// for the same target is acted on at a time, so that of two operators the second sees what the
// first did; whoever waits for that does so until ctx is done, and then nothing was done.
func (b *Book) Do(ctx context.Context, session, id string, act func(Order) Result) (Order, Result, error) {
	f, err := b.find(session, id)
	if err != nil {
		return Order{}, Result{}, err
	}
	a, mine := b.begin(f)
	if mine {
		b.act(ctx, f.Order, a, act)
		return f.Order, a.result, nil
	}
	select {
	case <-a.over:
		return f.Order, a.result, nil
	case <-ctx.Done():
		return f.Order, Result{}, ctx.Err()
	}
}

// begin returns the form's attempt; mine says that the caller is to make it.
func (b *Book) begin(f *form) (a *attempt, mine bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a := f.attempt; a != nil {
		select {
		case <-a.over:
			if !a.result.Again {
				return a, false
			}
		default:
			return a, false
		}
	}
	f.attempt = &attempt{over: make(chan struct{})}
	return f.attempt, true
}

// act acts, and says so even where that panics: then nobody knows what came of it.
func (b *Book) act(ctx context.Context, o Order, a *attempt, act func(Order) Result) {
	done, err := b.alone(ctx, o.Kind+" "+o.Target)
	if err != nil {
		a.result = Result{Bad: true, Again: true, Detail: err.Error()}
		close(a.over)
		return
	}
	defer done()
	result := Result{Done: true, Bad: true, Outcome: "unknown"}
	defer func() {
		a.result = result
		close(a.over)
	}()
	result = act(o)
}

// Alone waits until nobody acts on a thing, as Do does, and keeps others from it until done is
// called. An error says that others act on it, or that the book is ended.
func (b *Book) Alone(ctx context.Context, kind, target string) (done func(), err error) {
	return b.alone(ctx, kind+" "+target)
}

var (
	errBusy  = errors.New("another action on it is under way")
	errEnded = errors.New("the console is about to end")
)

// alone waits until nobody else acts on the target, or ctx is done.
func (b *Book) alone(ctx context.Context, target string) (done func(), err error) {
	mine := make(chan struct{})
	for {
		b.mu.Lock()
		other := b.busy[target]
		if b.ended {
			b.mu.Unlock()
			return nil, errEnded
		}
		if other == nil {
			b.busy[target] = mine
			b.mu.Unlock()
			return func() {
				b.mu.Lock()
				defer b.mu.Unlock()
				delete(b.busy, target)
				close(mine)
			}, nil
		}
		b.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, errBusy
		}
	}
}

// Result returns what came of a form that was sent; ok is false if it was not, is under way,
// or may be sent again.
func (b *Book) Result(session, id string) (o Order, r Result, ok bool) {
	f, err := b.find(session, id)
	if err != nil {
		return Order{}, Result{}, false
	}
	b.mu.Lock()
	a := f.attempt
	b.mu.Unlock()
	if a == nil {
		return f.Order, Result{}, false
	}
	select {
	case <-a.over:
		return f.Order, a.result, !a.result.Again
	default:
		return f.Order, Result{}, false
	}
}
