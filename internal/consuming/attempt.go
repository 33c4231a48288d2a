package consuming

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
)

// attempt is one call of a handler inside middleware. The handler runs at most once, and not
// after the middleware has returned: what a run that failed has written is undone only with the
// whole transaction. It also carries past the middleware what handlers of another shape get
// and return.
type attempt struct {
	failure holdfast.Failure

	mu                 sync.Mutex
	ran, running, over bool
	result             any
	err                error // of the run
	misused            error // of a call of next that ran nothing
}

type attemptKey struct{}

// errPanicked is what a run came to that never returned.
var errPanicked = fmt.Errorf("%w: the handler panicked, and a middleware that recovers has to return an error",
	holdfast.ErrInvalid)

// run is a handler's work; what it returns beside its error is the attempt's result.
type run func(ctx context.Context, tx *gorm.DB, m holdfast.Message, a *attempt) (result any, err error)

// inside puts middleware around do. What it returns is called with a new attempt each time.
func inside(wrap Wrapper, do run) (func(context.Context, *gorm.DB, holdfast.Message, *attempt) error, error) {
	h, err := wrap(func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error {
		a, ok := ctx.Value(attemptKey{}).(*attempt)
		if !ok {
			return fmt.Errorf("%w: a middleware called next with a context that is not derived from its own",
				holdfast.ErrInvalid)
		}
		return a.do(func() (any, error) { return do(ctx, tx, m, a) })
	})
	return func(ctx context.Context, tx *gorm.DB, m holdfast.Message, a *attempt) error {
		defer a.end()
		if err := h(context.WithValue(ctx, attemptKey{}, a), tx, m); err != nil {
			return err
		}
		return a.end()
	}, err
}

// do runs f, unless next was called before, or is called too late.
func (a *attempt) do(f func() (any, error)) (err error) {
	if err := a.begin(); err != nil {
		return err
	}
	result, err := any(nil), errPanicked
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.running, a.result, a.err = false, result, err
	}()
	result, err = f()
	return err
}

func (a *attempt) begin() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.over:
		return fmt.Errorf("%w: a middleware called next after it had returned", holdfast.ErrInvalid)
	case !a.ran:
		a.ran, a.running = true, true
		return nil
	}
	a.misused = fmt.Errorf("%w: a middleware called next again, in the same database transaction: return the error to "+
		"have the message tried again", holdfast.ErrInvalid)
	if a.err != nil {
		a.misused = fmt.Errorf("%w; the first time: %w", a.misused, a.err)
	}
	return a.misused
}

// end says why the middleware should not have returned without an error.
func (a *attempt) end() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = true
	switch {
	case a.running:
		return fmt.Errorf("%w: a middleware returned before next did", holdfast.ErrInvalid)
	case a.misused == nil && errors.Is(a.err, errPanicked):
		return errPanicked
	}
	return a.misused
}

// done says why a participant has not done what its middleware says that it has.
func (a *attempt) done() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case !a.ran:
		return fmt.Errorf("%w: a participant's middleware neither called next nor returned an error: nothing was done; "+
			"return an error, or saga.Refuse", holdfast.ErrInvalid)
	case a.err != nil:
		return fmt.Errorf("%w: a participant's middleware returned no error, though next did: %w", holdfast.ErrInvalid, a.err)
	}
	return nil
}
