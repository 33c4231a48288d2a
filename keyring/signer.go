package keyring

import (
	"fmt"

	holdfast "github.com/holdfastmq/holdfast"
)

// Signer signs control records with the keys of a file, as [File] encrypts with those of
// another one: the code is an HMAC-SHA-256 of Tink's. It is read again in the same way. Its
// methods may be called from many goroutines.
type Signer struct{ f *File }

var _ holdfast.Signer = (*Signer)(nil)

// OpenSigner reads a keyring that [NewSigner] made. Its error is as that of [Open].
func OpenSigner(path string) (*Signer, error) {
	f, err := openOf(path, signs)
	if err != nil {
		return nil, err
	}
	return &Signer{f}, nil
}

// Sign signs with the file's primary key.
func (s *Signer) Sign(data []byte) (key string, code []byte, err error) {
	return s.f.current(false).sign(data)
}

// Check checks with the key of that name, which is a decimal number.
func (s *Signer) Check(key string, code, data []byte) error {
	k := s.f.current(false)
	if !k.has(key) {
		k = s.f.current(true)
	}
	if !k.has(key) {
		err := fmt.Errorf("%w: keyring %s has no key %.120q", holdfast.ErrForged, s.f.path, key)
		if unread := s.f.Err(); unread != nil {
			err = fmt.Errorf("%w, as it was read last: %w", err, unread)
		}
		return err
	}
	return k.check(key, code, data)
}

// List returns the file's keys, the newest first.
func (s *Signer) List() []Key { return s.f.List() }

// Err returns why the file could not be read when it was looked at last; nil: it was.
func (s *Signer) Err() error { return s.f.Err() }
