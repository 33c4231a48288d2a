package consuming

import (
	"context"
	"fmt"
	"reflect"
	"sync"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/guard"
)

// Handle is a consumer's work on one message.
type Handle = func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error

// Participation is a participant's.
type Participation = func(ctx context.Context, tx *gorm.DB, m holdfast.Message) (result any, err error)

// Wrapper puts middleware around a handler.
type Wrapper func(Handle) (Handle, error)

// Chain puts middleware around final: the first is the outermost. Each is called once. An
// error says which one is nil, made nothing, or panicked.
func Chain[H any, M ~func(H) H](ms []M, final H) (h H, err error) {
	h = final
	for i := len(ms) - 1; i >= 0; i-- {
		if ms[i] == nil {
			return h, fmt.Errorf("%w: middleware %d is nil", holdfast.ErrInvalid, i+1)
		}
		if err := guard.Call(func() error { h = ms[i](h); return nil }); err != nil {
			return h, fmt.Errorf("%w: middleware %d: %w", holdfast.ErrInvalid, i+1, err)
		}
		if reflect.ValueOf(h).IsNil() {
			return h, fmt.Errorf("%w: middleware %d returned nil: return a function that calls next", holdfast.ErrInvalid, i+1)
		}
	}
	return h, nil
}

// Send has messages sent by do, inside middleware for senders, which gets them in o; of
// says which they are. An error of do that the middleware drops is the caller's nevertheless.
func Send[S ~func(context.Context, *O) (holdfast.Receipt, error), M ~func(S) S, O any](ctx context.Context, ms []M,
	o *O, of func(*O) []holdfast.Message,
	do func(ctx context.Context, ms []holdfast.Message) (holdfast.Receipt, error)) (holdfast.Receipt, error) {
	n, last := len(of(o)), &sending{}
	var h S = func(ctx context.Context, o *O) (holdfast.Receipt, error) {
		if o == nil || len(of(o)) != n {
			return holdfast.Receipt{}, fmt.Errorf("%w: a SendMiddleware called next with another number of messages than "+
				"the %d that it got", holdfast.ErrInvalid, n)
		}
		return last.do(func() (holdfast.Receipt, error) { return do(ctx, of(o)) })
	}
	for i := len(ms) - 1; i >= 0; i-- {
		if h = ms[i](h); h == nil {
			return holdfast.Receipt{}, fmt.Errorf("%w: SendMiddleware %d returned nil: return a function that calls next",
				holdfast.ErrInvalid, i+1)
		}
	}
	receipt, err := h(ctx, o)
	if err == nil {
		return last.said(receipt)
	}
	return receipt, err
}

// sending is what the latest call of next came to, perhaps in another goroutine.
type sending struct {
	mu      sync.Mutex
	begun   bool
	running int
	receipt holdfast.Receipt
	err     error
}

func (s *sending) do(f func() (holdfast.Receipt, error)) (receipt holdfast.Receipt, err error) {
	s.mu.Lock()
	s.begun = true
	s.running++
	s.mu.Unlock()
	err = fmt.Errorf("%w: sending panicked", holdfast.ErrUndecided)
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.running--
		s.receipt, s.err = receipt, err
	}()
	receipt, err = f()
	return receipt, err
}

// said is what the caller gets after middleware that returned no error. An error of next keeps
// its class alone: beside ErrInvalid, it would also say that nothing was run.
func (s *sending) said(receipt holdfast.Receipt) (holdfast.Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.begun:
		return receipt, fmt.Errorf("%w: a SendMiddleware neither called next nor returned an error: nothing was sent",
			holdfast.ErrInvalid)
	case s.running > 0:
		return receipt, fmt.Errorf("%w: a SendMiddleware returned before next did", holdfast.ErrUndecided)
	case s.err != nil:
		return s.receipt, fmt.Errorf("a SendMiddleware returned no error, though next did: %w", s.err)
	}
	return receipt, nil
}

// Wrap is c with middleware around each of its functions.
func (c Consumer) Wrap(wrap Wrapper) (Consumer, error) {
	if handle := c.Handle; handle != nil {
		h, err := inside(wrap, func(ctx context.Context, tx *gorm.DB, m holdfast.Message, _ *attempt) (any, error) {
			return nil, handle(ctx, tx, m)
		})
		if err != nil {
			return c, err
		}
		c.Handle = func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error { return h(ctx, tx, m, &attempt{}) }
	}
	if handle := c.HandleAtLeastOnce; handle != nil {
		h, err := inside(wrap, func(ctx context.Context, _ *gorm.DB, m holdfast.Message, _ *attempt) (any, error) {
			return nil, handle(ctx, m)
		})
		if err != nil {
			return c, err
		}
		c.HandleAtLeastOnce = func(ctx context.Context, m holdfast.Message) error { return h(ctx, nil, m, &attempt{}) }
	}
	undo := c.Undo
	if undo == nil {
		return c, nil
	}
	h, err := inside(wrap, func(ctx context.Context, tx *gorm.DB, m holdfast.Message, a *attempt) (any, error) {
		return nil, undo(ctx, tx, m, a.failure)
	})
	c.Undo = func(ctx context.Context, tx *gorm.DB, m holdfast.Message, f holdfast.Failure) error {
		return h(ctx, tx, m, &attempt{failure: f})
	}
	return c, err
}

// WrapParticipation is do with middleware around it; nil stays nil. What it answers is
// that of do: middleware cannot say that something was done.
func WrapParticipation(do Participation, wrap Wrapper) (Participation, error) {
	if do == nil {
		return nil, nil
	}
	h, err := inside(wrap, func(ctx context.Context, tx *gorm.DB, m holdfast.Message, _ *attempt) (any, error) {
		return do(ctx, tx, m)
	})
	return func(ctx context.Context, tx *gorm.DB, m holdfast.Message) (any, error) {
		a := &attempt{}
		if err := h(ctx, tx, m, a); err != nil {
			return nil, err
		}
		if err := a.done(); err != nil {
			return nil, err
		}
		return a.result, nil
	}, err
}
