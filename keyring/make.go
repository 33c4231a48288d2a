package keyring

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"

	holdfast "github.com/holdfastmq/holdfast"
)

// New makes a keyring with one key in a file that its owner alone may read, and returns
// the key. The error wraps [holdfast.ErrInvalid] where the file is there: what was
// encrypted with its keys would be lost.
func New(path string) (Key, error) { return create(path, encrypts) }

// NewSigner is [New] for a keyring that signs control records: see [OpenSigner].
func NewSigner(path string) (Key, error) { return create(path, signs) }

func create(path string, of kind) (Key, error) {
	k, err := generate(of, time.Now())
	if err != nil {
		return Key{}, err
	}
	data, err := k.encode()
	if err != nil {
		return Key{}, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return Key{}, fmt.Errorf("%w: %s is there: a new keyring in its place could not read what its keys have encrypted; "+
			"`holdfast keyring rotate` gives it a new key", holdfast.ErrInvalid, path)
	}
	if err != nil {
		return Key{}, fmt.Errorf("make a keyring: %w", err)
	}
	if err := fill(f, data); err != nil {
		_ = os.Remove(path) // it is ours
		return Key{}, fmt.Errorf("make a keyring: %w", err)
	}
	return k.list()[0], nil
}

// Rotate has another key encrypt, or sign, what is new in the keyring of that file, and
// returns it; those before go on decrypting, or checking. It is the one that was staged last, or
// else a new one.
//
// stage only adds a key that decrypts, or checks: once every process has the file with it,
// Rotate without stage has it encrypt, or sign. A process without the key that something is
// encrypted with waits until it has it; one without the key that a record is signed with
// takes it for forged.
//
// The file is replaced in one step, and keeps its owner, group and permissions: where that
// is not allowed, it is left as it was. Of two who rotate at once on one machine the second
// gets an error that wraps [holdfast.ErrInvalid]: while one rotates there is a file
// path.lock, which is left if it is killed.
func Rotate(path string, stage bool) (key Key, err error) {
	path, err = filepath.EvalSymlinks(path)
	if err != nil {
		return Key{}, fmt.Errorf("%w: keyring: %w", holdfast.ErrInvalid, err)
	}
	unlock, err := lock(path)
	if err != nil {
		return Key{}, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	return rotate(path, stage)
}

// lock keeps others from rotating the keyring.
func lock(path string) (unlock func() error, err error) {
	name := path + ".lock"
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil, fmt.Errorf("%w: keyring %s is being rotated by somebody else: there is %s; remove it if nobody does",
			holdfast.ErrInvalid, path, name)
	case err != nil:
		return nil, fmt.Errorf("rotate keyring %s: %w", path, err)
	}
	return func() error { return os.Remove(name) }, f.Close()
}

func rotate(path string, stage bool) (Key, error) {
	f, err := openOf(path, "")
	if err != nil {
		return Key{}, err
	}
	k := f.keys
	manager := keyset.NewManagerFromHandle(k.main)
	made := maps.Clone(k.made)
	if made == nil {
		made = map[string]time.Time{}
	}
	id, err := staged(k)
	if err == nil && (stage || id == 0) {
		if id, err = manager.Add(k.kind.template()); err == nil {
			made[name(id)] = after(made, time.Now())
		}
	}
	if err == nil && !stage {
		err = manager.SetPrimary(id)
	}
	var handle *keyset.Handle
	if err == nil {
		handle, err = manager.Handle()
	}
	if err != nil {
		return Key{}, fmt.Errorf("rotate keyring %s: %w", path, err)
	}
	next := &keys{kind: k.kind, main: handle, prf: k.prf, made: made}
	if err := next.use(); err != nil {
		return Key{}, fmt.Errorf("rotate keyring %s: %w", path, err)
	}
	if err := next.replace(path, f.seen); err != nil {
		return Key{}, fmt.Errorf("rotate keyring %s: %w", path, err)
	}
	for _, key := range next.list() {
		if key.ID == name(id) {
			return key, nil
		}
	}
	return Key{}, fmt.Errorf("rotate keyring %s: the new key is not in it", path)
}

// staged is the key that was staged last; 0: none is.
func staged(k *keys) (uint32, error) {
	for _, key := range k.list() {
		if key.Staged {
			id, err := strconv.ParseUint(key.ID, 10, 32)
			return uint32(id), err
		}
	}
	return 0, nil
}

// after is now, or just after the newest of made if a clock went back: the order of keys
// is that of their times.
func after(made map[string]time.Time, now time.Time) time.Time {
	now = now.UTC().Truncate(time.Millisecond)
	for _, t := range made {
		if !now.After(t) {
			now = t.Add(time.Millisecond)
		}
	}
	return now
}

func generate(of kind, now time.Time) (*keys, error) {
	k := &keys{kind: of}
	var err error
	if k.main, err = keyset.NewHandle(of.template()); err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	if of == encrypts {
		if k.prf, err = keyset.NewHandle(prf.HMACSHA256PRFKeyTemplate()); err != nil {
			return nil, fmt.Errorf("make a key: %w", err)
		}
	}
	if err := k.use(); err != nil {
		return nil, err
	}
	k.made = map[string]time.Time{k.primary: after(nil, now)}
	return k, nil
}

func (k *keys) encode() ([]byte, error) {
	out := file{Version: 1, Made: k.made}
	fields := map[*json.RawMessage]*keyset.Handle{&out.Aead: k.main, &out.Digest: k.prf}
	if k.kind == signs {
		fields = map[*json.RawMessage]*keyset.Handle{&out.Mac: k.main}
	}
	for to, handle := range fields {
		var text bytes.Buffer
		if err := insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&text)); err != nil {
			return nil, fmt.Errorf("write a key: %w", err)
		}
		*to = text.Bytes()
	}
	data, err := json.MarshalIndent(out, "", "  ")
	return append(data, '\n'), err
}

// replace writes the keys into a file that takes the place of path in one step, if that is
// still the file was, and with its owner, group and mode.
func (k *keys) replace(path string, was fs.FileInfo) error {
	data, err := k.encode()
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // for its owner alone
	if err != nil {
		return err
	}
	err = fill(f, data)
	if err == nil {
		err = own(f.Name(), was)
	}
	if err == nil {
		err = os.Chmod(f.Name(), was.Mode().Perm())
	}
	if err == nil {
		err = unchanged(path, was)
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// unchanged says that the file is no longer the one that was read.
func unchanged(path string, was fs.FileInfo) error {
	now, err := os.Stat(path)
	if err == nil && !same(now, was) {
		err = errors.New("it was changed meanwhile: do it again")
	}
	return err
}

// fill writes data into f, has it stored, and closes it.
func fill(f *os.File, data []byte) error {
	_, err := f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
