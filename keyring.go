package holdfast

import (
	"context"
	"errors"
	"fmt"
)

// Keyring encrypts and decrypts what messages and sagas carry. Package keyring has one
// in a file; write another one for a key management service. Its methods are called from
// many goroutines, and often: for each message, and for each field of a saga's state. One
// that asks a server is to keep data keys here (envelope encryption).
type Keyring interface {
	// Seal encrypts plaintext with the key for new data, and binds it to bound, which is
	// not kept: [Keyring.Open] needs the same. key names the key: 1 to 100 printable ASCII
	// characters without space, quotes and backslash. It stands in clear beside the
	// ciphertext. An error is nobody's fault but the keyring's: it is tried again.
	Seal(ctx context.Context, plaintext, bound []byte) (key string, ciphertext []byte, err error)
	// Open decrypts what Seal made. An error that wraps [ErrNoKey] says that the keyring
	// does not have the key, one that wraps [ErrTampered] that it has, and that the
	// ciphertext is not what was encrypted with it for bound. Any other error says nothing
	// of either, and is tried again.
	Open(ctx context.Context, key string, ciphertext, bound []byte) ([]byte, error)
	// Digest returns a keyed hash of data, of 16 bytes or more, by which two uses of one
	// saga's key are told apart. It is the same for the same data for as long as the
	// keyring lives, whichever key is for new data.
	Digest(ctx context.Context, data []byte) ([]byte, error)
}

// Conditions of what is encrypted.
var (
	// ErrNoKey means that something is encrypted, and that this process has no keyring, or
	// one without the key. Nothing was done with it.
	ErrNoKey = errors.New("holdfast: encrypted with a key that this process does not have")
	// ErrTampered means that a ciphertext is not what was encrypted with its key for this
	// place: it was changed, or belongs to another message or saga. Nothing was done with it.
	ErrTampered = errors.New("holdfast: the ciphertext is not genuine")
)

// PartKeyring is the Part of an [UnavailableError] that is about the keyring.
const PartKeyring = "keyring"

// Encryption says what a process with a [Keyring] does with it.
type Encryption string

// The ways.
const (
	// EncryptionOn encrypts what is new, and reads both. It is the default.
	EncryptionOn Encryption = "on"
	// EncryptionReadOnly writes in clear, and reads both: for the time in which not all
	// processes have the keyring.
	EncryptionReadOnly Encryption = "read-only"
	// EncryptionRequired encrypts what is new, and refuses messages, replies and states
	// that are in clear.
	EncryptionRequired Encryption = "required"
)

// Validate checks that it is one of the ways, or empty. The error wraps [ErrInvalid].
func (e Encryption) Validate() error {
	switch e {
	case "", EncryptionOn, EncryptionReadOnly, EncryptionRequired:
		return nil
	}
	return fmt.Errorf("%w: encryption %q: want %s, %s or %s", ErrInvalid, string(e), EncryptionOn, EncryptionReadOnly,
		EncryptionRequired)
}
