package seal

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga/core"
)

// A sealed value of JSON is a string: sealedPrefix, the version and a colon, the name of the
// key, a colon, and the ciphertext of the value's JSON. It is one only in a state or a value
// that says by its field [core.FieldSealed] that it is sealed: anywhere else it is a text.
//
// Of a state each value is sealed that is no object, an array as a whole: merge patches are
// applied by whoever has no key. The names of fields stand in clear. A null does, too, since
// in a patch it deletes.

const (
	sealedPrefix = "holdfast-sealed:"
	sealedValue  = sealedPrefix + "1:"
)

// HasSealed reports whether there may be sealed values in JSON.
func HasSealed(data []byte) bool { return bytes.Contains(data, []byte(`"`+sealedPrefix)) }

// versionOf is the version of the form of a sealed value; ok is false where a text is none.
func versionOf(text string) (version string, ok bool) {
	rest, is := strings.CutPrefix(text, sealedPrefix)
	version, _, cut := strings.Cut(rest, ":")
	return version, is && cut && isVersion(version)
}

// State seals a saga's first state, which then says whose it is, and what its content is. It
// has to be an object.
func (b *Box) State(ctx context.Context, owner string, data json.RawMessage) (json.RawMessage, error) {
	if !b.Seals() {
		return data, nil
	}
	state, err := object(data)
	if err != nil {
		return nil, fmt.Errorf("%w: with a keyring the state of saga %.200s has to be an object in JSON: use a struct",
			holdfast.ErrInvalid, owner)
	}
	if _, there := state[core.FieldSealed]; there {
		return nil, fmt.Errorf("%w: the state of saga %.200s has a field %q, which is Holdfast's own", holdfast.ErrInvalid,
			owner, core.FieldSealed)
	}
	plain, err := json.Marshal(state) // its keys are sorted
	if err != nil {
		return nil, fmt.Errorf("%w: the state of saga %.200s: %w", holdfast.ErrInvalid, owner, err)
	}
	digest, err := b.keyring.Digest(ctx, append(boundTo("content"), plain...))
	if err != nil {
		return nil, unavailable(fmt.Errorf("digest of the state of saga %.200s: %w", owner, err),
			"nothing was done: try again")
	}
	if err := b.sealFields(ctx, owner, nil, state); err != nil {
		return nil, err
	}
	state[core.FieldSealed] = core.Sealed{Owner: owner, Content: hex.EncodeToString(digest)}
	return json.Marshal(state)
}

// Patch seals what a patch sets in a state that was sealed for owner, or is sealed for it
// from now on. An empty patch stays empty. began says that the state was sealed from its
// beginning: one that was begun in clear, and is no object, stays in clear.
func (b *Box) Patch(ctx context.Context, owner string, began bool, patch json.RawMessage) (json.RawMessage, error) {
	if !b.Seals() || len(patch) == 0 {
		return patch, nil
	}
	change, err := object(patch)
	if err != nil && !began {
		return patch, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: with a keyring the state of saga %.200s has to be an object in JSON: use a struct",
			holdfast.ErrInvalid, owner)
	}
	nulls, has := change[core.FieldNulls]
	delete(change, core.FieldNulls)
	if err := b.sealFields(ctx, owner, nil, change); err != nil {
		return nil, err
	}
	if has {
		change[core.FieldNulls] = nulls
	}
	change[core.FieldSealed] = core.Sealed{Owner: owner} // what the state says beside that stays
	return json.Marshal(change)
}

