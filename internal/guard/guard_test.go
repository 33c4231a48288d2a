package guard_test

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/guard"
)

type ptrErr struct{ msg string }

func (e *ptrErr) Error() string { return e.msg }

type panicking struct{ v any }

func (e panicking) Error() string { panic(e.v) }

type exiting struct{}

func (exiting) Error() string { runtime.Goexit(); return "" }

type endless struct{ msg string }

func (e *endless) Error() string { return e.msg }
func (e *endless) Unwrap() error { return e }

type grasping struct{}

func (grasping) Error() string { return "mine" }
func (grasping) Is(error) bool { return true }

type unwrapPanics struct{}

func (unwrapPanics) Error() string { return "outer" }
func (unwrapPanics) Unwrap() error { panic("no") }

type slices []string // not comparable

func (slices) Error() string { return "several" }

type stringPanics struct{}

func (stringPanics) String() string { panic(panicking{stringPanics{}}) }

func validate() *ptrErr { return nil }

// Whatever the function does, the caller gets an error whose methods can be called.
func TestCall(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		f    func() error
		want string
	}{
		"typed nil":                       {func() error { return validate() }, "a nil *guard_test.ptrErr as an error"},
		"typed nil, wrapped":              {func() error { return fmt.Errorf("validate: %w", validate()) }, "a nil *guard_test.ptrErr as an error"},
		"typed nil, joined":               {func() error { return errors.Join(boom, validate()) }, "a nil *guard_test.ptrErr as an error"},
		"Error panics":                    {func() error { return panicking{"inside"} }, "one of its methods panics: inside"},
		"Error panics with such a one":    {func() error { return panicking{panicking{panicking{1}}} }, "one of its methods panics"},
		"Error exits":                     {func() error { return exiting{} }, "runtime.Goexit"},
		"Unwrap panics":                   {func() error { return fmt.Errorf("x: %w", unwrapPanics{}) }, "one of its methods panics: no"},
		"wraps itself":                    {func() error { return &endless{"again"} }, "or itself"},
		"is everything":                   {func() error { return grasping{} }, "mine"},
		"panic":                           {func() error { panic("oops") }, "panic: oops"},
		"panic of nil":                    {func() error { panic(nil) }, "panic"}, //nolint:govet // on purpose
		"panic of a typed nil":            {func() error { panic(validate()) }, "a nil *guard_test.ptrErr"},
		"panic of an error that panics":   {func() error { panic(panicking{"deep"}) }, "one of its methods panics: deep"},
		"panic of what cannot be printed": {func() error { panic(stringPanics{}) }, "panic: "},
		"Goexit":                          {func() error { runtime.Goexit(); return nil }, "runtime.Goexit"},
	} {
		err := guard.Call(c.f)
		require.ErrorContains(t, err, c.want, name)
		require.NotErrorIs(t, err, io.EOF, name)
		var r *holdfast.RefusedError
		require.False(t, errors.As(err, &r), name)
		require.NotEmpty(t, fmt.Sprintf("%v %+v %q", err, err, err), name)
	}
	require.NoError(t, guard.Call(func() error { return nil }))
	for _, err := range []error{boom, fmt.Errorf("x: %w", boom), errors.Join(boom, io.EOF), holdfast.Permanent(boom), slices{"a"}, &ptrErr{"set"}} {
		require.Equal(t, err, guard.Call(func() error { return err }), "an error that can be used is left as it is")
	}
	require.True(t, holdfast.IsPermanent(guard.Call(func() error { return holdfast.Permanent(validate()) })), "permanent it stays")
	var p *holdfast.PanicError
	require.ErrorAs(t, guard.Call(func() error { panic(boom) }), &p)
	require.ErrorIs(t, p, boom)
	require.Contains(t, string(p.Stack), "guard_test.go")
}

// A result beside an error is none.
func TestValue(t *testing.T) {
	t.Parallel()
	v, err := guard.Value(func() (int, error) { return 7, nil })
	require.NoError(t, err)
	require.Equal(t, 7, v)
	v, err = guard.Value(func() (int, error) { return 7, validate() })
	require.Error(t, err)
	require.Zero(t, v)
	v, err = guard.Value(func() (int, error) { panic(1) })
	require.Error(t, err)
	require.Zero(t, v)
}
