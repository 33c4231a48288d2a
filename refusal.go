package holdfast

import "errors"

// RefusedError is a business refusal: the answer to a saga's step is no, and
// asking again would not change it. Make it with saga.Refuse.
type RefusedError struct {
	// Reason is what an operator reads.
	Reason string
}

func (e *RefusedError) Error() string { return "refused: " + e.Reason }

// IsRefused reports whether err, or an error it wraps, is a [RefusedError], and
// why it was refused.
func IsRefused(err error) (reason string, refused bool) {
	var r *RefusedError
	if errors.As(err, &r) {
		return r.Reason, true
	}
	return "", false
}
