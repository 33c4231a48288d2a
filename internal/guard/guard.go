// Package guard is where Holdfast calls the application's functions. Whatever such a
// function does (it panics, it ends its goroutine, it returns an error that cannot be
// used) becomes an error of that one call, in words, which every later part can print,
// unwrap and compare.
package guard

import (
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"

	holdfast "github.com/holdfastmq/holdfast"
)

// ErrExited means that a function ended its goroutine instead of returning.
var ErrExited = errors.New("the function ended its goroutine (runtime.Goexit, which t.FailNow calls): " +
	"return an error instead")

// Call calls f in a goroutine of its own, and waits for it. A panic is a
// [holdfast.PanicError], the end of the goroutine is [ErrExited], and an error is as
// [Err] makes it.
func Call(f func() error) error {
	ended := make(chan error, 1)
	go func() {
		err := ErrExited
		defer func() { ended <- err }() // also where err below panics anew
		defer func() {
			if v := recover(); v != nil {
				err = Panicked(v)
			}
		}()
		err = Err(f())
	}()
	return <-ended
}

// Value is [Call] for a function with a result, which is the zero value beside an
// error.
func Value[T any](f func() (T, error)) (T, error) {
	var out T
	err := Call(func() (err error) {
		out, err = f()
		return err
	})
	if err != nil {
		var none T
		return none, err
	}
	return out, nil
}

// Panicked makes an error of what recover returned. Call it in the deferred function.
func Panicked(v any) error {
	stack := debug.Stack()
	if err, ok := v.(error); ok {
		return &holdfast.PanicError{Value: Err(err), Stack: stack}
	}
	if _, ok := text(v); !ok {
		v = fmt.Sprintf("a value of type %T that cannot be printed", v)
	}
	return &holdfast.PanicError{Value: v, Stack: stack}
}

// Err returns err, or, where err cannot be used, an error that says so. A typed nil is
// such an error, and one of which a method panics, does not come to an end, or takes
// every error for its own. Whether it was permanent is kept.
func Err(err error) error {
	if err == nil {
		return nil
	}
	var w walk
	why := w.of(err)
	if why == "" {
		return err
	}
	bad := errors.New(why)
	if w.permanent {
		return holdfast.Permanent(bad)
	}
	return bad
}

// permanent is the type of errors that are marked as such.
var permanent = reflect.TypeOf(holdfast.Permanent(errNobodys))

// maxNodes limits the errors that one error may wrap, all in all.
const maxNodes = 10_000

// walk looks at all errors that an error wraps.
type walk struct {
	nodes     int
	permanent bool
}

// of says what is wrong with err, or "".
func (w *walk) of(err error) (why string) {
	if TypedNil(err) {
		return nilError(err)
	}
	defer func() {
		if v := recover(); v != nil {
			why = fmt.Sprintf("the function returned an error of type %T that cannot be used: one of its methods panics", err)
			if said, ok := text(v); ok {
				why += ": " + said
			}
		}
	}()
	why = w.node(err)
	if why != "" {
		return why
	}
	_ = err.Error()
	if errors.Is(err, errNobodys) || errors.As(err, new(*nobodys)) {
		return fmt.Sprintf("the function returned an error of type %T that cannot be used: "+
			"its Is or As takes every error for its own: %s", err, err.Error())
	}
	return ""
}

// node walks the tree of errors; it panics where one of their methods does.
func (w *walk) node(err error) string {
	if w.nodes++; w.nodes > maxNodes {
		return fmt.Sprintf("the function returned an error of type %T that cannot be used: "+
			"it wraps more than %d errors, or itself", err, maxNodes)
	}
	if TypedNil(err) {
		return nilError(err)
	}
	w.permanent = w.permanent || reflect.TypeOf(err) == permanent
	switch e := any(err).(type) { // this very node of the tree
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			return w.node(inner)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			if inner == nil {
				continue
			}
			if why := w.node(inner); why != "" {
				return why
			}
		}
	}
	return ""
}

func nilError(err error) string {
	return fmt.Sprintf("the function returned a nil %[1]T as an error, which is not the nil error: "+
		"return nil itself where nothing is wrong (from a function whose result is error, not %[1]T)", err)
}

// TypedNil reports whether v is a nil pointer of some type, which an interface that has it
// does not equal nil for: its methods would panic.
func TypedNil(v any) bool {
	of := reflect.ValueOf(v)
	return of.Kind() == reflect.Pointer && of.IsNil()
}

// nobodys is the type of an error that no other one is.
type nobodys struct{}

func (*nobodys) Error() string { return "nobody's error" }

var errNobodys error = &nobodys{}

// text prints a value, and reports whether that is possible.
func text(v any) (s string, ok bool) {
	defer func() {
		if recover() != nil {
			s, ok = "", false
		}
	}()
	return fmt.Sprint(v), true
}
