package holdfast

import "fmt"

// Lane is how a transaction or a saga is coordinated. The guarantees are the same in
// both. The zero value leaves the choice to the topic (or the saga's name), of a
// transaction then to the worker, and in the end to Traced.
type Lane string

const (
	// Traced records every step in a Temporal workflow; under load neighbours
	// share one (a cohort). It needs Temporal for every transaction and saga.
	Traced Lane = "traced"
	// Express coordinates over the broker's half queue alone. Only what stays
	// undecided, and of sagas what does not end well at once, goes to Temporal, and has a
	// history there.
	Express Lane = "express"
)

// Validate returns an error that wraps [ErrInvalid] for anything but Traced,
// Express and the zero value.
func (l Lane) Validate() error {
	switch l {
	case "", Traced, Express:
		return nil
	}
	return fmt.Errorf("%w: lane %q: use %q or %q", ErrInvalid, l, Traced, Express)
}
