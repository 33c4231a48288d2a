package sagarun

import (
	"context"
	"errors"
	"runtime/debug"
	"strings"
	"unicode/utf8"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/saga/core"
)

// maxError limits an error's text in a saga's history, in bytes.
const maxError = 1000

func done(patch []byte) activities.SagaResult {
	return activities.SagaResult{Outcome: core.Outcome{Kind: core.OutcomeDone, Patch: patch}}
}

func skipped() activities.SagaResult {
	return activities.SagaResult{Outcome: core.Outcome{Kind: core.OutcomeSkipped}}
}

func refused(reason string) activities.SagaResult {
	return activities.SagaResult{Outcome: core.Outcome{Kind: core.OutcomeRefused, Error: clip(reason)}}
}

func blocked(reason string) activities.SagaResult {
	return activities.SagaResult{Outcome: core.Outcome{Kind: core.OutcomeBlocked, Error: clip("it was undone before: " + reason)}}
}

func pending(why string) activities.SagaResult {
	r := activities.SagaResult{Outcome: core.Outcome{Kind: core.OutcomePending, Error: clip(why)}}
	if why != "" {
		r.Outcome.Class = holdfast.ClassError
	}
	return r
}

func noWorker(err error) activities.SagaResult {
	return activities.SagaResult{Outcome: core.Outcome{Kind: core.OutcomeNoWorker, Error: clip(err.Error())}}
}

func failedAs(class holdfast.ErrorClass, reason string) activities.SagaResult {
	return activities.SagaResult{Outcome: core.Outcome{Kind: core.OutcomeFailed, Class: class, Error: clip(reason)}}
}

// failed is the outcome of a step that returned err.
func failed(ctx context.Context, err error) activities.SagaResult {
	var panicked *holdfast.PanicError
	class := holdfast.ClassError
	switch {
	case holdfast.IsPermanent(err), errors.Is(err, holdfast.ErrInvalid), errors.Is(err, holdfast.ErrTooLarge):
		class = holdfast.ClassPermanent
	case errors.As(err, &panicked):
		class = holdfast.ClassPanic
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		class = holdfast.ClassTimeout
	}
	return failedAs(class, err.Error())
}

// excuse marks a failure as not the step's where it is not the user's function's:
// the database cannot be reached to begin or to commit.
func excuse(r activities.SagaResult, err error, userFailed bool) activities.SagaResult {
	var away *holdfast.UnavailableError
	r.Outcome.Excused = !userFailed && errors.As(err, &away)
	return r
}

// protect calls f; a panic in it is an error.
func protect(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &holdfast.PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return f()
}

func clip(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxError {
		return s
	}
	s = s[:maxError-len("…")]
	for len(s) > 0 {
		if r, n := utf8.DecodeLastRuneInString(s); r != utf8.RuneError || n != 1 {
			break
		}
		s = s[:len(s)-1]
	}
	return s + "…"
}
