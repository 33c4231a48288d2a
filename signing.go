package holdfast

import (
	"errors"
	"fmt"
)

// Signer signs control records, which are what Holdfast's processes tell each other over
// RabbitMQ, and checks their signatures. Package keyring has one in a file; write another
// one for keys that are kept elsewhere. Its methods are called from many goroutines, once
// for each record that is written and once for each that is read, and must not ask a
// server each time.
type Signer interface {
	// Sign returns a message authentication code of data, of at most 128 bytes, made with
	// the key for new records. key names that key: 1 to 100 printable ASCII characters
	// without space, quotes, backslash and colon. It stands in clear in the record. With an
	// error nothing is published: it is tried again until the caller's time is over.
	Sign(data []byte) (key string, code []byte, err error)
	// Check returns nil if code is what Sign makes of data with the key of that name. With
	// an error, which wraps [ErrForged] and says whether it has the key, the record does not
	// count.
	Check(key string, code, data []byte) error
}

// ErrForged means that a record's signature is not what a key of this process makes of the
// record: the record was changed, or written for another place, or by somebody without the key.
var ErrForged = errors.New("holdfast: the signature is not genuine")

// Signing says what a process with a [Signer] does with it.
type Signing string

// The ways.
const (
	// SigningOff neither signs nor checks. It is what a process without a Signer does.
	SigningOff Signing = "off"
	// SigningOn signs what is new, and takes records that are not signed, or wrongly: for
	// the time in which not all processes sign. It counts them. It is the default.
	SigningOn Signing = "on"
	// SigningRequired signs what is new, and refuses control records without a genuine
	// signature: they become dead letters, and nothing that they say is done.
	SigningRequired Signing = "required"
)

// Validate checks that it is one of the ways, or empty. The error wraps [ErrInvalid].
func (s Signing) Validate() error {
	switch s {
	case "", SigningOff, SigningOn, SigningRequired:
		return nil
	}
	return fmt.Errorf("%w: signing %q: want %s, %s or %s", ErrInvalid, string(s), SigningOff, SigningOn, SigningRequired)
}
