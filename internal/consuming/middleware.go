package consuming

import (
	"context"
	"fmt"
	"reflect"

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
// says which they are.
func Send[S ~func(context.Context, *O) (holdfast.Receipt, error), M ~func(S) S, O any](ctx context.Context, ms []M,
	o *O, of func(*O) []holdfast.Message,
	do func(ctx context.Context, ms []holdfast.Message) (holdfast.Receipt, error)) (holdfast.Receipt, error) {
	n, sent := len(of(o)), false
	var h S = func(ctx context.Context, o *O) (holdfast.Receipt, error) {
		if o == nil || len(of(o)) != n {
			return holdfast.Receipt{}, fmt.Errorf("%w: a SendMiddleware called next with another number of messages than "+
				"the %d that it got", holdfast.ErrInvalid, n)
		}
		sent = true
		return do(ctx, of(o))
	}
	for i := len(ms) - 1; i >= 0; i-- {
		if h = ms[i](h); h == nil {
			return holdfast.Receipt{}, fmt.Errorf("%w: SendMiddleware %d returned nil: return a function that calls next",
				holdfast.ErrInvalid, i+1)
		}
	}
	receipt, err := h(ctx, o)
	if err == nil && !sent {
		err = fmt.Errorf("%w: a SendMiddleware neither called next nor returned an error: nothing was sent",
			holdfast.ErrInvalid)
	}
	return receipt, err
}

// What a handler of another shape is given, and returns, goes by the context past the
// middleware.
type (
	failureKey struct{}
	resultKey  struct{}
)

// errContext: what next was to be given is lost.
func errContext() error {
	return fmt.Errorf("%w: a middleware called next with a context that is not derived from its own", holdfast.ErrInvalid)
}

// Wrap is c with middleware around each of its functions.
func (c Consumer) Wrap(wrap Wrapper) (Consumer, error) {
	var err error
	if c.Handle != nil {
		if c.Handle, err = wrap(c.Handle); err != nil {
			return c, err
		}
	}
	if handle := c.HandleAtLeastOnce; handle != nil {
		h, err := wrap(func(ctx context.Context, _ *gorm.DB, m holdfast.Message) error { return handle(ctx, m) })
		if err != nil {
			return c, err
		}
		c.HandleAtLeastOnce = func(ctx context.Context, m holdfast.Message) error { return h(ctx, nil, m) }
	}
	if c.Undo == nil {
		return c, nil
	}
	undo := c.Undo
	h, err := wrap(func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error {
		f, ok := ctx.Value(failureKey{}).(holdfast.Failure)
		if !ok {
			return errContext()
		}
		return undo(ctx, tx, m, f)
	})
	c.Undo = func(ctx context.Context, tx *gorm.DB, m holdfast.Message, f holdfast.Failure) error {
		return h(context.WithValue(ctx, failureKey{}, f), tx, m)
	}
	return c, err
}

// WrapParticipation is do with middleware around it; nil stays nil.
func WrapParticipation(do Participation, wrap Wrapper) (Participation, error) {
	if do == nil {
		return nil, nil
	}
	h, err := wrap(func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error {
		result, ok := ctx.Value(resultKey{}).(*any)
		if !ok {
			return errContext()
		}
		v, err := do(ctx, tx, m)
		if err == nil {
			*result = v
		}
		return err
	})
	return func(ctx context.Context, tx *gorm.DB, m holdfast.Message) (any, error) {
		var result any
		if err := h(context.WithValue(ctx, resultKey{}, &result), tx, m); err != nil {
			return nil, err
		}
		return result, nil
	}, err
}
