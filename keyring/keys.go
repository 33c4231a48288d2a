package keyring

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/mac"
	"github.com/tink-crypto/tink-go/v2/prf"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"github.com/tink-crypto/tink-go/v2/tink"

	holdfast "github.com/holdfastmq/holdfast"
)

// digestSize is how many bytes a digest has.
const digestSize = 16

// Key is what may be known of a key.
type Key struct {
	// ID is its name, a decimal number.
	ID string `json:"id"`
	// Primary says that it encrypts, or signs, what is new; every key decrypts, or checks.
	Primary bool `json:"primary"`
	// Staged says that it was added after the primary one, to become that later.
	Staged bool `json:"staged,omitempty"`
	// Made is when; zero: the file does not say.
	Made time.Time `json:"made,omitzero"`
}

// keys are those of one file, as it was read. They do not change.
type keys struct {
	kind      kind
	main, prf *keyset.Handle // keys of the kind; those of digests, of a keyring that encrypts
	made      map[string]time.Time

	cipher  tink.AEAD
	digests *prf.Set
	codes   tink.MAC
	ids     map[string]bool // those that are enabled
	primary string
	before  map[string]*keys // those that are in the file no longer, and where they were read
}

// kind is what a keyring is for. One that signs is no use to who wants to read, and the
// other way round, so that a process can be given the one without the other.
type kind string

const (
	encrypts kind = "aead"
	signs    kind = "mac"
)

// template makes a new key of the kind.
func (k kind) template() *tinkpb.KeyTemplate {
	if k == signs {
		return mac.HMACSHA256Tag256KeyTemplate()
	}
	return aead.XChaCha20Poly1305KeyTemplate()
}

// file is the file's JSON: keysets as Tink writes them.
type file struct {
	// Version is 1.
	Version int `json:"holdfast-keyring"`
	// Aead encrypts, and Digest makes digests: or Mac signs.
	Aead   json.RawMessage `json:"aead,omitempty"`
	Digest json.RawMessage `json:"digest,omitempty"`
	Mac    json.RawMessage `json:"mac,omitempty"`
	// Made is when the keys of Aead, or Mac, were made, by their ID.
	Made map[string]time.Time `json:"made,omitempty"`
}

func parse(data []byte) (*keys, error) {
	var f file
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(&f); err != nil {
		return nil, errors.New("it is no keyring: it is no JSON") // the parser's error may quote a key
	}
	if f.Version != 1 {
		return nil, fmt.Errorf("it is no keyring of version 1 (holdfast-keyring is %d): make one with "+
			"`holdfast keyring new`", f.Version)
	}
	k, main := &keys{kind: encrypts, made: f.Made}, f.Aead
	switch {
	case f.Mac != nil && f.Aead != nil:
		return nil, errors.New("it has fields aead and mac: want one of them")
	case f.Mac != nil:
		k.kind, main = signs, f.Mac
	}
	var err error
	if k.main, err = insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(main))); err != nil {
		return nil, fmt.Errorf("its field %s is no keyset of Tink", k.kind) // the parser's error may quote a key
	}
	if k.kind == signs {
		return k, k.use()
	}
	if k.prf, err = insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(f.Digest))); err != nil {
		return nil, errors.New("its field digest is no keyset of Tink")
	}
	return k, k.use()
}

// primitives makes of the handles what encrypts, or signs.
func (k *keys) primitives() (err error) {
	if k.kind == signs {
		k.codes, err = mac.New(k.main)
		return err
	}
	if k.cipher, err = aead.New(k.main); err != nil {
		return err
	}
	if k.digests, err = prf.NewPRFSet(k.prf); err != nil {
		return fmt.Errorf("and digest: %w", err)
	}
	return nil
}

// use makes of the handles what encrypts, or signs, and notes which keys there are.
func (k *keys) use() error {
	if err := k.primitives(); err != nil {
		return fmt.Errorf("its field %s: %w", k.kind, err)
	}
	primary, err := k.main.Primary()
	if err != nil {
		return fmt.Errorf("its field %s: %w", k.kind, err)
	}
	k.primary, k.ids = name(primary.KeyID()), map[string]bool{}
	for i := range k.main.Len() {
		e, err := k.main.Entry(i)
		if err != nil {
			return fmt.Errorf("its field %s: %w", k.kind, err)
		}
		if e.KeyStatus() == keyset.Enabled {
			k.ids[name(e.KeyID())] = true
		}
	}
	return nil
}

func name(id uint32) string { return strconv.FormatUint(uint64(id), 10) }

func (k *keys) has(key string) bool { return k.ids[key] || k.before[key] != nil }

// gone are the keys of k, which may be nil, that next does not have.
func (k *keys) gone(next *keys) map[string]*keys {
	if k == nil {
		return nil
	}
	out := map[string]*keys{}
	for id, at := range k.before {
		out[id] = at
	}
	for id := range k.ids {
		out[id] = k
	}
	for id := range next.ids {
		delete(out, id)
	}
	return out
}

func (k *keys) seal(plaintext, bound []byte) (string, []byte, error) {
	ciphertext, err := k.cipher.Encrypt(plaintext, bound)
	return k.primary, ciphertext, err
}

// open decrypts. Tink finds the key by the ciphertext's first bytes, which bind it to
// that: so key has nothing more to say than has.
func (k *keys) open(key string, ciphertext, bound []byte) ([]byte, error) {
	if at := k.before[key]; at != nil && !k.ids[key] {
		return at.open(key, ciphertext, bound)
	}
	plaintext, err := k.cipher.Decrypt(ciphertext, bound)
	if err != nil { // Tink's error says no more
		return nil, fmt.Errorf("%w: key %s does not decrypt it here", holdfast.ErrTampered, key)
	}
	return plaintext, nil
}

func (k *keys) digest(data []byte) ([]byte, error) {
	return k.digests.ComputePrimaryPRF(data, digestSize)
}

func (k *keys) sign(data []byte) (string, []byte, error) {
	code, err := k.codes.ComputeMAC(data)
	return k.primary, code, err
}

// check checks a code. As in open, Tink finds the key by the code's first bytes.
func (k *keys) check(key string, code, data []byte) error {
	if at := k.before[key]; at != nil && !k.ids[key] {
		return at.check(key, code, data)
	}
	if err := k.codes.VerifyMAC(code, data); err != nil { // Tink's error says no more
		return fmt.Errorf("%w: key %s makes another one of this record", holdfast.ErrForged, key)
	}
	return nil
}

func (k *keys) list() []Key {
	var out []Key
	primary := k.made[k.primary]
	for id := range k.ids {
		made := k.made[id]
		out = append(out, Key{ID: id, Primary: id == k.primary, Made: made, Staged: id != k.primary && made.After(primary)})
	}
	slices.SortFunc(out, func(a, b Key) int {
		if c := b.Made.Compare(a.Made); c != 0 {
			return c
		}
		return bytes.Compare([]byte(a.ID), []byte(b.ID))
	})
	return out
}
