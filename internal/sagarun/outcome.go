package sagarun

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/internal/blame"
	"github.com/holdfastmq/holdfast/internal/brief"
	"github.com/holdfastmq/holdfast/internal/seal"
	"github.com/holdfastmq/holdfast/saga/core"
)

// maxContending is how often a step is tried again in one try of its saga's.
const maxContending = 10

// maxError limits an error's text in a saga's history, in bytes.
const maxError = 1000

func done(patch []byte) activities.SagaResult {
	return activities.SagaResult{Outcome: core.Outcome{Kind: core.OutcomeDone, Patch: patch}}
}

func skipped() activities.SagaResult {
	return activities.SagaResult{Outcome: core.Outcome{Kind: core.OutcomeSkipped}}
}

func refused(reason string) activities.SagaResult {
	return activities.SagaResult{Outcome: core.Outcome{Kind: core.OutcomeRefused, Error: clipped(reason)}}
}

func blocked(reason string) activities.SagaResult {
	return activities.SagaResult{Outcome: core.Outcome{Kind: core.OutcomeBlocked,
		Error: clipped("it was undone before: " + reason)}}
}

// notDone is the outcome of an Undo that found nothing in the database.
func notDone() activities.SagaResult {
	return activities.SagaResult{Outcome: core.Outcome{Kind: core.OutcomeBlocked,
		Error: "its Do has no row in the database: no Undo was run"}}
}

func pending(why string) activities.SagaResult {
	r := activities.SagaResult{Outcome: core.Outcome{Kind: core.OutcomePending, Error: clipped(why)}}
	if why != "" {
		r.Outcome.Class = holdfast.ClassError
	}
	return r
}

func noWorker(err error) activities.SagaResult {
	return activities.SagaResult{Outcome: core.Outcome{Kind: core.OutcomeNoWorker, Error: clipped(err.Error())}}
}

// noKey has another process asked, which may have the key.
func noKey(err error) activities.SagaResult {
	out := noWorker(err)
	out.NoKey = true
	return out
}

func failedAs(class holdfast.ErrorClass, reason string) activities.SagaResult {
	return activities.SagaResult{Outcome: core.Outcome{Kind: core.OutcomeFailed, Class: class, Error: clipped(reason)}}
}

// failed is the outcome of a step that returned err. That a key is missing is no fault of
// its.
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
	out := failedAs(class, err.Error())
	out.Outcome.Excused = class != holdfast.ClassPermanent && seal.Missing(err)
	return out
}

// nothing marks a failure of which nothing was done, neither here nor elsewhere.
func nothing(r activities.SagaResult) activities.SagaResult {
	r.Outcome.Nothing = true
	return r
}

// present is the state as it is now.
func present(s activities.SagaStep) json.RawMessage {
	if len(s.Present) > 0 {
		return s.Present
	}
	return s.Data
}

// excused is failed for a step with rows in a database, which may be no fault of the
// step: then it is tried again, and does not count.
func excused(ctx context.Context, err error) activities.SagaResult {
	r := failed(ctx, err)
	r.Outcome.Excused = r.Outcome.Class != holdfast.ClassPermanent && blame.Of(err) != blame.Message
	return r
}

// contending repeats a try that lost its rows to others at the same moment, with
// short pauses, while there is time for it.
func contending(ctx context.Context, try func() error) error {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval, pause.RandomizationFactor = 10*time.Millisecond, 500*time.Millisecond, 0.5
	for range maxContending {
		err := try()
		if blame.Of(err) != blame.Contention {
			return err
		}
		t := time.NewTimer(pause.NextBackOff())
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		}
	}
	return try()
}

func clipped(s string) string { return brief.Text(strings.ToValidUTF8(s, "\uFFFD"), maxError) }
