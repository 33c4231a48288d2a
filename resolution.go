package holdfast

import "fmt"

// Resolution is what became of a local transaction. The zero value is Unknown,
// which is always safe: it leads to a check-back, never to a loss.
type Resolution int

const (
	// Unknown means that nobody can say yet: the answer of COMMIT was lost, or
	// the local transaction is still running.
	Unknown Resolution = iota
	// Commit means that the local transaction is durably committed.
	Commit
	// Rollback means that it is not, and never will be.
	Rollback
)

// String returns "unknown", "commit" or "rollback".
func (r Resolution) String() string {
	switch r {
	case Unknown:
		return "unknown"
	case Commit:
		return "commit"
	case Rollback:
		return "rollback"
	}
	return fmt.Sprintf("resolution(%d)", int(r))
}

// MarshalText writes what String returns. It fails for a value that is none of
// the three.
func (r Resolution) MarshalText() ([]byte, error) {
	if r < Unknown || r > Rollback {
		return nil, fmt.Errorf("holdfast: %d is no resolution", int(r))
	}
	return []byte(r.String()), nil
}

// UnmarshalText reads what MarshalText wrote; an empty text is Unknown.
func (r *Resolution) UnmarshalText(text []byte) error {
	switch string(text) {
	case "", "unknown":
		*r = Unknown
	case "commit":
		*r = Commit
	case "rollback":
		*r = Rollback
	default:
		return fmt.Errorf("holdfast: %q is no resolution: want unknown, commit or rollback", text)
	}
	return nil
}