// sealFields seals the values of an object in place.
func (b *Box) sealFields(ctx context.Context, owner string, path []string, fields map[string]any) error {
	for name, v := range fields {
		at := append(path[:len(path):len(path)], name)
		switch v := v.(type) {
		case nil:
		case map[string]any:
			if err := b.sealFields(ctx, owner, at, v); err != nil {
				return err
			}
		default:
			plain, err := json.Marshal(v)
			if err != nil {
				return err
			}
			fields[name], err = b.value(ctx, describeField(owner, at), plain, boundTo("state", prepend(owner, at)...))
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func describeField(owner string, path []string) string {
	return fmt.Sprintf("field %.200s of the state of saga %.200s", strings.Join(path, "."), owner)
}

func prepend(first string, rest []string) []string { return append([]string{first}, rest...) }

// value is the string that stands for a sealed value.
func (b *Box) value(ctx context.Context, what string, plain, bound []byte) (string, error) {
	key, ciphertext, err := b.seal(ctx, what, plain, bound)
	if err != nil {
		return "", err
	}
	return sealedValue + url.QueryEscape(key) + ":" + base64.RawURLEncoding.EncodeToString(ciphertext), nil
}

// openValue is the JSON that a string stands for; sealed is false where it is no sealed one.
func (b *Box) openValue(ctx context.Context, what, text string, bound []byte) (plain []byte, sealed bool, err error) {
	version, sealed := versionOf(text)
	if !sealed {
		return nil, false, nil
	}
	rest, known := strings.CutPrefix(text, sealedValue)
	if !known {
		return nil, true, otherVersion(what, version)
	}
	key, coded, _ := strings.Cut(rest, ":")
	key, err = url.QueryUnescape(key)
	ciphertext, wrong := base64.RawURLEncoding.DecodeString(coded)
	if err != nil || wrong != nil || !validKey(key) {
		return nil, true, malformed(what, "it is cut or changed")
	}
	plain, err = b.open(ctx, what, key, ciphertext, bound)
	return plain, true, err
}

// Opened is a state that was opened.
type Opened struct {
	Data json.RawMessage
	// Owner is the saga for which it was sealed; of a state in clear, who opened it.
	Owner string
	// Began says that it was sealed from its beginning.
	Began bool
}

// OpenState opens the state of the saga id. related says whether what was sealed for another
// saga may be in it: one is a step of the other.
func (b *Box) OpenState(ctx context.Context, id string, related func(owner string) bool,
	data json.RawMessage) (Opened, error) {
	out := Opened{Data: data, Owner: id}
	header, headed := core.SealedOf(data)
	what := fmt.Sprintf("the state of saga %.200s", id)
	if !headed { // whatever texts are in it
		if b.requires() && !hollow(data) {
			return out, stateInClear(what)
		}
		return out, nil
	}
	state, err := object(data)
	if err != nil {
		return out, malformed(what, "it is no object")
	}
	out.Owner, out.Began = header.Owner, header.Content != ""
	if header.Owner != id && (related == nil || !related(header.Owner)) {
		return out, holdfast.Permanent(fmt.Errorf("%w: %s is that of %.200s", holdfast.ErrTampered, what, header.Owner))
	}
	delete(state, core.FieldSealed)
	if err := b.openFields(ctx, out.Owner, nil, state); err != nil {
		return out, err
	}
	out.Data, err = json.Marshal(state)
	return out, err
}

// hollow reports whether a state is an object without any value in it.
func hollow(data json.RawMessage) bool {
	state, err := object(data)
	var none func(fields map[string]any) bool
	none = func(fields map[string]any) bool {
		for _, v := range fields {
			inner, is := v.(map[string]any)
			if v != nil && (!is || !none(inner)) {
				return false
			}
		}
		return true
	}
	return err == nil && none(state)
}

// openFields opens the values of an object in place.
func (b *Box) openFields(ctx context.Context, owner string, path []string, fields map[string]any) error {
	for name, v := range fields {
		at := append(path[:len(path):len(path)], name)
		switch v := v.(type) {
		case nil:
		case map[string]any:
			if err := b.openFields(ctx, owner, at, v); err != nil {
				return err
			}
		default:
			what := describeField(owner, at)
			text, _ := v.(string)
			plain, sealed, err := b.openValue(ctx, what, text, boundTo("state", prepend(owner, at)...))
			switch {
			case err != nil:
				return err
			case !sealed && b.requires():
				return stateInClear(what)
			case sealed:
				if !json.Valid(plain) {
					return malformed(what, "what it says is no JSON")
				}
				fields[name] = json.RawMessage(plain)
			}
		}
	}
	return nil
}

// The kinds of values beside states: what is sealed as one is not opened as another.
const (
	Result = "result" // of a participant or an activity
	Answer = "answer" // to a wait
	Input  = "input"  // of an activity
)

// sealedStep is how a value is sealed that a saga's step is given or answers: an object that
// says whose it is.
type sealedStep struct {
	Of    of     `json:"holdfast-sealed"`
	Value string `json:"value"`
}

type of struct {
	Owner string `json:"owner"`
	Step  string `json:"step"`
	Kind  string `json:"kind"`
}

func (o of) bound() []byte { return boundTo(o.Kind, o.Owner, o.Step) }

func (o of) String() string {
	return fmt.Sprintf("%.20s of step %.200s of saga %.200s", o.Kind, o.Step, o.Owner)
}

// Value seals what a step of the saga id is given or answers, in JSON; nothing stays
// nothing.
func (b *Box) Value(ctx context.Context, kind, id, step string, data json.RawMessage) (json.RawMessage, error) {
	if !b.Seals() || len(data) == 0 {
		return data, nil
	}
	out := sealedStep{Of: of{Owner: id, Step: step, Kind: kind}}
	var err error
	if out.Value, err = b.value(ctx, out.Of.String(), data, out.Of.bound()); err != nil {
		return nil, err
	}
	return json.Marshal(out)
}

// OpenValue opens what Value sealed as that kind, for that step. What does not say whose it
// is, is in clear, whatever texts are in it.
func (b *Box) OpenValue(ctx context.Context, kind, id, step string, data json.RawMessage) (json.RawMessage, error) {
	if len(data) == 0 {
		return data, nil
	}
	want := of{Owner: id, Step: step, Kind: kind}
	var in sealedStep
	if json.Unmarshal(data, &in) != nil || in.Of == (of{}) {
		if b.requires() {
			return nil, stateInClear(want.String())
		}
		return data, nil
	}
	if in.Of != want {
		return nil, holdfast.Permanent(fmt.Errorf("%w: %s is said to be %s", holdfast.ErrTampered, want, in.Of))
	}
	if _, is := versionOf(in.Value); !is {
		return nil, malformed(want.String(), "it is cut or changed")
	}
	plain, _, err := b.openValue(ctx, want.String(), in.Value, want.bound())
	if err == nil && !json.Valid(plain) {
		err = malformed(want.String(), "what it says is no JSON")
	}
	return plain, err
}

// object decodes an object, whose numbers stay as they are written.
func object(data json.RawMessage) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var out map[string]any
	if err := d.Decode(&out); err != nil {
		return nil, err
	}
	if out == nil {
		return nil, fmt.Errorf("%w: it is null", holdfast.ErrInvalid)
	}
	return out, nil
}
