package consuming

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga"
)

var errOops = errors.New("oops")

type middleware func(Handle) Handle

func within(m middleware) Wrapper {
	return func(h Handle) (Handle, error) { return Chain([]middleware{m}, h) }
}

// calling is middleware that does f around next, without the message.
func calling(f func(next func() error) error) Wrapper {
	return within(func(next Handle) Handle {
		return func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error {
			return f(func() error { return next(ctx, tx, m) })
		}
	})
}

// A handler runs once in an attempt: of a run that failed, nothing is committed with another's.
func TestNextRunsOnce(t *testing.T) {
	t.Parallel()
	var kept func() error
	started, goOn := make(chan struct{}), make(chan struct{})
	ended := make(chan error, 1)
	for name, tc := range map[string]struct {
		f    func(next func() error) error
		runs int
		text string
	}{
		"tries again": {func(next func() error) error {
			if err := next(); err == nil {
				return nil
			}
			return next()
		}, 1, "return the error to have the message tried again; the first time: oops"},
		"and hides it": {func(next func() error) error { _, _ = next(), next(); return nil }, 1, "called next again"},
		"keeps it":     {func(next func() error) error { kept = next; return next() }, 1, "oops"},
		"leaves first": {func(next func() error) error {
			go func() { ended <- next() }()
			<-started
			return nil
		}, 1, "returned before next did"},
		"panics": {func(next func() error) error { defer func() { _ = recover() }(); return next() }, 1, "the handler panicked"},
	} {
		runs := 0
		handle := func() error {
			runs++
			if name == "leaves first" {
				close(started)
				<-goOn
			}
			if name == "panics" {
				panic(name)
			}
			return errOops
		}
		c, err := Consumer{Handle: func(context.Context, *gorm.DB, holdfast.Message) error { return handle() }}.Wrap(calling(tc.f))
		require.NoError(t, err)
		err = c.Handle(t.Context(), nil, holdfast.Message{})
		require.ErrorContains(t, err, tc.text, name)
		require.Equal(t, tc.text != "oops", errors.Is(err, holdfast.ErrInvalid), name)
		if name == "leaves first" {
			close(goOn)
			require.ErrorIs(t, <-ended, errOops)
		}
		if name == "keeps it" {
			require.ErrorContains(t, kept(), "after it had returned")
		}
		require.Equal(t, tc.runs, runs, name)
	}
	runs := 0
	twice := calling(func(next func() error) error { _ = next(); return next() })
	c, err := Consumer{
		HandleAtLeastOnce: func(context.Context, holdfast.Message) error { runs++; return holdfast.Permanent(errOops) },
		Undo:              func(context.Context, *gorm.DB, holdfast.Message, holdfast.Failure) error { runs++; return errOops },
	}.Wrap(twice)
	require.NoError(t, err)
	err = c.HandleAtLeastOnce(t.Context(), holdfast.Message{})
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	require.True(t, holdfast.IsPermanent(err), "the first error's class")
	require.ErrorIs(t, c.Undo(t.Context(), nil, holdfast.Message{}, holdfast.Failure{}), holdfast.ErrInvalid)
	do, err := WrapParticipation(func(context.Context, *gorm.DB, holdfast.Message) (any, error) { runs++; return 1, nil }, twice)
	require.NoError(t, err)
	_, err = do(t.Context(), nil, holdfast.Message{})
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	require.Equal(t, 3, runs)
}

