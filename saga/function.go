package saga

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/jsonerr"
	"github.com/holdfastmq/holdfast/saga/core"
)

// localFunc is a Do or an Undo on a state in JSON.
type localFunc func(ctx context.Context, tx *gorm.DB, data json.RawMessage) (patch json.RawMessage, err error)

// Condition is a function of the state that says yes or no. Make it with [If].
type Condition struct {
	state reflect.Type
	f     func(data json.RawMessage) (bool, error)
}

// Mapper is a function from the state to what is sent. Make it with [From].
type Mapper struct {
	state reflect.Type
	f     func(data json.RawMessage) (json.RawMessage, error)
}

// Receiver is a function that takes a result into the state. Make it with [Into].
type Receiver struct {
	state reflect.Type
	f     func(data, result json.RawMessage) (patch json.RawMessage, err error)
}

// Picker is a function of the state that chooses a case. Make it with [Pick].
type Picker struct {
	state reflect.Type
	f     func(data json.RawMessage) (string, error)
}

// If makes a condition of a pure function of the state. It is asked once; the
// answer is written down.
func If[S any](f func(S) bool) Condition {
	c := Condition{state: reflect.TypeFor[S]()}
	if f != nil {
		c.f = func(data json.RawMessage) (bool, error) {
			s, err := decode[S](data)
			if err != nil {
				return false, err
			}
			return f(s), nil
		}
	}
	return c
}

// Pick makes a choice of a pure function of the state, which returns a case's
// label. It is asked once; the answer is written down.
func Pick[S any](f func(S) string) Picker {
	p := Picker{state: reflect.TypeFor[S]()}
	if f != nil {
		p.f = func(data json.RawMessage) (string, error) {
			s, err := decode[S](data)
			if err != nil {
				return "", err
			}
			return f(s), nil
		}
	}
	return p
}

// From makes of a pure function of the state what is sent: its result in JSON.
func From[S, V any](f func(S) V) Mapper {
	m := Mapper{state: reflect.TypeFor[S]()}
	if f != nil {
		m.f = func(data json.RawMessage) (json.RawMessage, error) {
			s, err := decode[S](data)
			if err != nil {
				return nil, err
			}
			out, err := json.Marshal(f(s))
			if err != nil {
				return nil, holdfast.Permanent(fmt.Errorf("what it sends is no JSON: %w", err))
			}
			return out, nil
		}
	}
	return m
}

// Into makes a receiver of a pure function that takes a result, decoded from JSON,
// into the state.
func Into[S, R any](f func(*S, R) error) Receiver {
	r := Receiver{state: reflect.TypeFor[S]()}
	if f != nil {
		r.f = func(data, result json.RawMessage) (json.RawMessage, error) {
			s, err := decode[S](data)
			if err != nil {
				return nil, err
			}
			var v R
			if len(result) > 0 {
				if err := json.Unmarshal(result, &v); err != nil {
					return nil, holdfast.Permanent(fmt.Errorf("the result is not what Receive takes: %w", jsonerr.Clean(err)))
				}
			}
			if err := f(&s, v); err != nil {
				return nil, err
			}
			return changes(data, s)
		}
	}
	return r
}

func localDo[S any](f func(context.Context, *gorm.DB, *S) error) localFunc {
	return func(ctx context.Context, tx *gorm.DB, data json.RawMessage) (json.RawMessage, error) {
		s, err := decode[S](data)
		if err != nil {
			return nil, err
		}
		if err := f(ctx, tx, &s); err != nil {
			return nil, err
		}
		return changes(data, s)
	}
}

func localUndo[S any](f func(context.Context, *gorm.DB, *S) error) localFunc {
	if f == nil {
		return nil
	}
	return localDo(f)
}

func decode[S any](data json.RawMessage) (s S, err error) {
	if err := json.Unmarshal(data, &s); err != nil {
		return s, holdfast.Permanent(fmt.Errorf("the saga's state does not fit its type: "+
			"%w: does this version still read what earlier ones wrote?", jsonerr.Clean(err)))
	}
	return s, nil
}

// changes is the merge patch of what a function changed, refused where the state
// gets too large.
func changes[S any](before json.RawMessage, s S) (json.RawMessage, error) {
	after, err := json.Marshal(s)
	if err != nil {
		return nil, holdfast.Permanent(fmt.Errorf("the saga's state is no JSON: %w", err))
	}
	if err := core.CheckData(after); err != nil {
		return nil, holdfast.Permanent(err)
	}
	// What S does not write was not changed by it: fields that only a newer version
	// knows stay.
	was, err := decode[S](before)
	if err != nil {
		return nil, err
	}
	again, err := json.Marshal(was)
	if err != nil {
		return nil, holdfast.Permanent(err)
	}
	return core.Diff(again, after)
}

func (d *StepDef) problem(text string) { d.errs = append(d.errs, errors.New(text)) }
