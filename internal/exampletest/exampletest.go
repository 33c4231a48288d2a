// Package exampletest lets a Go example use what needs a test, such as holdfasttest.New.
package exampletest

import (
	"context"
	"fmt"
	"slices"
	"testing"
)

// T stands for the *testing.T of a test, which examples do not have. The zero value is
// ready; call End at the example's end. What fails panics, and so fails the example.
type T struct {
	testing.TB
	cleanups []func()
}

// Helper does nothing.
func (*T) Helper() {}

// Cleanup has End call f.
func (t *T) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

// Context is never done.
func (*T) Context() context.Context { return context.Background() }

// Fatal panics.
func (*T) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// Fatalf panics.
func (*T) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// End is the test's end.
func (t *T) End() {
	for _, f := range slices.Backward(t.cleanups) {
		f()
	}
}
