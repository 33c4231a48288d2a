package holdfast

import "errors"

// RefusedError is a business refusal: the answer to a saga's step is no, and
// asking again would not change it. Make it with saga.Refuse.
type RefusedError struct {
	// Reason is what an operator reads.
	Reason string
}

func (e *RefusedError) Error() string { return "refused: " + e.Reason }

// RefusedType is the type of the application error by which a Temporal activity, in any
// language, refuses a saga's step.
const RefusedType = "Refused"

// IsRefused reports whether err, or an error it wraps, is a [RefusedError], and
// why it was refused.
func IsRefused(err error) (reason string, refused bool) {
	var r *RefusedError
	if errors.As(err, &r) {
		return r.Reason, true
	}
	return "", false
}
