package seal

import (
	"context"
	"encoding/binary"
	"fmt"
	"mime"
	"strings"

	holdfast "github.com/holdfastmq/holdfast"
)

// SealedType is the media type of a sealed message's body. Its parameters are v, which is
// 1, and key, the name of the key. The message's own content type is in the ciphertext.
const SealedType = "application/vnd.holdfast.sealed"

// IsSealed reports whether a message says that its body is sealed.
func IsSealed(m holdfast.Message) bool { return isSealedType(m.ContentType) }

func isSealedType(contentType string) bool {
	rest, is := strings.CutPrefix(contentType, SealedType)
	return is && (rest == "" || strings.IndexByte("; ", rest[0]) >= 0)
}

// KeyOf returns the name of the key that a sealed message names; empty: it names none.
func KeyOf(m holdfast.Message) string {
	_, params, err := mime.ParseMediaType(m.ContentType)
	if err != nil || !isSealedType(m.ContentType) || !validKey(params["key"]) {
		return ""
	}
	return params["key"]
}

// describe names a message in errors.
func describe(id, topic string) string { return fmt.Sprintf("message %.150s to %.200s", id, topic) }

// Message seals the body of m, which has its ID and topic, if the Box seals. A message that
// says that it is sealed is refused: that is for Holdfast to say.
func (b *Box) Message(ctx context.Context, m holdfast.Message) (holdfast.Message, error) {
	if IsSealed(m) {
		return m, fmt.Errorf("%w: the content type %q of the message to %q is Holdfast's own", holdfast.ErrInvalid,
			m.ContentType, m.Topic)
	}
	if !b.Seals() {
		return m, nil
	}
	plaintext := binary.AppendUvarint(nil, uint64(len(m.ContentType)))
	plaintext = append(append(plaintext, m.ContentType...), m.Body...)
	key, ciphertext, err := b.seal(ctx, describe(m.ID, m.Topic), plaintext, boundTo("message", m.ID, m.Topic))
	if err != nil {
		return m, err
	}
	m.Body, m.ContentType = ciphertext, fmt.Sprintf("%s; v=1; key=%q", SealedType, key)
	return m, nil
}

// Messages seals those of ms in place.
func (b *Box) Messages(ctx context.Context, ms []holdfast.Message) error {
	for i := range ms {
		m, err := b.Message(ctx, ms[i])
		if err != nil {
			return err
		}
		ms[i] = m
	}
	return nil
}

// Open opens the body of m, which was sealed for a message of that ID and topic: those of
// m, or of the message that a notice is about. What is in clear it returns as it is, unless
// the Box refuses that.
//
// An error of a key that is missing is a [holdfast.UnavailableError] of the keyring; one of
// a body that is not genuine is permanent.
func (b *Box) Open(ctx context.Context, m holdfast.Message, id, topic string) (holdfast.Message, error) {
	if !IsSealed(m) {
		if b.requires() {
			return m, inClear(describe(id, topic))
		}
		return m, nil
	}
	what := describe(id, topic)
	_, params, err := mime.ParseMediaType(m.ContentType)
	switch {
	case err != nil:
		return m, malformed(what, "its content type %.200q cannot be read: %v", m.ContentType, err)
	case !isVersion(params["v"]):
		return m, malformed(what, "its content type %.200q names no version", m.ContentType)
	case params["v"] != "1":
		return m, otherVersion(what, params["v"])
	case !validKey(params["key"]):
		return m, malformed(what, "its content type %.200q names no key", m.ContentType)
	}
	plaintext, err := b.open(ctx, what, params["key"], m.Body, boundTo("message", id, topic))
	if err != nil {
		return m, err
	}
	n, used := binary.Uvarint(plaintext)
	if used <= 0 || n > uint64(len(plaintext)-used) {
		return m, malformed(what, "its content is cut")
	}
	rest := plaintext[used:]
	m.ContentType, m.Body = string(rest[:n]), rest[n:]
	return m, nil
}

// OpenOwn is Open for a message that has its own ID and topic.
func (b *Box) OpenOwn(ctx context.Context, m holdfast.Message) (holdfast.Message, error) {
	return b.Open(ctx, m, m.ID, m.Topic)
}

// OpenAll is OpenOwn for messages, into a slice of its own. Where there is nothing to open,
// that is ms.
func (b *Box) OpenAll(ctx context.Context, ms []holdfast.Message) ([]holdfast.Message, error) {
	sealed := b.requires()
	for i := range ms {
		sealed = sealed || IsSealed(ms[i])
	}
	if !sealed {
		return ms, nil
	}
	out := make([]holdfast.Message, len(ms))
	for i := range ms {
		m, err := b.OpenOwn(ctx, ms[i])
		if err != nil {
			return nil, err
		}
		out[i] = m
	}
	return out, nil
}

// Change has f change messages, which it is given opened, and seals again those that it
// changed. The others stay as they are, to the byte.
func (b *Box) Change(ctx context.Context, ms []*holdfast.Message, f func(ms []*holdfast.Message) error) error {
	opened := make([]holdfast.Message, len(ms))
	for i, m := range ms {
		opened[i] = *m
		if IsSealed(*m) { // what is in clear is this process's own
			var err error
			if opened[i], err = b.OpenOwn(ctx, *m); err != nil {
				return err
			}
		}
	}
	return b.ChangeOpened(ctx, ms, opened, f)
}

// ChangeOpened is Change for messages that were opened before: opened are they.
func (b *Box) ChangeOpened(ctx context.Context, ms []*holdfast.Message, opened []holdfast.Message,
	f func(ms []*holdfast.Message) error) error {
	if len(opened) != len(ms) {
		return fmt.Errorf("%w: %d messages were opened, and there are %d", holdfast.ErrInvalid, len(opened), len(ms))
	}
	was, given := holdfast.CloneMessages(opened), holdfast.CloneMessages(opened)
	changed := make([]*holdfast.Message, len(ms))
	for i := range given {
		changed[i] = &given[i]
	}
	if err := f(changed); err != nil {
		return err
	}
	for i, m := range changed {
		if m != nil && m.Key != was[i].Key { // f is the application's, too
			key, err := b.Key(ctx, m.Key)
			if err != nil {
				return err
			}
			m.Key = key
		}
		switch {
		case m == nil:
			ms[i] = nil
		case !m.Equal(was[i]):
			now := *m
			now.ID, now.Topic = ms[i].ID, ms[i].Topic // what it is bound to
			sealed, err := b.Message(ctx, now)
			if err != nil {
				return err
			}
			sealed.ID, sealed.Topic = m.ID, m.Topic // whoever checks what may change finds it
			*ms[i] = sealed
		}
	}
	return nil
}
