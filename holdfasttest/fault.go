package holdfasttest

import (
	"context"
	"errors"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
)

// Fault is something that goes wrong at a step: each time, unless [Fault.Times]
// says how often. Where several faults are about the same, the first that was made
// and is not used up counts.
type Fault struct {
	kind  faultKind
	step  string
	undo  bool
	err   error
	delay time.Duration
	left  int // negative: no limit
}

type faultKind string

const (
	faultFail   faultKind = "fail"
	faultLose   faultKind = "lose"
	faultReply  faultKind = "lose reply"
	faultDelay  faultKind = "delay reply"
	faultRepeat faultKind = "repeat reply"
)

// FailDo has a step's Do fail with err, after it has run and before it is
// committed. [saga.Refuse] and [holdfast.Permanent] mean what they always do, and
// a [holdfast.PanicError] panics. In a participant it is one of its tries.
func (k *Kit) FailDo(step string, err error) *Fault {
	return k.fault(&Fault{kind: faultFail, step: step, err: err})
}

// FailUndo does the same with a step's Undo.
func (k *Kit) FailUndo(step string, err error) *Fault {
	return k.fault(&Fault{kind: faultFail, step: step, undo: true, err: err})
}

// LoseDo has a step's Do take effect, and its process die before it can say so.
func (k *Kit) LoseDo(step string) *Fault {
	return k.fault(&Fault{kind: faultLose, step: step, err: errLost})
}

// LoseUndo does the same with a step's Undo.
func (k *Kit) LoseUndo(step string) *Fault {
	return k.fault(&Fault{kind: faultLose, step: step, undo: true, err: errLost})
}

// LoseReply has a participant's reply get lost on its way; with undo, that to the
// Undo.
func (k *Kit) LoseReply(step string, undo bool) *Fault {
	return k.fault(&Fault{kind: faultReply, step: step, undo: undo})
}

// DelayReply has a participant's reply come after d.
func (k *Kit) DelayReply(step string, undo bool, d time.Duration) *Fault {
	return k.fault(&Fault{kind: faultDelay, step: step, undo: undo, delay: d})
}

// RepeatReply has a participant's reply come twice.
func (k *Kit) RepeatReply(step string, undo bool) *Fault {
	return k.fault(&Fault{kind: faultRepeat, step: step, undo: undo})
}

// Times limits a fault to the first n times.
func (f *Fault) Times(n int) *Fault {
	f.left = n
	return f
}

var errLost = errors.New("the process died after COMMIT, before it could say so")

func (k *Kit) fault(f *Fault) *Fault {
	k.mu.Lock()
	defer k.mu.Unlock()
	f.left = -1
	k.faults = append(k.faults, f)
	return f
}

// strikes returns the fault that is due, if one is, and counts it.
func (k *Kit) strikes(kind faultKind, step string, undo bool) *Fault {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, f := range k.faults {
		if f.kind == kind && f.step == step && f.undo == undo && f.left != 0 {
			if f.left > 0 {
				f.left--
			}
			return f
		}
	}
	return nil
}

// fail runs f, and has it fail if a fault says so.
func (k *Kit) fail(step string, undo bool, f func() error) error {
	if err := f(); err != nil {
		return err
	}
	due := k.strikes(faultFail, step, undo)
	if due == nil {
		return nil
	}
	var panicked *holdfast.PanicError
	if errors.As(due.err, &panicked) {
		panic(panicked.Value)
	}
	return due.err
}

// calling is the key of the call that a participant acts on, in a context.
type calling struct{}

func callOf(ctx context.Context) broker.SagaCall {
	if c, ok := ctx.Value(calling{}).(*broker.SagaCall); ok && c != nil {
		return *c
	}
	return broker.SagaCall{}
}
