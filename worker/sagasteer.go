package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/guard"
	"github.com/holdfastmq/holdfast/internal/seal"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// By says who asks for something, and why. Both are required, and are recorded in the
// saga's history.
type By struct {
	// Operator is a person's or a service's name, of at most 160 bytes. Nobody has
	// checked who that is: it is recorded as "NAME (claimed)". The names policy, timeout,
	// Temporal, holdfast and system are refused, and what looks like them.
	Operator string
	Reason   string
}

// request is what by asks for.
func (by By) request(step string) (sagas.Request, error) {
	req := sagas.Request{Step: step}
	req.Operator, req.Reason = strings.TrimSpace(by.Operator), strings.TrimSpace(by.Reason)
	switch {
	case req.Operator == "":
		return req, fmt.Errorf("%w: By.Operator is empty: say who asks", holdfast.ErrInvalid)
	case req.Reason == "":
		return req, fmt.Errorf("%w: By.Reason is empty: say why", holdfast.ErrInvalid)
	}
	if err := workflows.CheckOperator(req.Operator); err != nil {
		return req, fmt.Errorf("%w: By.Operator: %w", holdfast.ErrInvalid, err)
	}
	req.Operator = workflows.Claimed(req.Operator)
	return req, nil
}

// Pause holds the saga: what is under way ends, and no further step is begun or undone
// until [SagaHandle.Resume]. The time limits of replies and answers go on.
//
// All that steers a saga returns once it is done and recorded. [holdfast.ErrInvalid]: by
// is not complete, or the saga refuses it, because it has ended, has no such step, or
// stands otherwise; [holdfast.ErrNotFound]: there is no such saga. After an
// UnavailableError it may have taken effect: [SagaHandle.State] says, and to repeat it
// does no harm.
func (h *SagaHandle[S]) Pause(ctx context.Context, by By) error {
	return h.steer(ctx, sagas.UpdatePause, "", by)
}

// Resume lets a paused saga go on where it was.
func (h *SagaHandle[S]) Resume(ctx context.Context, by By) error {
	return h.steer(ctx, sagas.UpdateResume, "", by)
}

// Retry tries again now what failed, or waits for its next try, with all its tries anew:
// the step, or with an empty step all that failed. In a saga that goes back, it is the
// Undo that is tried. It ends a pause.
func (h *SagaHandle[S]) Retry(ctx context.Context, step string, by By) error {
	return h.steer(ctx, sagas.UpdateRetry, step, by)
}

// Skip goes on as if the step, which failed or waits, had been done, or undone. Nothing
// is done for it. When the saga goes back later, it is undone like the others.
func (h *SagaHandle[S]) Skip(ctx context.Context, step string, by By) error {
	return h.steer(ctx, sagas.UpdateSkip, step, by)
}

// Compensate has the saga undo all that it did, the last step first. It returns once the
// saga has turned back; [SagaHandle.Wait] says how that ends. One that has completed, or
// whose workflow was ended from outside, is undone by a second workflow. To repeat it is
// safe: nothing is undone twice.
func (h *SagaHandle[S]) Compensate(ctx context.Context, by By) error {
	req, err := by.request("")
	if err != nil {
		return err
	}
	id, err := h.find(ctx)
	if err != nil {
		return err
	}
	if err := h.sagas().Compensate(ctx, id, req); err != nil {
		return err
	}
	h.turned.Store(true)
	return nil
}

// Approve answers the saga's wait step, with a value where the step takes one, or nil.
// An answer may come before its wait. [holdfast.ErrAnswered]: the step was answered
// before, by whom and how is said.
func (h *SagaHandle[S]) Approve(ctx context.Context, step string, value any, by By) error {
	req, err := by.request(step)
	if err != nil {
		return err
	}
	if value != nil {
		if req.Value, err = guard.Value(func() ([]byte, error) { return json.Marshal(value) }); err != nil {
			return fmt.Errorf("%w: the answer to step %s of %s is no JSON: %w", holdfast.ErrInvalid, step, h.id, err)
		}
		if len(req.Value) > sagas.MaxAnswer {
			return fmt.Errorf("%w: the answer to step %s of %s has %d bytes of JSON, the limit is %d",
				holdfast.ErrTooLarge, step, h.id, len(req.Value), sagas.MaxAnswer)
		}
	}
	return h.send(ctx, sagas.UpdateAnswer, req)
}

// Refuse answers the saga's wait step with no: the saga goes back, or on where the step
// says so. [holdfast.ErrAnswered] is as for Approve.
func (h *SagaHandle[S]) Refuse(ctx context.Context, step string, by By) error {
	req, err := by.request(step)
	if err != nil {
		return err
	}
	req.Refuse = true
	return h.send(ctx, sagas.UpdateAnswer, req)
}

func (h *SagaHandle[S]) steer(ctx context.Context, action, step string, by By) error {
	req, err := by.request(step)
	if err != nil {
		return err
	}
	return h.send(ctx, action, req)
}

func (h *SagaHandle[S]) send(ctx context.Context, action string, req sagas.Request) error {
	id, err := h.find(ctx)
	if err != nil {
		return err
	}
	if req.Value, err = h.w.box.Value(ctx, seal.Answer, id, req.Step, req.Value); err != nil {
		return err
	}
	if len(req.Value) > sagas.MaxAnswer {
		return fmt.Errorf("%w: the answer to step %s of %s has, encrypted, %d bytes of JSON, the limit is %d",
			holdfast.ErrTooLarge, req.Step, h.id, len(req.Value), sagas.MaxAnswer)
	}
	return h.sagas().Steer(ctx, id, action, req)
}
