package keyring

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
)

// File is a keyring in a file. The file is read again when it has changed: at most once a
// second, and at once when a key is asked for that it did not have. While it cannot be
// read, the keys that were read last count, and the process's default logger (log/slog) says
// so. A key that is no longer in it goes on decrypting in this process. Its methods may be called from many goroutines.
type File struct {
	path string
	now  func() time.Time
	want kind // empty: any

	mu     sync.Mutex
	keys   *keys
	seen   fs.FileInfo // of the file as it was read last
	looked time.Time
	err    error // of the last reading; nil: it was read
}

var _ holdfast.Keyring = (*File)(nil)

// lookEvery is how often a file is looked at, to see whether it has changed.
const lookEvery = time.Second

// Open reads a keyring that encrypts. Its error, which wraps [holdfast.ErrInvalid], names
// the file and what is wrong: that it is missing, cannot be read, is no keyring, is one that
// signs, or that others than its owner and group may read it.
func Open(path string) (*File, error) { return openOf(path, encrypts) }

// List returns the keys of a keyring of either kind, the newest first. The error is as that
// of [Open].
func List(path string) ([]Key, error) {
	f, err := openOf(path, "")
	if err != nil {
		return nil, err
	}
	return f.List(), nil
}

// openOf reads a keyring that has to be of that kind, now and later; empty: of any.
func openOf(path string, of kind) (*File, error) {
	f := &File{path: path, now: time.Now, want: of}
	if err := f.read(); err != nil {
		return nil, err
	}
	return f, nil
}

// read reads the file. The lock is held, or nobody else has f.
func (f *File) read() error {
	f.looked = f.now()
	info, err := stat(f.path)
	if err == nil {
		var data []byte
		if data, err = os.ReadFile(f.path); err == nil {
			var k *keys
			if k, err = parse(data); err == nil {
				err = k.kind.wanted(f.want)
			}
			if err == nil {
				k.before = f.keys.gone(k)
				f.keys, f.seen, f.err = k, info, nil
				return nil
			}
		}
	}
	f.err = fmt.Errorf("%w: keyring %s: %w", holdfast.ErrInvalid, f.path, err)
	return f.err
}

// wanted says that a keyring is of another kind than is needed.
func (k kind) wanted(want kind) error {
	switch {
	case want == "" || k == want:
		return nil
	case want == signs:
		return errors.New("it is for encryption, and signs nothing: `holdfast keyring new --signing` makes one that does")
	}
	return errors.New("it signs records, and encrypts nothing: HOLDFAST_SIGNING_KEYRING takes it, and " +
		"`holdfast keyring new` makes one that encrypts")
}

// stat is what is known of the file, and refuses one that everybody may read.
func stat(path string) (fs.FileInfo, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errors.New("there is no such file: `holdfast keyring new` makes one")
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("it is no file")
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o027 != 0:
		return nil, fmt.Errorf("its permissions are %#o, by which others could read its keys, or change them: "+
			"chmod 600, or 640 for a group", info.Mode().Perm())
	}
	return info, nil
}

// current returns the keys. fresh has the file looked at whenever that was last.
func (f *File) current(fresh bool) *keys {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !fresh && f.now().Sub(f.looked) < lookEvery {
		return f.keys
	}
	f.looked = f.now()
	if info, err := os.Stat(f.path); err == nil && f.err == nil && same(info, f.seen) {
		return f.keys
	}
	before := f.err
	err := f.read() // Err has it
	switch {
	case err != nil && (before == nil || before.Error() != err.Error()):
		slog.Warn("the keyring cannot be read: the keys that were read before count", "error", err)
	case err == nil && before != nil:
		slog.Info("the keyring is read again", "keyring", f.path)
	}
	return f.keys
}

func same(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// Err returns why the file could not be read when it was looked at last; nil: it was.
func (f *File) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// Seal encrypts with the file's primary key.
func (f *File) Seal(_ context.Context, plaintext, bound []byte) (key string, ciphertext []byte, err error) {
	return f.current(false).seal(plaintext, bound)
}

// Open decrypts with the key of that name, which is a decimal number.
func (f *File) Open(_ context.Context, key string, ciphertext, bound []byte) ([]byte, error) {
	k := f.current(false)
	if !k.has(key) {
		k = f.current(true)
	}
	if !k.has(key) {
		err := fmt.Errorf("%w: keyring %s has no key %.120q", holdfast.ErrNoKey, f.path, key)
		if unread := f.Err(); unread != nil {
			err = fmt.Errorf("%w, as it was read last: %w", err, unread)
		}
		return nil, err
	}
	return k.open(key, ciphertext, bound)
}

// Digest returns 16 bytes of a keyed hash.
func (f *File) Digest(_ context.Context, data []byte) ([]byte, error) {
	return f.current(false).digest(data)
}

// List returns the file's keys, the newest first.
func (f *File) List() []Key { return f.current(true).list() }