// A participant's middleware cannot say that something was done which was not.
func TestParticipantsMiddlewareIsNoAnswer(t *testing.T) {
	t.Parallel()
	drop := func(next func() error) error { _ = next(); return nil }
	for name, tc := range map[string]struct {
		f    func(next func() error) error
		do   func() (any, error)
		text string
	}{
		"no call":     {func(func() error) error { return nil }, func() (any, error) { return 1, nil }, "nothing was done"},
		"an error":    {drop, func() (any, error) { return 1, errOops }, "though next did: oops"},
		"a refusal":   {drop, func() (any, error) { return nil, saga.Refuse("no seat") }, "no seat"},
		"a panic":     {func(next func() error) error { defer func() { _ = recover() }(); return next() }, func() (any, error) { panic(1) }, "panicked"},
		"and success": {drop, func() (any, error) { return 1, nil }, ""},
	} {
		do, err := WrapParticipation(func(context.Context, *gorm.DB, holdfast.Message) (any, error) { return tc.do() }, calling(tc.f))
		require.NoError(t, err)
		result, err := do(t.Context(), nil, holdfast.Message{})
		if tc.text == "" {
			require.NoError(t, err, name)
			require.Equal(t, 1, result, name)
			continue
		}
		require.ErrorIs(t, err, holdfast.ErrInvalid, name)
		require.ErrorContains(t, err, tc.text, name)
		require.Nil(t, result, name)
		_, refused := holdfast.IsRefused(err)
		require.Equal(t, name == "a refusal", refused, name)
	}
}

type outgoing struct{ messages []holdfast.Message }

type sender func(context.Context, *outgoing) (holdfast.Receipt, error)

// What became of a transaction is told, whatever the middleware makes of it.
func TestSendKeepsTheError(t *testing.T) {
	t.Parallel()
	started, goOn := make(chan struct{}), make(chan struct{})
	pending := errors.Join(holdfast.ErrDeliveryPending, errOops)
	receipt := holdfast.Receipt{TxID: "t"}
	for name, tc := range map[string]struct {
		m    func(ctx context.Context, o *outgoing, next sender) (holdfast.Receipt, error)
		errs []error
		want error
	}{
		"dropped": {func(ctx context.Context, o *outgoing, next sender) (holdfast.Receipt, error) {
			_, _ = next(ctx, o)
			return holdfast.Receipt{}, nil
		}, []error{pending}, holdfast.ErrDeliveryPending},
		"by a goroutine": {func(ctx context.Context, o *outgoing, next sender) (holdfast.Receipt, error) {
			done := make(chan struct{})
			go func() { defer close(done); _, _ = next(ctx, o) }()
			<-done
			return holdfast.Receipt{}, nil
		}, []error{holdfast.ErrUndecided}, holdfast.ErrUndecided},
		"tried again": {func(ctx context.Context, o *outgoing, next sender) (holdfast.Receipt, error) {
			_, _ = next(ctx, o)
			return next(ctx, o)
		}, []error{holdfast.ErrNotStored, nil}, nil},
		"another error": {func(ctx context.Context, o *outgoing, next sender) (holdfast.Receipt, error) {
			r, _ := next(ctx, o)
			return r, errOops
		}, []error{nil}, errOops},
		"leaves first": {func(ctx context.Context, o *outgoing, next sender) (holdfast.Receipt, error) {
			go func() { _, _ = next(ctx, o) }()
			<-started
			return receipt, nil
		}, []error{nil}, holdfast.ErrUndecided},
	} {
		ms := []func(sender) sender{func(next sender) sender {
			return func(ctx context.Context, o *outgoing) (holdfast.Receipt, error) { return tc.m(ctx, o, next) }
		}}
		calls := 0
		got, err := Send(t.Context(), ms, &outgoing{make([]holdfast.Message, 1)}, func(o *outgoing) []holdfast.Message { return o.messages },
			func(context.Context, []holdfast.Message) (holdfast.Receipt, error) {
				if name == "leaves first" {
					close(started)
					<-goOn
				}
				calls++
				return receipt, tc.errs[calls-1]
			})
		require.Equal(t, receipt, got, name)
		if tc.want == nil {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorIs(t, err, tc.want, name)
		require.NotErrorIs(t, err, holdfast.ErrInvalid, "%s: which says that nothing was run", name)
	}
	close(goOn)
}
